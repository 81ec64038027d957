"""Tables on a disk that takes nothing, full or failing: read as they were, filled when it does."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import duckdb
import pytest

from actors.projection_file import ProjectionFile
from actors.projection_folder import ProjectionFolder
from bus.log import Stored
from gateway.bench.volume import Volume, volume
from gateway.read_model import Behind, ReadModel
from gateway.reads import Reads
from schemas.settings import KIB, MIB
from tests.gateway.reading import (
    COUNT,
    EPOCH,
    LENGTH,
    Log,
    counted,
    long_messages,
    reads_of,
    supervised,
    values,
)


@pytest.fixture(scope="module")
def commits() -> list[Stored]:
    return long_messages()[:200]


@pytest.fixture
def log(commits: list[Stored]) -> Log:
    """Of the first hundred of *commits*."""
    log = Log(EPOCH)
    log._stored.extend(commits[:100])
    return log


@pytest.fixture
def disk(disks: None, tmp_path: Path) -> Iterator[Volume]:
    """A small disk."""
    with volume(tmp_path, 16 * MIB) as disk:
        yield disk


def on(disk: Volume, log: Log) -> Reads:
    """Reads of *log* whose tables are on *disk*, and who look often whether it has room."""
    return reads_of(disk.path / "tables", log, disk_look_every_s=0.05)


@asynccontextmanager
async def folded(disk: Volume, log: Log) -> AsyncIterator[Reads]:
    """The same, when their tables hold all of *log*."""
    async with supervised(on(disk, log)) as reads:
        await reads.reached(await log.head())
        yield reads


async def tables_on_a_full_disk(
    disk: Volume, log: Log, commits: list[Stored], left_bytes: int
) -> tuple[int, int, list[int]]:
    """Of 200 messages, of which the second hundred comes when the disk has *left_bytes*: how many
    are read then, how many when it has room again, and which of that hundred were heard of."""
    heard: list[int] = []
    async with folded(disk, log) as reads:
        reads.heard.append(lambda stored: heard.extend(one.seq for one in stored))
        reads.file._connection.execute("SET checkpoint_threshold = '64KB'")
        fill(disk.path / "foreign", left_bytes)
        grow(log, commits[100:])
        await held(reads)
        before = await counted(reads)
        (disk.path / "foreign").unlink()
        await reads.reached(200)
        return before[0][0], (await counted(reads))[0][0], heard


UNDURABLE, DURABLE = 0, 512 * KIB
"""What a disk has left when DuckDB can write nothing of a commit, and when it can write all of it,
but not take it into the file: its COMMIT raises both times."""


@pytest.mark.parametrize(("left_bytes", "kept"), [(UNDURABLE, 100), (DURABLE, 200)])
async def test_a_commit_that_fails_on_a_full_disk_is_folded_once(
    disk: Volume, log: Log, commits: list[Stored], left_bytes: int, kept: int
) -> None:
    """What is in the file is read, and when there is room the position there is asked."""
    told = await tables_on_a_full_disk(disk, log, commits, left_bytes)

    assert told == (kept, 200, list(range(101, 201)))


async def test_by_the_position_that_is_remembered_a_commit_is_folded_twice(
    disk: Volume, log: Log, commits: list[Stored], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The proof that the test before this one can fail. The position in the file is asked neither
    when it has been opened again nor, which would stop the folding, when it moves."""
    monkeypatch.setattr(ReadModel, "_reopened", remembering(ReadModel._reopened))
    monkeypatch.setattr("actors.projection_file.MOVE", "UPDATE projection SET seq = greatest(?, ?)")

    assert (await tables_on_a_full_disk(disk, log, commits, DURABLE))[1] == 300


def remembering(
    reopened: Callable[[ReadModel, int], Awaitable[ProjectionFile]],
) -> Callable[[ReadModel, int], Awaitable[ProjectionFile]]:
    """As *reopened*, but that the file is taken to be where it was when it was closed."""

    async def remembered(reads: ReadModel, head: int) -> ProjectionFile:
        seq = reads.file.seq
        file = await reopened(reads, head)
        file.seq = seq
        return file

    return remembered


async def held(reads: Reads) -> None:
    """Returns once *reads* know that the disk takes nothing."""
    while not reads.forgone:
        await asyncio.sleep(0.01)


async def test_tables_on_a_disk_that_takes_nothing_are_read(
    disk: Volume, log: Log, commits: list[Stored]
) -> None:
    """Whoever asks while a commit fails, and after it, is answered from what was there."""
    async with folded(disk, log) as reads:
        disk.abort()
        grow(log, commits[100:])
        while not reads.forgone:
            assert await values(reads, COUNT) == [(100,)]

        assert await values(reads, COUNT) == [(100,)]
        assert (reads.forgone, reads.unready) == (200, "")


async def test_tables_that_were_opened_to_be_read_are_filled_when_the_disk_takes_it(
    disk: Volume, log: Log, commits: list[Stored]
) -> None:
    async with folded(disk, log):
        pass
    disk.protect(read_only=True)
    grow(log, commits[100:])
    async with supervised(on(disk, log)) as reads:
        await held(reads)
        assert await values(reads, COUNT) == [(100,)]
        disk.protect(read_only=False)
        await reads.reached(200)

        assert await counted(reads) == [(200, 200 * LENGTH)]


async def invalidated(reads: Reads, disk: Volume) -> None:
    """The disk fails while DuckDB moves into the file what lies beside it: of an open file it reads
    nothing any more."""
    disk.abort()
    with pytest.raises(duckdb.FatalException):
        reads.file._connection.execute("CHECKPOINT")


async def test_tables_that_duckdb_has_given_up_are_opened_to_be_read(
    disk: Volume, log: Log, commits: list[Stored]
) -> None:
    """503 until they are; then what lies in the file and beside it, for as long as it takes."""
    async with folded(disk, log) as reads:
        await invalidated(reads, disk)
        with pytest.raises(Behind, match="being mended"):
            await values(reads, COUNT)

        assert await counted(reads) == [(100, 100 * LENGTH)]
        grow(log, commits[100:])
        await held(reads)
        assert await counted(reads) == [(100, 100 * LENGTH)]


async def test_tables_that_are_opened_to_be_written_alone_are_not_read(
    disk: Volume, log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The proof that the test before this one can fail."""
    monkeypatch.setattr(ProjectionFolder, "_open_or_read", opened_to_write)
    async with folded(disk, log) as reads:
        await invalidated(reads, disk)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(1.0):
                await counted(reads)


def opened_to_write(folder: ProjectionFolder, path: Path) -> ProjectionFile:
    return folder._open(path, folder._statements)


def grow(log: Log, commits: list[Stored]) -> None:
    """Let *commits* follow in *log*, and who waits at its end know."""
    log._stored.extend(commits)
    told, log._news = log._news, asyncio.Event()
    told.set()


def fill(path: Path, left_bytes: int = 0) -> None:
    """So many bytes are left where *path* lies."""
    size = MIB
    with path.open("wb", buffering=0) as file:
        while size:
            try:
                file.write(bytes(size))
            except OSError:
                size //= 2
        file.truncate(max(0, file.tell() - left_bytes))

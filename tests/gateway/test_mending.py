"""Tables that are damaged, at the start or while they are read: set aside, made anew, never wrong.

The kinds of damage are those of a disk that lies: flipped bits, halves, zeroes, what is missing.
"""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator, Callable, Coroutine
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from actors.projection_file import ProjectionFile
from bus.log import Stored
from gateway.read_model import Behind
from gateway.reads import Reads
from schemas.settings import MIB
from tests.canopy import running
from tests.gateway.reading import (
    COMMITS,
    EPOCH,
    LENGTH,
    LONG_COUNT,
    SQL,
    Log,
    counted,
    long_messages,
    reads_of,
    supervised,
)
from tests.logs import DEADLINE_S

FOLDED = 2000
BLOCK = 256 * 1024
HEADERS = 3 * 4096
"""What lies before the first block of a DuckDB file."""


def flipped(path: Path, place: int) -> None:
    data = bytearray(path.read_bytes())
    data[place % len(data)] ^= 8
    path.write_bytes(data)


def zeroed(path: Path, place: int) -> None:
    data = bytearray(path.read_bytes())
    data[place : place + 4096] = bytes(4096)
    path.write_bytes(data)


def halved(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


Kind = Callable[[Path, Path], object]
DAMAGE: dict[str, Kind] = {
    "a bit of the header": lambda file, wal: flipped(file, 8),
    "a bit of the first block": lambda file, wal: flipped(file, HEADERS + 300),
    "a bit in the middle": lambda file, wal: flipped(file, file.stat().st_size // 2),
    "a page of zeroes": lambda file, wal: zeroed(file, HEADERS + BLOCK),
    "half a file": lambda file, wal: halved(file),
    "an empty file": lambda file, wal: file.write_bytes(b""),
    "a bit of the WAL": lambda file, wal: flipped(wal, wal.stat().st_size // 2),
    "zeroes in the WAL": lambda file, wal: zeroed(wal, wal.stat().st_size // 2),
    "half a WAL": lambda file, wal: halved(wal),
    "no WAL": lambda file, wal: wal.unlink(),
    "no file": lambda file, wal: file.unlink(),
}


@pytest.fixture(scope="module")
def commits() -> list[Stored]:
    return long_messages()


@pytest.fixture
def log(commits: list[Stored]) -> Log:
    """A log of all of them."""
    log = Log(EPOCH)
    log._stored.extend(commits)
    return log


@pytest.fixture(scope="module")
def crashed(commits: list[Stored], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tables of a process that was killed: a file, and a WAL of what came last."""
    live, image = tmp_path_factory.mktemp("live"), tmp_path_factory.mktemp("crashed")
    file = ProjectionFile(live / "a.duckdb", SQL, EPOCH, 256 * MIB)
    file.fold(commits[:1500])
    file._connection.execute("CHECKPOINT")
    for start in range(1500, FOLDED, 50):
        file.fold(commits[start : start + 50])
    shutil.copytree(live, image, dirs_exist_ok=True)
    file.close()
    return image


@pytest.mark.parametrize("kind", DAMAGE)
async def test_damage_at_the_start_costs_time_and_nothing_else(
    crashed: Path, log: Log, tmp_path: Path, kind: str
) -> None:
    """The tables hold what the log holds, each commit once, and the damaged file is kept aside."""
    shutil.copytree(crashed, tmp_path, dirs_exist_ok=True)
    DAMAGE[kind](tmp_path / "a.duckdb", tmp_path / "a.duckdb.wal")
    async with supervised(reads_of(tmp_path, log)) as reads:
        await reads.reached(COMMITS)

        assert await counted(reads) == [(COMMITS, LENGTH * COMMITS)]
        assert (reads.unready, reads.stopped) == ("", "")


def damage(reads: Reads) -> None:
    """Damage the file under *reads*, and let DuckDB forget what it holds of it in memory."""
    reads.file._connection.execute("CHECKPOINT")
    for place in range(HEADERS + BLOCK + 300, reads.file.path.stat().st_size, BLOCK):
        flipped(reads.file.path, place)
    for limit in ("1MB", "256MB"):
        reads.file._connection.execute(f"SET memory_limit='{limit}'")


async def test_damage_that_is_found_by_a_reader_is_mended_beside_him(
    crashed: Path, log: Log, tmp_path: Path
) -> None:
    """He is told to come again; who follows hears every commit once."""
    shutil.copytree(crashed, tmp_path, dirs_exist_ok=True)
    heard: list[int] = []
    async with supervised(reads_of(tmp_path, log)) as reads:
        reads.heard.append(lambda stored: heard.extend(one.seq for one in stored))
        await reads.reached(COMMITS)
        damage(reads)
        with pytest.raises(Behind, match="being mended"):
            await reads.rows(LONG_COUNT)
        assert reads.unready

        assert await counted(reads) == [(COMMITS, LENGTH * COMMITS)]
        await log.say()
        await reads.reached(COMMITS + 1)
        assert heard == list(range(FOLDED + 1, COMMITS + 2))


async def test_without_being_told_of_damage_nobody_mends_it(
    crashed: Path, log: Log, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The proof that the test before this one can fail."""
    shutil.copytree(crashed, tmp_path, dirs_exist_ok=True)
    monkeypatch.setattr(Reads, "_hurt", lambda *_: None)
    async with supervised(reads_of(tmp_path, log)) as reads:
        await reads.reached(COMMITS)
        damage(reads)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.5):
                await counted(reads)


class LongLog(Log):
    """A log of which whoever is the first to read up to a position comes to no end."""

    def __init__(self, commits: list[Stored]) -> None:
        super().__init__(EPOCH)
        self._stored.extend(commits)
        self.begun = asyncio.Event()

    async def page(self, after: int, limit: int) -> list[Stored]:
        await self._read()
        return await super().page(after, limit)

    async def tail(self, after: int, until: int | None = None) -> AsyncIterator[list[Stored]]:
        if until is not None:
            await self._read()
        async for page in super().tail(after, until):
            yield page

    async def _read(self) -> None:
        if not self.begun.is_set():
            self.begun.set()
            await asyncio.Event().wait()


@pytest.mark.parametrize("work", [Reads.verify, Reads.rebuild])
async def test_what_is_done_beside_the_tables_does_not_hold_up_mending(
    crashed: Path,
    commits: list[Stored],
    tmp_path: Path,
    work: Callable[[Reads], Coroutine[Any, Any, object]],
) -> None:
    """It is broken off, its file removed, and can be asked for again."""
    shutil.copytree(crashed, tmp_path, dirs_exist_ok=True)
    long = LongLog(commits)
    async with supervised(reads_of(tmp_path, long)) as reads:
        await reads.reached(COMMITS)
        working = asyncio.create_task(work(reads))
        await long.begun.wait()
        damage(reads)
        with pytest.raises(Behind, match="being mended"):
            await reads.rows(LONG_COUNT)

        assert await counted(reads) == [(COMMITS, LENGTH * COMMITS)]
        with pytest.raises(Behind, match="being mended"):
            await working
        assert list(tmp_path.glob("*.duckdb")) == [reads.file.path]
        assert await work(reads)


async def answers_after_damage(tmp_path: Path) -> list[int]:
    """The statuses of one who is known, of a node whose tables are gone, up to the first success
    or refusal; each commit is folded by itself, so there is time to ask."""
    async with running(tmp_path) as canopy:
        ann = await canopy.register("ann")
        for _ in range(30):
            await ann.post("/channels/messages", {"channel_id": "general", "content": "Hi."})
    (file,) = (tmp_path / "projection").glob("*.duckdb")
    halved(file)

    answers: list[int] = []
    read: Any = None
    async with running(tmp_path, fold_batch_max=1, read_wait_s=0.001) as canopy:
        ann = replace(ann, http=canopy.http, base=canopy.up.url)
        async with asyncio.timeout(DEADLINE_S):
            while not answers or answers[-1] == 503:
                status, _, read = await ann.call("GET", "/channels/general/messages")
                answers.append(status)
    assert answers[-1] != 200 or len(read["messages"]) == 30
    assert len(list((tmp_path / "projection").glob("*.unusable"))) == 1
    return answers


async def test_who_is_known_is_no_stranger_while_tables_are_made_anew(tmp_path: Path) -> None:
    """503 until they are, and never 401 or 403."""
    answers = await answers_after_damage(tmp_path)

    assert answers == [*[503] * (len(answers) - 1), 200]


async def test_without_waiting_for_the_tables_who_is_known_is_a_stranger(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The proof that the test before this one can fail."""
    monkeypatch.setattr(Reads, "unready", "")

    assert (await answers_after_damage(tmp_path))[-1] == 403

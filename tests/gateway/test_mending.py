"""Tables that are damaged, at the start or while they are read: set aside, made anew, never wrong.

The kinds of damage are those of a disk that lies: flipped bits, halves, zeroes, what is missing.
"""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import duckdb
import pytest

from actors.projection_file import ProjectionFile
from actors.projection_folder import ProjectionFolder
from actors.supervisor import supervise
from bus.log import Stored
from bus.telemetry import Telemetry
from gateway.bench.volume import Volume, volume
from gateway.reads import Behind, Reads
from schemas.message import MessagePosted
from schemas.settings import MIB, Settings
from tests.canopy import running
from tests.examples import Said, header, stored
from tests.gateway.reading import COUNT, SQL, Log, reads_of, values
from tests.logs import DEADLINE_S

EPOCH = "0123456789abcdef"
COMMITS = 3000
LENGTH = 1000
FOLDED = 2000
BLOCK = 256 * 1024
HEADERS = 3 * 4096
"""What lies before the first block of a DuckDB file."""
LONG_COUNT = "SELECT count(*), sum(length(content)) FROM message"
QUICK = Settings(restart_backoff_s=0.01)


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
    """Many long messages."""
    chance = Random(1)
    texts = (chance.randbytes(LENGTH // 2).hex() for _ in range(COMMITS))
    said = [MessagePosted(content=text) for text in texts]
    return stored([Said(header(key=f"general.M{nth}"), (one,)) for nth, one in enumerate(said)])


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


@asynccontextmanager
async def supervised(reads: Reads) -> AsyncIterator[Reads]:
    """*reads* open, and started again when they fail, as in a gateway."""
    try:
        await reads.open()
        room = supervise("reads", reads.run, QUICK, Telemetry())
        folding = asyncio.create_task(room)
        try:
            async with asyncio.timeout(DEADLINE_S):
                yield reads
        finally:
            folding.cancel()
            await asyncio.wait([folding])
    finally:
        reads.close()


async def counted(reads: Reads) -> list[tuple[Any, ...]]:
    """What the tables hold, once they can be read."""
    while True:
        try:
            return await values(reads, LONG_COUNT)
        except Behind:
            await asyncio.sleep(0.01)


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


@pytest.mark.usefixtures("disks")
async def test_a_commit_that_fails_on_a_full_disk_is_folded_once(
    tmp_path: Path, commits: list[Stored]
) -> None:
    """DuckDB raises though it may have kept the batch: it is read as it was, and when there is room
    the cursor in the file is asked."""
    growing = Log(EPOCH)
    with volume(tmp_path, 16 * MIB) as disk:
        reads = reads_of(disk.path / "tables", growing, disk_look_every_s=0.05)
        async with supervised(reads):
            grow(growing, commits[:100])
            await reads.reached(100)
            fill(disk.path / "foreign")
            grow(growing, commits[100:])
            await held(reads)
            assert await values(reads, COUNT) == [(100,)]
            (disk.path / "foreign").unlink()
            await reads.reached(COMMITS)

            assert await values(reads, COUNT) == [(COMMITS,)]


async def held(reads: Reads) -> None:
    """Returns once *reads* know that the disk takes nothing."""
    while not reads.forgone:
        await asyncio.sleep(0.01)


@pytest.mark.usefixtures("disks")
async def test_tables_on_a_disk_that_takes_nothing_are_read(
    tmp_path: Path, commits: list[Stored]
) -> None:
    """Whoever asks while a commit fails, and after it, is answered from what was there."""
    growing = Log(EPOCH)
    with volume(tmp_path, 16 * MIB) as disk:
        async with supervised(reads_of(disk.path / "tables", growing)) as reads:
            grow(growing, commits[:100])
            await reads.reached(100)
            disk.abort()
            grow(growing, commits[100:200])
            while not reads.forgone:
                assert await values(reads, COUNT) == [(100,)]

            assert await values(reads, COUNT) == [(100,)]
            assert (reads.forgone, reads.unready) == (200, "")


@pytest.mark.usefixtures("disks")
async def test_tables_that_were_opened_to_be_read_are_filled_when_the_disk_takes_it(
    tmp_path: Path, commits: list[Stored]
) -> None:
    growing = Log(EPOCH)
    with volume(tmp_path, 16 * MIB) as disk:
        grow(growing, commits[:100])
        async with supervised(reads_of(disk.path / "tables", growing)) as reads:
            await reads.reached(100)
        disk.protect(read_only=True)
        grow(growing, commits[100:200])
        again = reads_of(disk.path / "tables", growing, disk_look_every_s=0.05)
        async with supervised(again) as reads:
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


@pytest.mark.usefixtures("disks")
async def test_tables_that_duckdb_has_given_up_are_opened_to_be_read(
    tmp_path: Path, commits: list[Stored]
) -> None:
    """503 until they are; then what lies in the file and beside it, for as long as it takes."""
    growing = Log(EPOCH)
    with volume(tmp_path, 16 * MIB) as disk:
        async with supervised(reads_of(disk.path / "tables", growing)) as reads:
            grow(growing, commits[:100])
            await reads.reached(100)
            await invalidated(reads, disk)
            with pytest.raises(Behind, match="being mended"):
                await values(reads, COUNT)

            assert await counted(reads) == [(100, 100 * LENGTH)]
            grow(growing, commits[100:200])
            await held(reads)
            assert await counted(reads) == [(100, 100 * LENGTH)]


@pytest.mark.usefixtures("disks")
async def test_tables_that_are_opened_to_be_written_alone_are_not_read(
    tmp_path: Path, commits: list[Stored], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The proof that the test before this one can fail."""
    monkeypatch.setattr(ProjectionFolder, "_open_or_read", opened_to_write)
    growing = Log(EPOCH)
    with volume(tmp_path, 16 * MIB) as disk:
        async with supervised(reads_of(disk.path / "tables", growing)) as reads:
            grow(growing, commits[:100])
            await reads.reached(100)
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


def fill(path: Path) -> None:
    """Not a byte is left where *path* lies."""
    size = MIB
    with path.open("wb", buffering=0) as file:
        while size:
            try:
                file.write(bytes(size))
            except OSError:
                size //= 2


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

"""What a process reads from: tables at a position, which may be made anew meanwhile."""

from __future__ import annotations

import asyncio
from pathlib import Path
from time import monotonic

import pytest

from actors.projection_file import ProjectionFile, Statements
from bus.log import Stored
from gateway.read_model import Behind
from gateway.reads import Reads
from schemas.channel import ChannelDescribed, ChannelOpened
from tests.examples import header
from tests.gateway.reading import COUNT, SQL, Log, reads_of, running, values
from tests.logs import DEADLINE_S

OLDER = Statements.of(SQL.text + "\nCREATE TABLE IF NOT EXISTS extra (seq UBIGINT);")
NARROW = Statements.of(
    SQL.text
    + """CREATE TABLE IF NOT EXISTS extra (seq UBIGINT, n UBIGINT);
    INSERT INTO extra SELECT seq, CAST(data->>'content' AS UBIGINT) FROM batch
    WHERE kind = 'message_posted';"""
)
SLOW = "SELECT count(*) FROM range(9000) a, range(3000) b WHERE a.range + b.range < 0"

STOP_S = 3.0
ENDLESS = "SELECT count(*) FROM range(9000000) a, range(3000000) b WHERE a.range + b.range < 0"


@pytest.fixture
def log() -> Log:
    return Log("0123456789abcdef")


async def test_what_is_stored_can_be_read(tmp_path: Path, log: Log) -> None:
    """From the position on that the writer was told."""
    async with running(tmp_path, log) as reads:
        await reads.reached(await log.say(3))

        assert await values(reads, COUNT) == [(3,)]
        assert await reads.rows("SELECT content AS said FROM message WHERE seq = ?", [2]) == [
            {"said": "Hi."}
        ]
        assert (reads.position, await reads.lag()) == (3, 0)


async def test_whoever_waits_for_a_position_is_woken_when_it_is_reached(
    tmp_path: Path, log: Log
) -> None:
    """Each at its own."""
    async with running(tmp_path, log) as reads:
        waits = [asyncio.create_task(reads.reached(seq)) for seq in (5, 1, 3, 3)]
        await log.say(3)
        await asyncio.gather(*waits[1:])
        assert not waits[0].done()

        await log.say(2)
        await waits[0]
        assert reads.position == 5


async def test_a_position_that_does_not_come_is_behind(tmp_path: Path, log: Log) -> None:
    """And nobody remembers who asked: positions far off cost nothing."""
    async with running(tmp_path, log, read_wait_s=0.5) as reads:
        await log.say(2)
        await reads.reached(2)
        with pytest.raises(Behind) as caught:
            await reads.reached(2**62)
        waiting = asyncio.create_task(reads.reached(2**62))
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.wait([waiting])

        assert (caught.value.seq, caught.value.position) == (2**62, 2)
        assert reads._waiting == []


async def test_who_gives_up_as_the_position_comes_hears_of_no_error(
    tmp_path: Path, log: Log
) -> None:
    """He is on his way out already when he is looked for among those who wait."""
    async with running(tmp_path, log) as reads:
        waiting = asyncio.create_task(reads.reached(1))

        def give_up(_: list[Stored]) -> None:
            waiting.cancel()

        reads.heard.append(give_up)
        await log.say(1)
        await asyncio.wait([waiting])

        assert waiting.cancelled()
        assert (reads.position, reads._waiting) == (1, [])


async def test_news_is_told_once_it_can_be_read(tmp_path: Path, log: Log) -> None:
    """Batch by batch, without holes; a page is sighted before."""
    told: list[int] = []
    sighted: list[int] = []
    async with running(tmp_path, log) as reads:
        reads.heard.append(lambda batch: told.extend(one.seq for one in batch))
        reads.sighted = lambda page: sighted.extend(one.seq for one in page)
        await reads.reached(await log.say(10))

        assert told == sighted == list(range(1, 11))


async def test_a_process_goes_on_where_it_stopped(tmp_path: Path, log: Log) -> None:
    """What was folded is not folded again."""
    async with running(tmp_path, log) as reads:
        await reads.reached(await log.say(5))
    async with running(tmp_path, log) as reads:
        assert reads.position == 5
        await reads.reached(await log.say(2))

        assert await values(reads, COUNT) == [(7,)]


async def test_who_is_who_is_known_at_once(tmp_path: Path, log: Log) -> None:
    """The directory is that of the tables, also right after a start."""
    opened = ChannelOpened(name="den", type="public", privacy_mode="open")
    async with running(tmp_path, log) as reads:
        seq = await log.append(header("channel", "C1"), [opened], 0)
        await reads.reached(seq)
        channel = reads.directory.channel("C1")
        assert channel is not None
        assert channel.name == "den"
    async with running(tmp_path, log) as reads:
        assert reads.directory.channel("C1") == channel


async def test_what_stopped_the_old_tables_need_not_stop_the_new_ones(
    tmp_path: Path, log: Log
) -> None:
    """An upgrade may bring facts that the SQL of the file that is still read cannot take."""
    async with running(tmp_path, log, NARROW) as reads:
        await log.say()
        async with asyncio.timeout(DEADLINE_S):
            while not reads.stopped:
                await asyncio.sleep(0.01)

    async with running(tmp_path, log) as reads:
        await log.say(5)
        async with asyncio.timeout(DEADLINE_S):
            while not reads.file.current:
                await asyncio.sleep(0.01)
        await reads.reached(await log.say())

        assert reads.stopped == ""
        assert await values(reads, COUNT) == [(7,)]


async def test_a_rebuild_fails_no_read_and_changes_no_answer(tmp_path: Path, log: Log) -> None:
    """Several in a row, while people read and write; nobody sees a count go back."""
    failed: list[BaseException] = []
    seen: list[list[int]] = []

    async def ask(reads: Reads) -> None:
        counts: list[int] = []
        seen.append(counts)
        while True:
            try:
                counts.append((await values(reads, COUNT))[0][0])
            except Exception as error:  # noqa: BLE001  # any would be one too many
                failed.append(error)

    async with running(tmp_path, log) as reads:
        await reads.reached(await log.say(500))
        before = reads.file.hashes(500)
        asking = [asyncio.create_task(ask(reads)) for _ in range(4)]
        paths = {reads.file.path}
        for _ in range(3):
            await log.say(20)
            assert await reads.rebuild() >= 500
            paths.add(reads.file.path)
        await reads.reached(await log.say())
        for one in asking:
            one.cancel()
        await asyncio.wait(asking)

        assert failed == []
        assert [counts for counts in seen if counts != sorted(counts)] == []
        assert reads.file.hashes(500) == before
        assert await values(reads, COUNT) == [(561,)]
        assert len(paths) == 4
        assert list(tmp_path.glob("*.duckdb")) == [reads.file.path]


async def test_a_read_outlives_the_file_it_reads_from(tmp_path: Path, log: Log) -> None:
    """The old file goes when the last of its readers is done."""
    async with running(tmp_path, log) as reads:
        await reads.reached(await log.say(10))
        slow = [asyncio.create_task(values(reads, SLOW)) for _ in range(6)]
        await asyncio.sleep(0)
        await reads.rebuild()

        assert await asyncio.gather(*slow) == [[(0,)]] * 6


async def test_a_rebuild_that_is_broken_off_leaves_everything_as_it_was(
    tmp_path: Path, log: Log
) -> None:
    """At the latest the next start removes its file."""
    async with running(tmp_path, log) as reads:
        await reads.reached(await log.say(300))
        current = reads.file
        rebuilding = asyncio.create_task(reads.rebuild())
        await asyncio.sleep(0.001)
        rebuilding.cancel()
        await asyncio.wait([rebuilding])
        await reads.reached(await log.say())

        assert reads.file is current
        assert await values(reads, COUNT) == [(301,)]
        assert await reads.rebuild() == 301
    async with running(tmp_path, log) as reads:
        assert list(tmp_path.glob("*.duckdb")) == [reads.file.path]
        assert reads.position == 301


async def test_tables_of_older_sql_are_read_until_todays_are_ready(
    tmp_path: Path, log: Log
) -> None:
    """A new version of Canopy answers from its first moment on."""
    async with running(tmp_path, log, OLDER) as reads:
        await reads.reached(await log.say(50))
    reads = reads_of(tmp_path, log)
    await reads.open()
    assert not reads.file.current
    assert await values(reads, COUNT) == [(50,)]
    reads.close()

    async with running(tmp_path, log) as reads, asyncio.timeout(DEADLINE_S):
        while not reads.file.current:
            assert await values(reads, COUNT) == [(50,)]
        assert "extra" not in reads.file.tables()
        await reads.reached(await log.say())
        assert await values(reads, COUNT) == [(51,)]


async def test_a_rebuild_corrects_what_the_directory_says(tmp_path: Path, log: Log) -> None:
    """It is made from the tables, and they have changed."""
    opened = ChannelOpened(name="den", type="public", privacy_mode="open")
    async with running(tmp_path, log) as reads:
        await log.append(header("channel", "C1"), [opened], 0)
        seq = await log.append(header("channel", "C1"), [ChannelDescribed(topic="Bees.")], 1)
        await reads.reached(seq)
        reads.file.cursor().execute("UPDATE channel SET name = 'lair'")
        await reads.directory.load(reads.rows)
        assert [one.name for one in reads.directory.channels()] == ["lair"]

        await reads.rebuild()
        assert [one.name for one in reads.directory.channels()] == ["den"]


async def test_nothing_is_read_before_the_tables_are_open(tmp_path: Path, log: Log) -> None:
    """An answer, and no fault."""
    reads = reads_of(tmp_path, log)

    with pytest.raises(Behind):
        _: ProjectionFile = reads.file
    reads.close()


async def test_a_lost_commit_stops_the_tables_instead_of_being_passed_over(
    tmp_path: Path, log: Log
) -> None:
    """The broker skips a damaged record without a word; what follows it must not be folded."""
    await log.say(9)
    log.lose(5)
    async with running(tmp_path, log) as reads:
        with pytest.raises(Behind) as caught:
            await reads.reached(9)

        assert caught.value.position == 4
        assert reads.stopped == (
            "position 5 is missing from the log: stop the node and put a backup in its place "
            "with `canopy restore`"
        )


async def test_a_fold_that_was_broken_off_is_heard_of_and_not_done_twice(
    tmp_path: Path, log: Log
) -> None:
    """The worker's thread goes on when its room is ended, so the room waits for it."""
    reads = reads_of(tmp_path, log)
    await reads.open()
    heard: list[int] = []
    reads.heard.append(lambda batch: heard.extend(one.seq for one in batch))
    await log.say(20)
    room = asyncio.create_task(reads.run())
    while not reads.folding:
        await asyncio.sleep(0)
    room.cancel()
    await asyncio.wait({room})
    rows = await values(reads, "SELECT count(*) FROM message")
    reads.close()

    assert (reads.position, heard, rows) == (20, list(range(1, 21)), [(20,)])


@pytest.mark.parametrize("replaced", [False, True])
async def test_a_query_without_an_end_does_not_hold_up_the_end(
    tmp_path: Path,
    log: Log,
    replaced: bool,  # noqa: FBT001
) -> None:
    """Also of the tables before the present ones."""
    async with running(tmp_path, log) as reads:
        await reads.reached(await log.say())
        endless = [asyncio.create_task(values(reads, ENDLESS)) for _ in range(6)]
        await asyncio.sleep(0)
        if replaced:
            rebuilding = asyncio.create_task(reads.rebuild())
            before = reads.file
            while reads.file is before:
                await asyncio.sleep(0.001)
            rebuilding.cancel()
        began = monotonic()
    took_s = monotonic() - began
    await asyncio.wait(endless)

    assert took_s < STOP_S
    assert all(one.cancelled() or one.exception() for one in endless)

"""High-water marks: nothing is acknowledged before it is known outside of the log."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from pathlib import Path

import pytest

from bus.chain import alone
from bus.log import Stored, Unacknowledged
from bus.marks import DIRECTORY, SLIP, HighWater, MarksDamaged, Reused, high_water, highest, marks
from bus.storage import Directory
from schemas.message import MessagePosted
from tests.logs import DEADLINE_S, fresh_bus, settings, told

EPOCH = "0123456789abcdef"
HI = MessagePosted(content="Hi.")


def commit(seq: int) -> Stored:
    return Stored(seq, "message", f"general.M{seq}", b"%d" % seq)


def commits(first: int, last: int) -> list[Stored]:
    return [commit(seq) for seq in range(first, last + 1)]


class Held(Directory):
    """A directory whose disk can be stopped, and can fail."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.go = threading.Event()
        self.go.set()
        self.fault: OSError | None = None
        self.puts = 0

    def put(self, name: str, offset: int, data: bytes) -> None:
        assert self.go.wait(DEADLINE_S)
        if self.fault is not None:
            raise self.fault
        self.puts += 1
        super().put(name, offset, data)


@pytest.fixture
def kept(tmp_path: Path) -> Held:
    return Held(tmp_path / DIRECTORY)


@pytest.fixture
def mark(kept: Held) -> object:
    one = high_water(kept, EPOCH)
    yield one
    kept.go.set()
    one.close()


def seen(kept: Directory) -> int:
    """The mark as another process reads it."""
    return highest(Directory(kept.path))


async def test_a_mark_is_durable_when_it_is_reached(kept: Held, mark: HighWater) -> None:
    await mark.reach([commit(3)])
    found = marks(kept)

    assert found == {"high-0": (EPOCH, alone(commit(3)))}


async def test_nobody_is_told_before_the_mark_is_on_the_disk(kept: Held, mark: HighWater) -> None:
    kept.go.clear()
    reaching = asyncio.create_task(mark.reach([commit(1)]))
    await asyncio.sleep(0)
    before = (reaching.done(), seen(kept))
    kept.go.set()
    async with asyncio.timeout(DEADLINE_S):
        await reaching

    assert (before, seen(kept)) == ((False, 0), 1)


async def test_all_that_wait_share_the_next_write(kept: Held, mark: HighWater) -> None:
    kept.go.clear()
    async with asyncio.timeout(DEADLINE_S), asyncio.TaskGroup() as group:
        for seq in range(1, 101):
            group.create_task(mark.reach([commit(seq)]))
        await asyncio.sleep(0)
        kept.go.set()

    assert (kept.puts, seen(kept)) == (2, 100)


async def test_one_who_no_longer_waits_holds_up_nobody(kept: Held, mark: HighWater) -> None:
    kept.go.clear()
    gone, waiting = (asyncio.create_task(mark.reach([commit(seq)])) for seq in (1, 2))
    await asyncio.sleep(0)
    gone.cancel()
    kept.go.set()
    async with asyncio.timeout(DEADLINE_S):
        await waiting

    assert seen(kept) == 2


async def test_a_mark_that_cannot_be_written_is_an_error_and_tried_again(
    kept: Held, mark: HighWater
) -> None:
    kept.fault = OSError(28, "No space left on device")
    with pytest.raises(OSError, match="No space left"):
        await mark.reach([commit(1)])
    kept.fault = None
    await mark.reach([commit(2)])

    assert seen(kept) == 2


async def test_a_position_that_was_acknowledged_is_not_taken_again(
    kept: Held, mark: HighWater
) -> None:
    """Neither one of another process, before this one came, nor one of long ago."""
    await mark.reach([commit(5)])
    other = high_water(Directory(kept.path), EPOCH)
    with pytest.raises(Reused, match="position 5 after it had acknowledged 5"):
        await other.reach([commit(5)])
    other.close()
    await mark.reach([commit(6 + SLIP)])

    with pytest.raises(Reused, match="position 6 after"):
        await mark.reach([commit(6)])


async def test_answers_that_overtake_each_other_are_no_harm(mark: HighWater) -> None:
    await mark.reach([commit(7)])
    await mark.reach([commit(6)])

    assert mark.seq == 7


async def test_a_position_given_twice_to_this_process_is_found_however_recent(
    mark: HighWater,
) -> None:
    """Also one from the middle of a group; what others were given may be overtaken."""
    await mark.reach(commits(100, 199))
    await mark.reach([commit(99)])
    for repeated, first in ((150, 150), (205, 199), (99, 98)):
        with pytest.raises(Reused):
            await mark.reach(commits(first, repeated))
    await mark.reach(commits(200, 205))

    assert mark.seq == 205


async def test_what_was_given_is_forgotten_in_time(mark: HighWater) -> None:
    for last in range(SLIP, 6 * SLIP, SLIP):
        await mark.reach(commits(last - SLIP + 1, last))

    assert len(mark._given) <= 2 * SLIP + SLIP


async def test_each_process_has_a_mark_of_its_own(kept: Held, mark: HighWater) -> None:
    await mark.reach([commit(4)])
    other = high_water(Directory(kept.path), EPOCH)
    await other.reach([commit(6)])
    found = {name: place.seq for name, (_, place) in marks(kept).items()}
    known = await mark.acknowledged()
    other.close()
    third = high_water(Directory(kept.path), EPOCH)
    third.close()

    assert found == {"high-0": 4, "high-1": 6}
    assert (known, third.seq) == (6, 6)
    assert len(marks(kept)) == 2


def test_a_mark_that_cannot_be_read_is_not_made_anew(kept: Held) -> None:
    kept.replace("high-0", b"nonsense")

    with pytest.raises(MarksDamaged, match="high-0"):
        high_water(kept, EPOCH)


async def test_what_the_log_acknowledges_is_marked(tmp_path: Path) -> None:
    knobs = settings(tmp_path)
    async with fresh_bus(knobs) as bus:
        seqs = await asyncio.gather(*(told(bus.log, HI, f"general.M{n}") for n in range(100)))
        reached = highest(Directory(tmp_path / DIRECTORY))

    assert reached == max(seqs) == 100


async def test_a_commit_that_cannot_be_marked_is_not_acknowledged(tmp_path: Path) -> None:
    """It is in the log all the same: whoever asks again is answered by what lies there."""
    async with fresh_bus(settings(tmp_path)) as bus:
        bus.log.writer._mark = _Full()
        outcomes = await asyncio.gather(
            *(told(bus.log, HI, f"general.M{n}") for n in range(40)), return_exceptions=True
        )

        assert {type(outcome) for outcome in outcomes} == {Unacknowledged}
        assert await bus.log.head() == 40


async def test_a_stuck_disk_holds_up_no_commit_for_ever(tmp_path: Path, kept: Held) -> None:
    """The mark is raised all the same, once the disk goes on."""
    async with fresh_bus(settings(tmp_path / "data", append_timeout_s=0.2)) as bus:
        bus.log.writer._mark = mark = high_water(kept, bus.log.epoch)
        kept.go.clear()
        async with asyncio.timeout(DEADLINE_S / 2):
            with pytest.raises(Unacknowledged, match="the disk takes too long"):
                await told(bus.log, HI, "general.M1")
            (found,) = await bus.log.page(0, 1)
            with pytest.raises(Unacknowledged, match="the disk takes too long"):
                await bus.log.writer.attest(found)
        kept.go.set()
        await bus.log.writer.attest(found)
        assert await told(bus.log, HI, "general.M2") == 2

        assert mark.seq == 2
        mark.close()


async def test_a_number_given_twice_stops_the_writer(tmp_path: Path) -> None:
    async with fresh_bus(settings(tmp_path)) as bus:
        await told(bus.log, HI)
        assert isinstance(bus.log.writer._mark, HighWater)
        bus.log.writer._mark.seq = bus.log.writer._mark._floor = 9
        with pytest.raises(Unacknowledged, match="gave position 2 after it had acknowledged 9"):
            await told(bus.log, HI, "general.M2")
        with pytest.raises(Exception, match="gave position 2"):
            await told(bus.log, HI, "general.M3")

        assert bus.log.writer.reused is not None
        assert bus.log.writer.reused.seq == 2


async def test_a_mark_costs_no_new_file(kept: Held, mark: HighWater) -> None:
    """It is written in place, so that a full disk takes it too."""
    await mark.reach([commit(1)])
    size = (kept.path / "high-0").stat().st_size
    for seq in range(2, 50):
        await mark.reach([commit(seq)])

    assert (kept.path / "high-0").stat().st_size == size
    assert kept.names() == ["high-0"]


async def test_what_another_process_stored_and_did_not_mark_is_marked(mark: HighWater) -> None:
    await mark.cover(commit(7))
    await mark.cover(commit(5))

    assert mark.seq == 7


class _Full:
    """The mark on a full disk."""

    seq = 0

    async def reach(self, stored: Sequence[Stored]) -> None:
        raise OSError(28, "No space left on device")

    async def cover(self, found: Stored) -> None:
        raise OSError(28, "No space left on device")

    async def acknowledged(self) -> int:
        return 0

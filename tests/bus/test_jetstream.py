"""The log on the real broker: what it keeps in memory, and how its writer ends."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from bus.group_commit import GroupCommit
from bus.jetstream import JetStreamLog
from bus.log import Leaderless, Stored, Unacknowledged
from bus.marks import Unmarked
from bus.wire import TooLarge
from schemas.message import MessagePosted
from schemas.settings import KIB
from tests.examples import header
from tests.logs import DEADLINE_S, bus_on, fresh_broker, fresh_bus, listened, settings, told

HI = MessagePosted(content="Hi.")
MANY = 300
PAYLOAD_BYTES_MAX = 64 * KIB


def at_the_head(log: JetStreamLog, monkeypatch: pytest.MonkeyPatch) -> asyncio.Event:
    """Set once the log has been asked and had nothing more."""
    page, found = log.page, asyncio.Event()

    async def noted(after: int, limit: int) -> list[Stored]:
        stored = await page(after, limit)
        if not stored:
            found.set()
        return stored

    monkeypatch.setattr(log, "page", noted)
    return found


async def test_a_tail_puts_own_and_foreign_commits_in_one_order(tmp_path: Path) -> None:
    """Two processes write; each has its own commits in memory and the others in the log."""
    knobs = settings(tmp_path)
    async with (
        fresh_broker(knobs) as running,
        bus_on(running.endpoint, knobs) as one,
        bus_on(running.endpoint, knobs) as two,
    ):
        hearing = [asyncio.create_task(listened(bus.log, MANY)) for bus in (one, two)]
        keys = [f"general.M{nth}" for nth in range(MANY)]
        logs = [(one, two)[nth % 2].log for nth in range(MANY)]
        written = await asyncio.gather(*map(told, logs, [HI] * MANY, keys))
        heard = await asyncio.gather(*hearing)

    at = dict(zip(written, keys, strict=True))
    for commits in heard:
        assert [(one.seq, one.key) for one in commits] == sorted(at.items())


async def test_a_tail_does_not_ask_for_what_its_own_process_has_appended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The broker has acknowledged it: that is all there is to know."""
    async with fresh_bus(settings(tmp_path)) as bus:
        waits = at_the_head(bus.log, monkeypatch)
        hearing = asyncio.create_task(listened(bus.log, 3))
        await waits.wait()
        monkeypatch.setattr(bus.log, "page", None)
        for nth in range(3):
            await told(bus.log, HI, f"general.M{nth}")
            await asyncio.sleep(0)

        assert [one.seq for one in await hearing] == [1, 2, 3]


async def test_a_full_group_leaves_in_the_middle_of_a_turn(tmp_path: Path) -> None:
    """The broker works on it while the rest of the turn is still being decided."""
    knobs = settings(tmp_path, group_commit_full=8, group_commit_plain_max=2)
    sizes: list[int] = []
    async with fresh_bus(knobs) as bus:
        bus.log.writer.observe = lambda size, took_s: sizes.append(size)
        await asyncio.gather(*(told(bus.log, HI, f"general.M{nth}") for nth in range(20)))

    assert sizes == [8, 12]


async def test_nobody_waits_for_a_writer_that_stopped_in_the_same_turn(tmp_path: Path) -> None:
    """Groups that were handed over, and never begun, are told of like all others."""
    async with (
        fresh_broker(settings(tmp_path)) as running,
        bus_on(running.endpoint, settings(tmp_path)) as bus,
    ):
        writer = GroupCommit(bus.wire, bus.settings, Unmarked(), lambda commits: None)
        flushing = asyncio.create_task(writer.flush())
        await asyncio.sleep(0)
        headers = [header(key=f"general.M{nth}") for nth in range(MANY)]
        appends = [asyncio.create_task(writer.append(one, [HI], 0)) for one in headers]
        asyncio.get_running_loop().call_soon(flushing.cancel)
        async with asyncio.timeout(DEADLINE_S):
            outcomes = await asyncio.gather(*appends, return_exceptions=True)
        await asyncio.wait([flushing])

    assert {type(one) for one in outcomes} == {Unacknowledged}


async def test_a_commit_that_the_broker_cannot_take_hurts_none_of_its_neighbours(
    tmp_path: Path,
) -> None:
    """Also when our own limit would have let it pass."""
    knobs = settings(tmp_path, payload_bytes_max=PAYLOAD_BYTES_MAX, group_commit_plain_max=2)
    async with fresh_bus(knobs) as bus:
        wide = knobs.model_copy(update={"payload_bytes_max": 4 * PAYLOAD_BYTES_MAX})
        log = JetStreamLog(bus.wire, wide, bus.log.epoch)
        flushing = asyncio.create_task(log.flush())
        large = MessagePosted(content="", security={"all": "x" * 3 * PAYLOAD_BYTES_MAX})
        said = [HI, HI, large, HI, HI]
        outcomes = await asyncio.gather(
            *(told(log, one, f"general.M{nth}") for nth, one in enumerate(said)),
            return_exceptions=True,
        )
        later = await told(log, HI, "general.later")
        flushing.cancel()
        await asyncio.wait([flushing])

    assert [type(one) for one in outcomes] == [int, int, TooLarge, int, int]
    assert later == 5


async def test_what_is_kept_of_own_commits_is_bounded(tmp_path: Path) -> None:
    """What has been forgotten is read from the log."""
    async with fresh_bus(settings(tmp_path, tail_fetch_max=4)) as bus:
        for nth in range(10):
            await told(bus.log, HI, f"general.M{nth}")
        asked: list[int] = []
        page = bus.log.page

        async def noted(after: int, limit: int) -> list[Stored]:
            asked.append(after)
            return await page(after, limit)

        bus.log.page = noted  # type: ignore[method-assign]
        heard = await listened(bus.log, 10)

    assert [one.seq for one in heard] == list(range(1, 11))
    assert asked == [0, 4]


async def test_a_tail_asks_at_once_for_what_others_have_appended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Being told is enough; it need not wait until it looks again by itself."""
    monkeypatch.setattr("bus.jetstream.POLL_S", 2 * DEADLINE_S)
    knobs = settings(tmp_path)
    async with (
        fresh_broker(knobs) as running,
        bus_on(running.endpoint, knobs) as one,
        bus_on(running.endpoint, knobs) as two,
    ):
        waits = at_the_head(one.log, monkeypatch)
        hearing = asyncio.create_task(listened(one.log, 2))
        for nth in range(2):
            await waits.wait()
            waits.clear()
            await told(two.log, HI, f"general.M{nth}")

        assert [one.seq for one in await hearing] == [1, 2]


class Ahead(Unmarked):
    """The mark of a node that has acknowledged more than the leader has, until it has."""

    def __init__(self, *acknowledged: int) -> None:
        self._acknowledged = list(acknowledged)

    async def acknowledged(self) -> int:
        return self._acknowledged.pop(0)


async def test_the_last_word_is_not_taken_from_a_leader_who_is_behind(tmp_path: Path) -> None:
    """He was elected a moment ago, or deposed: what he does not have yet is not absent."""
    knobs = settings(tmp_path, nats_look_timeout_s=0.5)
    async with fresh_bus(knobs) as bus:
        await told(bus.log, HI, "general.M1")
        log = JetStreamLog(bus.wire, knobs, bus.log.epoch, Ahead(2, 2, 1), clustered=True)
        with pytest.raises(Leaderless, match="position 2"):
            await log.read("message", "general.M2")
        reading = asyncio.create_task(log.read("message", "general.M2"))
        await told(bus.log, HI, "general.M2")

        assert [commit.seq for commit in await reading] == [2]
        assert await log.read("message", "general.M3") == []

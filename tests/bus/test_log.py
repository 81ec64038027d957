"""One contract for every kind of log, in memory and on the real broker."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest

from bus.group_commit import GUARD
from bus.log import Conflict, Log, guard
from bus.memory import MemoryLog
from bus.wire import TooLarge
from schemas.envelope import Header
from schemas.message import MessageEdited, MessagePosted
from schemas.settings import KIB
from tests.examples import header
from tests.logs import DEADLINE_S, fresh_bus, listened, settings, told
from tests.simulated import BROKERS, Kind

HI = MessagePosted(content="Hi. Hæ? ✓ 🐝")
HO = MessageEdited(content="Ho.")
MANY = 300
PAYLOAD_BYTES_MAX = 64 * KIB


@pytest.fixture(params=["memory", *BROKERS])
async def log(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Log]:
    """An empty log of each kind."""
    if request.param == "memory":
        yield MemoryLog(payload_bytes_max=PAYLOAD_BYTES_MAX)
    else:
        monkeypatch.setattr(Kind, "chosen", request.param)
        knobs = settings(tmp_path, payload_bytes_max=PAYLOAD_BYTES_MAX, tail_fetch_max=64)
        async with fresh_bus(knobs) as bus:
            yield bus.log


async def outcome(log: Log, to: Header, expected: int = 0) -> int | type[Exception]:
    """The position, or the kind of failure."""
    try:
        return await log.append(to, [HI], expected)
    except Conflict as error:
        return type(error)


async def test_what_is_appended_is_read_back_whole(log: Log) -> None:
    """Header, events and position; only the digest is the log's own."""
    written = header(traceparent=f"00-{'a' * 32}-{'b' * 16}-01", fingerprint="f" * 16)
    seq = await log.append(written, [HI, HO], 0)
    (commit,) = await log.read("message", "general.M1")

    assert msgspec.structs.replace(commit.header, digest="") == written
    assert re.fullmatch("[0-9a-f]{64}", commit.header.digest)
    assert (commit.events, commit.seq) == ((HI, HO), seq)


async def test_positions_begin_at_one_and_have_no_holes(log: Log) -> None:
    """Whatever aggregate they belong to."""
    seqs = [await told(log, HI, f"general.M{nth}") for nth in range(5)]

    assert seqs == [1, 2, 3, 4, 5]
    assert await log.head() == 5


async def test_an_empty_log_has_no_head_and_nothing_in_it(log: Log) -> None:
    """Position 0 is before the first commit."""
    assert await log.head() == 0
    assert await log.page(0, 10) == []
    assert await log.read("message", "general.M1") == []


@pytest.mark.parametrize("expected", [0, 1, 3, 2**63 - 1])
async def test_an_aggregate_that_has_moved_on_is_a_conflict(log: Log, expected: int) -> None:
    """Nothing is stored, whether the caller is behind or believes itself ahead."""
    await told(log, HI)
    await told(log, HO, expected=1)

    with pytest.raises(Conflict):
        await told(log, HO, expected=expected)
    assert await log.head() == 2


@pytest.mark.parametrize("expected", [-1, 2**63, 2**64, 36893488147419103233])
async def test_a_guard_is_a_position(log: Log, expected: int) -> None:
    """The broker would wrap a number that is too large, and then store."""
    with pytest.raises(ValueError, match="no position"):
        await told(log, HI, expected=expected)
    assert await log.head() == 0


def test_a_guard_is_written_as_a_decimal_number() -> None:
    """No spelling but this one ever leaves the house."""
    written = [(GUARD % guard(one)).split(b": ")[1] for one in (0, True, 2**63 - 1)]

    assert written == [b"0\r\n", b"1\r\n", b"9223372036854775807\r\n"]


async def test_an_aggregate_is_read_alone_and_in_order(log: Log) -> None:
    """Also beside keys that begin alike, and the same key of another noun."""
    await told(log, HI, "general.M1")
    await told(log, HI, "general.M10")
    await told(log, HO, "general.M1", expected=1)
    await told(log, HI, "general.M1", noun="cursor")

    assert [c.seq for c in await log.read("message", "general.M1")] == [1, 3]
    assert [c.seq for c in await log.read("message", "general.M1", after=1)] == [3]
    assert await log.read("message", "general.M1", after=3) == []
    assert await log.read("message", "general") == []


async def test_a_long_aggregate_is_read_to_its_end(log: Log) -> None:
    """Longer than one fetch from the broker."""
    for expected in range(100):
        await told(log, HO, expected=expected)

    assert [c.seq for c in await log.read("message", "general.M1")] == list(range(1, 101))


async def test_a_page_has_as_many_as_asked_for(log: Log) -> None:
    """It says which aggregate each commit belongs to, and ends at the head."""
    for nth in range(5):
        await told(log, HI, f"general.M{nth}")

    assert [(one.seq, one.key) for one in await log.page(1, 2)] == [
        (2, "general.M1"),
        (3, "general.M2"),
    ]
    assert [one.seq for one in await log.page(3, 100)] == [4, 5]
    assert await log.page(5, 100) == []


async def test_a_tail_ends_where_it_was_told_to(log: Log) -> None:
    """And not before: it waits for what is not there yet."""
    await told(log, HI, "general.M1")
    async with asyncio.TaskGroup() as group:
        heard = group.create_task(listened(log, 3))
        await told(log, HI, "general.M2")
        await told(log, HI, "general.M3")
        await told(log, HI, "general.M4")

    assert [one.seq for one in heard.result()] == [1, 2, 3]


async def test_a_tail_that_has_nothing_to_say_ends_at_once(log: Log) -> None:
    """Up to a position that it has passed already."""
    assert await listened(log, 0, after=0) == []
    assert await listened(log, -3, after=5) == []


async def test_a_tail_waits_at_the_head_for_news(log: Log) -> None:
    """News wakes all who wait, at once: none has to look again after a second."""
    tails = [log.tail(0) for _ in range(5)]
    waiting = [asyncio.ensure_future(anext(tail)) for tail in tails]
    async with asyncio.timeout(DEADLINE_S):
        for seq in range(1, 20):
            await told(log, HI, f"general.M{seq}")
            pages = await asyncio.gather(*waiting)
            waiting = [asyncio.ensure_future(anext(tail)) for tail in tails]
            assert {page[-1].seq for page in pages} == {seq}
    for one in waiting:
        one.cancel()
    await asyncio.wait(waiting)


async def test_a_late_tail_hears_everything_from_its_position(log: Log) -> None:
    """However many fetches that takes."""
    async with asyncio.TaskGroup() as group:
        for nth in range(MANY):
            group.create_task(told(log, HI, f"general.M{nth}"))

    heard = await listened(log, MANY - 10, after=10)

    assert [one.seq for one in heard] == list(range(11, MANY + 1))


async def test_many_at_once_on_many_aggregates_are_all_stored(log: Log) -> None:
    """Each at a position of its own, without holes, and with its own content."""
    headers = [header(key=f"general.M{nth}") for nth in range(MANY)]
    seqs = await asyncio.gather(*(log.append(one, [HI], 0) for one in headers))
    commits = {one.key: one.seq for one in await log.page(0, MANY)}
    last = await log.read("message", f"general.M{MANY - 1}")

    assert sorted(seqs) == list(range(1, MANY + 1))
    assert commits == {one.key: seq for one, seq in zip(headers, seqs, strict=True)}
    assert [one.header.id for one in last] == [headers[-1].id]


async def test_many_at_once_on_one_aggregate_make_one_winner(log: Log) -> None:
    """All others learn of the conflict."""
    outcomes = await asyncio.gather(*(outcome(log, header()) for _ in range(MANY)))

    assert sorted(map(str, outcomes)) == sorted(["1", *[str(Conflict)] * (MANY - 1)])
    assert await log.head() == 1


async def test_a_conflict_hurts_none_of_its_neighbours(log: Log) -> None:
    """A batch of the broker is all or nothing; who shares one with a loser must not notice."""
    await told(log, HI, "general.M7")
    outcomes = await asyncio.gather(
        *(outcome(log, header(key=f"general.M{nth}")) for nth in range(100))
    )

    assert [nth for nth, one in enumerate(outcomes) if one is Conflict] == [7]
    assert await log.head() == 100


async def test_a_chain_of_appends_on_one_aggregate_may_wait_together(log: Log) -> None:
    """A batch holds one commit of an aggregate; the next one waits for the next batch."""
    await told(log, HI)
    ours = [outcome(log, header(), expected) for expected in (1, 2, 3)]
    outcomes = await asyncio.gather(*ours, *(outcome(log, header(key=f"x.{n}")) for n in range(50)))

    assert outcomes[0] in {2, Conflict}
    assert len(await log.read("message", "general.M1")) == 1 + sum(
        one is not Conflict for one in outcomes[:3]
    )


async def test_a_commit_that_is_too_large_is_refused_and_hurts_nobody(log: Log) -> None:
    """The broker would end the connection, and with it everybody's."""
    large = MessagePosted(content="", security={"all": "x" * PAYLOAD_BYTES_MAX})
    with pytest.raises(TooLarge):
        await told(log, large)

    assert await told(log, HI) == 1


async def test_an_epoch_is_sixteen_digits(log: Log) -> None:
    """It names the log, so that positions of another one mean nothing here."""
    assert re.fullmatch("[0-9a-f]{16}", log.epoch)


@pytest.mark.usefixtures("each_broker")
async def test_another_log_is_another_epoch_and_a_restart_is_not(tmp_path: Path) -> None:
    """On the real broker: the epoch is the stream's own."""
    async with fresh_bus(settings(tmp_path / "one")) as bus:
        first = bus.log.epoch
    async with fresh_bus(settings(tmp_path / "one")) as bus:
        again = bus.log.epoch
    async with fresh_bus(settings(tmp_path / "two")) as bus:
        other = bus.log.epoch

    assert first == again != other

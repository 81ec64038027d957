"""What the broker does that nobody would expect, proven on the real one, and why it cannot hurt us.

Each trap is sprung with bare bytes first; what the log makes of it stands beside it. A new release
of the broker that behaves otherwise fails here before it surprises anybody.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from bus import codec
from bus.attachment import Bus
from bus.connection import wired
from bus.jetstream import JetStreamLog
from bus.log import Conflict, Unacknowledged, Unstored
from bus.wire import BrokerLost
from schemas.message import MessagePosted
from schemas.settings import KIB
from tests.examples import header
from tests.logs import (
    DEADLINE_S,
    behind_a_line,
    bus_on,
    fresh_broker,
    fresh_bus,
    listened,
    settings,
    told,
)
from tests.simulated import killed, started

HI = MessagePosted(content="Hi.")
SUBJECT = "evt.message.general.M1"
WRONG_LAST_SEQUENCE = 10071
DUPLICATE_IN_BATCH = 10201
COMMITS = 2000
WRITERS = 100
"""Each waits for one before the next, so that no more are on their way when the broker dies."""

pytestmark = pytest.mark.usefixtures("each_broker")


@pytest.fixture
async def bus(tmp_path: Path) -> AsyncIterator[Bus]:
    """A fresh log on a broker of its own."""
    async with fresh_bus(settings(tmp_path)) as one:
        yield one


async def said(bus: Bus, subject: str = SUBJECT, **headers: str) -> dict[str, Any]:
    """The broker's answer to bare bytes with *headers* (underscores are dashes)."""
    data = await bus.wire.ask(subject, b"{}", DEADLINE_S, block(**headers))
    answer: dict[str, Any] = json.loads(data)
    return answer


def block(**headers: str) -> bytes:
    """A block of NATS headers."""
    lines = (f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
    return f"NATS/1.0\r\n{''.join(lines)}\r\n".encode()


def code(answer: dict[str, Any]) -> int:
    """The broker's error code, 0 for success."""
    error = answer.get("error") or {"err_code": 0}
    return int(error["err_code"])


async def test_a_retry_after_a_lost_answer_looks_like_a_conflict(bus: Bus) -> None:
    """Same id, same guard: the broker says 10071, although the first attempt has won.

    So a conflict proves nothing about whose commit it is: the host reads it and knows it by cause.
    """
    once = {"Nats_Msg_Id": "a", "Nats_Expected_Last_Subject_Sequence": "0"}

    assert code(await said(bus, **once)) == 0
    assert code(await said(bus, **once)) == WRONG_LAST_SEQUENCE


@pytest.mark.parametrize("blank", ["", " "])
async def test_a_blank_guard_is_no_guard(bus: Bus, blank: str) -> None:
    """The broker stores without looking; ours are made of integers (`bus.log.guard`)."""
    assert (await said(bus))["seq"] == 1
    assert (await said(bus, Nats_Expected_Last_Subject_Sequence=blank))["seq"] == 2


async def test_an_oversized_guard_wraps(bus: Bus) -> None:
    """2^65 + 1 is taken for 1; ours end at 2^63 - 1."""
    assert (await said(bus))["seq"] == 1
    wrapped = await said(bus, Nats_Expected_Last_Subject_Sequence="36893488147419103233")

    assert wrapped["seq"] == 2


@pytest.mark.parametrize("nonsense", ["-1", "abc", "1.0", "0x1"])
async def test_a_guard_that_is_no_number_refuses(bus: Bus, nonsense: str) -> None:
    """At least these do no harm: the broker takes them for a wrong position."""
    assert (await said(bus))["seq"] == 1
    answer = await said(bus, Nats_Expected_Last_Subject_Sequence=nonsense)

    assert code(answer) == WRONG_LAST_SEQUENCE


async def test_an_id_swallows_another_message_of_the_same_id(bus: Bus) -> None:
    """Elsewhere, with another content: "duplicate", not stored, the old position.

    So commits carry no message id: the guard of the aggregate is idempotence for ever.
    """
    assert (await said(bus, Nats_Msg_Id="a"))["seq"] == 1
    swallowed = await said(bus, "evt.message.general.M2", Nats_Msg_Id="a")

    assert (swallowed["seq"], swallowed["duplicate"]) == (1, True)
    assert await bus.log.read("message", "general.M2") == []


async def test_one_commit_said_twice_is_stored_once(bus: Bus) -> None:
    """The same header sent again, guard and all, is a conflict and changes nothing."""
    one = header()
    await bus.log.append(one, [HI], 0)

    with pytest.raises(Conflict):
        await bus.log.append(one, [HI], 0)
    assert await bus.log.head() == 1


async def batch(bus: Bus, name: str, *members: dict[str, str]) -> dict[str, Any]:
    """The broker's answer to an atomic batch of messages on M1, M2, …"""
    for nth, member in enumerate(members, 1):
        place = {"Nats_Batch_Id": name, "Nats_Batch_Sequence": str(nth)}
        subject = f"evt.message.general.M{nth}"
        if nth == len(members):
            return await said(bus, subject, **member, **place, Nats_Batch_Commit="1")
        bus.wire.publish(subject, b"{}", header=block(**member, **place))
    raise AssertionError("an empty batch")


async def test_a_batch_is_all_or_nothing(bus: Bus) -> None:
    """One conflict and none is stored; no position is used up."""
    free = {"Nats_Expected_Last_Subject_Sequence": "0"}
    wrong = {"Nats_Expected_Last_Subject_Sequence": "7"}

    assert code(await batch(bus, "b1", free, wrong, free)) == WRONG_LAST_SEQUENCE
    assert await bus.log.head() == 0
    assert (await batch(bus, "b2", free, free, free))["seq"] == 3


async def test_a_batch_said_again_has_its_own_error(bus: Bus) -> None:
    """10201, which the log takes for the conflict that it is."""
    members = [{"Nats_Msg_Id": f"m{nth}"} for nth in range(3)]

    assert (await batch(bus, "b1", *members))["seq"] == 3
    assert code(await batch(bus, "b2", *members)) == DUPLICATE_IN_BATCH
    assert await bus.log.head() == 3


async def test_a_batch_that_is_never_finished_stores_nothing(bus: Bus) -> None:
    """And nobody after it has to wait for it."""
    unfinished = block(Nats_Batch_Id="b1", Nats_Batch_Sequence="1")
    bus.wire.publish("evt.message.general.M9", b"{}", header=unfinished)

    assert await told(bus.log, HI) == 1
    assert await bus.log.head() == 1


async def test_an_empty_message_is_not_the_end_of_the_log(bus: Bus) -> None:
    """Direct Get ends a page with an empty message of its own; one that is stored is told apart."""
    await told(bus.log, HI, "general.M1")
    await bus.wire.ask("evt.message.general.M2", b"", DEADLINE_S)
    await told(bus.log, HI, "general.M3")
    page = await bus.log.page(0, 10)

    assert [(one.seq, one.key) for one in page] == [
        (1, "general.M1"),
        (2, "general.M2"),
        (3, "general.M3"),
    ]
    assert page[1].payload == b""


@pytest.mark.parametrize("subject", ["evt.martian.x", "evt.martian", "evt.message.a.b.c"])
async def test_a_subject_outside_the_grammar_is_read_like_any_other(bus: Bus, subject: str) -> None:
    """Whoever folds it judges it; a reader that stopped at it could not even name it."""
    await said(bus, subject)
    await told(bus.log, HI)

    assert [one.seq for one in await bus.log.page(0, 10)] == [1, 2]


async def test_a_commit_that_cannot_be_read_names_its_position(bus: Bus) -> None:
    """Reading the aggregate raises; nothing is left out silently."""
    await said(bus)

    with pytest.raises(codec.Undecodable, match="position 1:"):
        await bus.log.read("message", "general.M1")


async def test_a_header_takes_no_line_of_a_callers_making(bus: Bus) -> None:
    """A traceparent is whatever somebody sent: it stays in the payload and out of the header."""
    evil = header(traceparent="x\r\nNats-Expected-Last-Subject-Sequence: 0")
    await told(bus.log, HI)

    with pytest.raises(Conflict):
        await bus.log.append(evil, [HI], 9)
    assert await bus.log.append(evil, [HI], 1) == 2


async def test_a_lost_answer_is_an_unknown_outcome(tmp_path: Path) -> None:
    """The commit is in the log, or not: nobody is told that it failed."""
    knobs = settings(tmp_path, append_timeout_s=0.2)
    async with behind_a_line(knobs) as (bus, far, between):
        between.cut = True
        with pytest.raises(Unacknowledged, match=r"no answer in 0\.2 s"):
            await told(far.log, HI)

        (commit,) = await bus.log.read("message", "general.M1")
        assert commit.events == (HI,)


async def test_a_lost_answer_to_a_batch_is_unknown_to_all_in_it(tmp_path: Path) -> None:
    """Nobody sends it again by himself: it may be in the log."""
    knobs = settings(tmp_path, append_timeout_s=0.2, group_commit_plain_max=2)
    async with behind_a_line(knobs) as (bus, far, between):
        between.cut = True
        outcomes = await asyncio.gather(
            *(told(far.log, HI, f"general.M{nth}") for nth in range(20)), return_exceptions=True
        )

        assert {type(outcome) for outcome in outcomes} == {Unacknowledged}
        assert await bus.log.head() == 20


async def test_a_full_log_says_so(tmp_path: Path) -> None:
    """Nothing is discarded to make room, and nothing is stored."""
    knobs = settings(tmp_path, log_bytes_max=64 * KIB)
    large = MessagePosted(content="x" * 20_000)
    async with fresh_bus(knobs) as bus:
        stored = [await told(bus.log, large, f"general.M{nth}") for nth in range(2)]
        with pytest.raises(Unstored, match="maximum bytes exceeded"):
            await asyncio.gather(*(told(bus.log, large, f"x.M{nth}") for nth in range(3)))

        assert [one.seq for one in (await bus.log.page(0, 10))[:2]] == stored


async def test_a_log_that_is_not_there_stores_nothing(tmp_path: Path) -> None:
    """And says so at once: the broker knows that nobody listens."""
    knobs = settings(tmp_path, append_timeout_s=60)
    async with started(knobs) as running, wired(running.endpoint, "actors", knobs) as wire:
        log = JetStreamLog(wire, knobs, "0" * 16)
        flushing = asyncio.create_task(log.flush())
        outcomes = await asyncio.gather(
            *(told(log, HI, f"general.M{nth}") for nth in range(20)), return_exceptions=True
        )
        flushing.cancel()
        await asyncio.wait([flushing])

        assert {str(outcome) for outcome in outcomes} == {"the stream is absent"}
        assert {type(outcome) for outcome in outcomes} == {Unstored}
        with pytest.raises(BrokerLost, match="stream not found"):
            await log.head()


async def test_a_writer_that_has_ended_keeps_nobody_waiting(tmp_path: Path) -> None:
    """Who waited learns that the outcome is unknown; who comes later learns it at once."""
    knobs = settings(tmp_path)
    async with fresh_bus(knobs) as bus:
        log = JetStreamLog(bus.wire, knobs, bus.log.epoch)
        early = asyncio.create_task(told(log, HI))
        flushing = asyncio.create_task(log.flush())
        await asyncio.sleep(0)
        flushing.cancel()
        await asyncio.wait([flushing, early], timeout=DEADLINE_S)

        assert isinstance(early.exception(), Unacknowledged)
        with pytest.raises(Unacknowledged):
            await told(log, HI)


async def killed_among_appends(directory: Path) -> tuple[list[int], int, int]:
    """`kill -9` of the broker among appends: the positions that were acknowledged and do not hold
    after the restart what they were to hold; how many were acknowledged, and how many unknown."""
    knobs = settings(directory, append_timeout_s=60, group_commit_batch_max=50)
    acknowledged: dict[str, int] = {}
    unknown: list[Unacknowledged] = []
    async with fresh_broker(knobs) as running, bus_on(running.endpoint, knobs) as bus:

        async def write(nth: int) -> None:
            one = header(key=f"general.M{nth}")
            try:
                acknowledged[one.id] = await bus.log.append(one, [HI], 0)
                if len(acknowledged) == COMMITS // 4:
                    killed(running)
            except Unacknowledged as error:
                unknown.append(error)

        async def write_on(first: int) -> None:
            for nth in range(first, COMMITS, WRITERS):
                await write(nth)

        async with asyncio.timeout(DEADLINE_S):
            await asyncio.gather(*(write_on(first) for first in range(WRITERS)))
            with pytest.raises(BrokerLost):
                await bus.wire.lost
            await write(COMMITS)  # And one that comes too late.

    async with fresh_bus(knobs) as again:
        kept = await listened(again.log, await again.log.head())
        assert [one.seq for one in kept] == list(range(1, len(kept) + 1))
        ids = {codec.decode(one.payload).header.id: one.seq for one in kept}
        lost = sorted(seq for id_, seq in acknowledged.items() if ids.get(id_) != seq)
        return lost, len(acknowledged), len(unknown)


async def test_a_killed_broker_is_noticed_at_once_and_has_lost_nothing(tmp_path: Path) -> None:
    """Every append that was acknowledged is there after the restart; each other one is told that
    nobody knows."""
    lost, acknowledged, unknown = await killed_among_appends(tmp_path)

    assert lost == []
    assert (acknowledged + unknown, unknown > 1) == (COMMITS + 1, True)


async def test_a_writer_that_is_told_at_sending_loses_what_it_was_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The proof that the test before this one can fail: the broker's answer is not waited for."""
    append, places = JetStreamLog.append, count(1)

    async def told_at_sending(self: JetStreamLog, *what: Any) -> int:
        sending = asyncio.create_task(append(self, *what))
        sending.add_done_callback(asyncio.Task.exception)
        await asyncio.sleep(0)  # It is on its way, and this is where it will lie if all goes well.
        return next(places)

    monkeypatch.setattr(JetStreamLog, "append", told_at_sending)
    lost, _, _ = await killed_among_appends(tmp_path)

    assert lost

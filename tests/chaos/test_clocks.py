"""Clocks that jump, memories that end, and many who want the same thing."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest

from bus import codec
from bus.attachment import Bus
from bus.clock import Clock
from gateway.bench.fair import FEWEST, fair
from schemas.envelope import Request
from schemas.message import PostMessage
from schemas.workspace import ClaimWorkspace
from tests.actors.hosts import POST, code, host, like
from tests.bus.test_traps import said
from tests.examples import WHEN_MS, request
from tests.logs import DEADLINE_S, fresh_bus, listened, settings

HOUR_MS = 3_600_000
DECADE_MS = 10 * 365 * 24 * HOUR_MS
JUMPS_MS = (0, HOUR_MS, -HOUR_MS, DECADE_MS, -DECADE_MS, -1, HOUR_MS)
"""Where the wall clock stands from one look to the next, beside the right time."""
WRITERS = 16
TURNS = 5
FAIR_S = 2.0


@pytest.fixture
async def bus(tmp_path: Path) -> AsyncIterator[Bus]:
    """A log whose broker remembers ids for a second."""
    async with fresh_bus(settings(tmp_path, duplicate_window_s=1)) as one:
        yield one


def jumping() -> Callable[[], int]:
    """A wall clock that jumps at each look."""

    def readings() -> Iterator[int]:
        while True:
            yield from (WHEN_MS + jump for jump in JUMPS_MS)

    told = readings()
    return lambda: next(told)


class Plain(Clock):
    """What a clock would be that believes the wall."""

    def tick(self) -> str:
        return f"{self._wall():012x}0000"


async def clocks_of_posts(bus: Bus, clock: Clock) -> list[str]:
    """The clocks of posts that one host stored one after the other."""
    one = host(bus.log, clock=clock)
    for nth in range(2 * len(JUMPS_MS)):
        await one.handle(post(nth))
    stored = await listened(bus.log, 2 * len(JUMPS_MS))
    return [codec.decode(commit.payload).header.clock for commit in stored]


def post(nth: int) -> Request:
    return request("message", f"general.M{nth}", PostMessage(content="Hi."))


async def test_a_wall_clock_that_jumps_changes_no_order(bus: Bus) -> None:
    """What was said later is later, whatever the wall said: an hour, ten years, backwards."""
    clocks = await clocks_of_posts(bus, Clock(jumping()))

    assert clocks == sorted(set(clocks))


async def test_a_clock_that_believes_the_wall_changes_the_order(bus: Bus) -> None:
    """The proof that the test before this one can fail."""
    clocks = await clocks_of_posts(bus, Plain(jumping()))

    assert clocks != sorted(clocks)


async def test_a_wall_clock_set_back_over_a_restart_changes_no_order(bus: Bus) -> None:
    """The next process begins behind the last commit, though its wall says ten years ago."""
    await clocks_of_posts(bus, Clock(jumping()))
    later = Clock(lambda: WHEN_MS - DECADE_MS)
    (last,) = await bus.log.page(await bus.log.head() - 1, 1)
    later.observe(codec.decode(last.payload).header.clock)
    seq = (await host(bus.log, clock=later).handle(post(99))).seq
    (stored,) = await bus.log.page(seq - 1, 1)

    assert codec.decode(stored.payload).header.clock > codec.decode(last.payload).header.clock


async def forgotten(bus: Bus) -> None:
    """Returns once the broker has forgotten an id that it was told before: it stores it again."""
    subject, twice = "evt.message.general.trap", {"Nats_Msg_Id": "a"}
    await said(bus, subject, **twice)
    async with asyncio.timeout(DEADLINE_S):
        while (await said(bus, subject, **twice)).get("duplicate"):
            await asyncio.sleep(0.05)


async def test_a_command_is_known_after_the_broker_has_forgotten_its_id(bus: Bus) -> None:
    """By a host that has just been started: the log itself remembers, for ever."""
    first = await host(bus.log).handle(POST)
    await forgotten(bus)
    again = await host(bus.log).handle(POST)

    assert (again.seq, again.replayed) == (first.seq, True)
    assert len(await bus.log.read("message", "general.M1")) == 1


async def test_many_writers_of_one_message_all_come_to_their_turn(bus: Bus) -> None:
    """At one host they take turns: while all of them go on, nobody wins twice before another."""
    one = host(bus.log)
    await one.handle(POST)
    won: Counter[int] = Counter()

    async def write(nth: int) -> None:
        while won.total() < TURNS * WRITERS:
            assert not code(await one.handle(like(author=f"a{nth}")))
            won[nth] += 1

    async with asyncio.timeout(6 * DEADLINE_S):
        await asyncio.gather(*(write(nth) for nth in range(WRITERS)))

    assert set(won.values()) <= {TURNS, TURNS + 1}


async def test_hosts_that_lose_a_turn_have_the_next(tmp_path: Path) -> None:
    """Each win is its own, and one that is farther from the broker has its share of them."""
    report = await fair(tmp_path, seconds=FAIR_S, writers=4)

    assert report.held, report.figures


async def test_a_far_host_that_says_nothing_has_hardly_a_turn(tmp_path: Path) -> None:
    """The proof that the test before this one can fail: the near ones win again and again."""
    report = await fair(tmp_path, seconds=FAIR_S, writers=4, silent=True)

    assert [figure.name for figure in report.figures if not figure.held] == [FEWEST]


async def owners(bus: Bus) -> set[str]:
    """Who is told to own the workspace, of many who claim it at once, each at a host of his own."""
    claims = [
        request("workspace", "main", ClaimWorkspace(account_id=f"a{nth}"), author=f"a{nth}")
        for nth in range(WRITERS)
    ]
    answers = await asyncio.gather(*(host(bus.log).handle(claim) for claim in claims))
    return {
        claim.author
        for claim, answer in zip(claims, answers, strict=True)
        if not code(answer) and answer.facts
    }


async def test_what_many_claim_at_once_one_gets(bus: Bus) -> None:
    assert len(await owners(bus)) == 1


async def test_without_a_guard_several_get_what_there_is_once(
    bus: Bus, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The proof that the test before this one can fail: a header that the broker does not know."""
    monkeypatch.setattr("bus.group_commit.GUARD", b"Canopy-No-Guard: %d\r\n")

    assert len(await owners(bus)) > 1

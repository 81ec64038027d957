"""Whose turn it is: in the order in which turns were lost, for those who hear of it."""

from __future__ import annotations

import asyncio
from contextlib import ExitStack

import pytest

from bus import rivals
from bus.rivals import Rivals

M1 = ("message", "general.M1")
BRIEFLY_S = 0.05


def heard_by_all(count: int) -> list[Rivals]:
    """So many processes that hear each other and themselves."""
    everybody: list[Rivals] = []

    def say(word: bytes) -> None:
        for one in everybody:
            one.hear(word)

    everybody += [Rivals(say) for _ in range(count)]
    return everybody


async def test_who_loses_no_turn_says_nothing() -> None:
    said: list[bytes] = []
    with Rivals(said.append).place(*M1) as place:
        assert not place.others_wait

    assert said == []


async def test_who_has_lost_goes_first() -> None:
    """Before whoever comes with something new, until it waits no more."""
    ann, bob = heard_by_all(2)
    with ann.place(*M1) as lost, bob.place(*M1) as fresh:
        await lost.line_up()
        waiting = [lost.others_wait, fresh.others_wait]

    assert waiting == [False, True]
    assert not bob.place(*M1).others_wait


async def test_those_who_have_lost_go_in_that_order() -> None:
    """And who loses again keeps its place."""
    with ExitStack() as leaving:
        places = [leaving.enter_context(one.place(*M1)) for one in heard_by_all(3)]
        async with asyncio.TaskGroup() as group:
            await places[0].line_up()
            second = group.create_task(places[1].line_up())
            await asyncio.sleep(0)
            group.create_task(places[2].line_up())
            await asyncio.sleep(0)
            await places[0].line_up()
            waiting = [place.others_wait for place in places]
            places[0].__exit__()
            waiting += [place.others_wait for place in places[1:]]
            await second
            places[1].__exit__()

    assert waiting == [False, True, True, False, True]


async def test_other_aggregates_have_other_queues() -> None:
    ann, bob = heard_by_all(2)
    with ann.place(*M1) as lost:
        await lost.line_up()

        assert not bob.place("message", "general.M2").others_wait


async def test_nobody_waits_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that said that it waits, and was never heard of again, is not waited for twice."""
    monkeypatch.setattr(rivals, "WAITED_S_MAX", BRIEFLY_S)
    ann, bob = heard_by_all(2)
    with ExitStack() as dead:
        await dead.enter_context(ann.place(*M1)).line_up()
        async with asyncio.timeout(20 * BRIEFLY_S):
            await bob.place(*M1).wait()

        assert not bob.place(*M1).others_wait


async def test_what_is_no_word_changes_nothing() -> None:
    (one,) = heard_by_all(1)
    for noise in (b"", b"{}", b"\xff", b'{"process":1}'):
        one.hear(noise)

    assert not one.place(*M1).others_wait


async def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the queues, the one of which nothing was heard for the longest is forgotten."""
    monkeypatch.setattr(rivals, "QUEUES_MAX", 2)
    ann, bob = heard_by_all(2)
    with ExitStack() as stack:
        for nth in range(3):
            await stack.enter_context(ann.place("message", f"general.M{nth}")).line_up()
        waited = [bob.place("message", f"general.M{nth}").others_wait for nth in range(3)]

    assert waited == [False, True, True]

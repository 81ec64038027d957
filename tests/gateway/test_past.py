"""The past: what a read answers about a position or a time, by whose rights, and what is gone."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from actors.projection_file import ProjectionFile
from bus.clock import iso_ms
from gateway.routes import ROUTES
from schemas.account import ProfileChanged
from schemas.channel import ChannelRemoved
from schemas.envelope import Event
from schemas.message import MessageDeleted, MessageEdited, MessagePosted
from tests.canopy import Caller, Canopy
from tests.examples import NAMES, WHEN_MS, events
from tests.gateway.two_gateways import (
    BEGINNING,
    STEP_MS,
    Line,
    Told,
    answers,
    house,
    somebody,
)

LATER_MS = WHEN_MS + 90 * 86_400_000
"""When the second gateway is asked: some months after it all."""

PLACES = {
    "channel_id": ("general", "C1"),
    "message_id": ("M1",),
    "account_id": ("bob",),
    "seq": ("4", "7"),
    "code": ("behind",),
    "id": ("7", "M1", "bob", "C1"),
}
QUERIES = {
    "/channels": ("", "?joinable=true"),
    "/channels/{channel_id}/search": ("?q=Hi",),
    "/channels/{channel_id}/messages": ("?limit=2",),
    "/channels/threads/subscription": ("?channel_id=general&message_id=M1",),
    "/log": ("?limit=5", "?after=2&noun=message"),
}
PAST = [route for route in ROUTES if route.past]
PRESENT = [route for route in ROUTES if not route.past and route.method == "GET"]


def paths(pattern: str, queries: Sequence[str]) -> list[str]:
    """Every way to ask at *pattern* that the examples know."""
    for name, values in PLACES.items():
        if f"{{{name}}}" in pattern:
            filled = [pattern.replace(f"{{{name}}}", value) for value in values]
            return [path for one in filled for path in paths(one, queries)]
    return [pattern + query for query in queries]


EVERYTHING = [path for route in PAST for path in paths(route.path, QUERIES.get(route.path, ("",)))]

said = st.one_of(
    st.tuples(
        st.just("message"), st.sampled_from(["general.M1", "general.M2", "C1.M3"]),
        st.sampled_from(NAMES), events("message"),
    ),
    st.tuples(
        st.just("channel"), st.sampled_from(["general", "C1"]), st.sampled_from(NAMES),
        events("channel"),
    ),
    st.tuples(
        st.just("cursor"), st.sampled_from(["general.ann", "C1.ann"]), st.just("ann"),
        events("cursor"),
    ),
    st.tuples(
        st.just("account"), st.sampled_from(["ann", "bob"]), st.just("ann"),
        events("account").filter(lambda event: isinstance(event, ProfileChanged)),
    ),
)  # fmt: skip
ENDINGS = (MessageDeleted, ChannelRemoved)


def lasts(line: tuple[str, str, str, Event]) -> bool:
    """Whether what is said ends nothing."""
    return not isinstance(line[3], ENDINGS)


@hypothesis_settings(max_examples=2, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(drawn=st.lists(said.filter(lasts), min_size=4, max_size=7))
def test_the_past_is_what_the_present_was(drawn: list[tuple[str, str, str, Event]]) -> None:
    """At every position of a history, on every route: what a node answers that knows no more."""
    history = [*BEGINNING, *((noun, key, by, (event,)) for noun, key, by, event in drawn)]

    differences = asyncio.run(_differences(history))

    assert differences == []


async def _differences(history: Sequence[Line]) -> list[tuple[int, str, Any, Any]]:
    """(position, path, then, now) where the two gateways do not agree."""
    log, me = Told(), somebody()
    with TemporaryDirectory() as folder:
        async with house(Path(folder, "first"), log, [0], me) as first:
            then: dict[int, dict[str, Any]] = {}
            for line in history:
                seq = await log.tell(line)
                await first.reads.reached(seq)
                first.clock[0] = WHEN_MS + seq * STEP_MS
                if seq >= 2:
                    then[seq] = await answers(first, EVERYTHING)
        async with house(Path(folder, "second"), log, [LATER_MS], me) as second:
            await second.reads.reached(len(history))
            return [
                (seq, path, told[path], now[path])
                for seq, told in then.items()
                for now in [await answers(second, EVERYTHING, seq)]
                for path in EVERYTHING
                if told[path] != now[path]
            ]


TALK: tuple[Line, ...] = (
    ("message", "general.M1", "bob", (MessagePosted(content="Hi, marker."),)),
    ("message", "general.M2", "ann", (MessagePosted(content="Hi, all."),)),
    ("message", "general.M1", "bob", (MessageEdited(content="Ho, marker."),)),
    ("message", "C1.M3", "bob", (MessagePosted(content="Hi, den."),)),
)


async def test_without_the_filter_the_past_would_differ(monkeypatch: pytest.MonkeyPatch) -> None:
    """The mutation of the test above: tables that do not end at the position."""
    assert await _differences([*BEGINNING, *TALK]) == []
    monkeypatch.setattr(ProjectionFile, "_views", lambda *_: "SELECT 1")

    assert await _differences([*BEGINNING, *TALK])


@pytest.fixture
async def ann(canopy: Canopy) -> Caller:
    """The owner of the workspace."""
    return await canopy.owner()


async def said_in(who: Caller, content: str, channel: str = "general") -> dict[str, Any]:
    """A new message and where it is."""
    body = {"channel_id": channel, "content": content}
    message: dict[str, Any] = (await who.post("/channels/messages", body))["message"]
    return message


async def contents(who: Caller, at: object, channel: str = "general") -> list[tuple[str, Any]]:
    """What was said, and why some of it is withheld, at a moment."""
    page = await who.get(f"/channels/{channel}/messages?at={at}")
    return [(one["content"], one["withheld"]) for one in page["messages"]]


async def test_a_position_and_a_time_name_the_same_past(ann: Caller) -> None:
    """The answer tells the position; one who pages on names it again."""
    first = await said_in(ann, "one")
    await asyncio.sleep(0.01)  # Times are milliseconds apart.
    second = await said_in(ann, "two")
    by_seq = await ann.call("GET", f"/channels/general/messages?at={first['seq']}")
    by_time = await ann.call("GET", f"/channels/general/messages?at={first['created_at']}")
    offset = first["created_at"].replace("Z", "+00:00")
    by_offset = await ann.call("GET", f"/channels/general/messages?at={offset}")
    page = await ann.get(f"/channels/general/messages?limit=1&at={second['seq']}")
    older = await ann.get(f"/channels/general/messages?cursor={page['next']}&at={second['seq']}")

    assert by_seq[2] == by_time[2] == by_offset[2]
    assert by_seq[1]["Canopy-Seq"] == by_time[1]["Canopy-Seq"] == str(first["seq"])
    assert [one["content"] for one in by_seq[2]["messages"]] == ["one"]
    assert [one["content"] for one in page["messages"]] == ["two"]
    assert [one["content"] for one in older["messages"]] == ["one"]


async def test_what_is_gone_is_gone_from_every_past(ann: Caller) -> None:
    """That something was said is told, and why it is not shown; it cannot be found."""
    doomed = await said_in(ann, "marker")
    kept = await said_in(ann, "kept")
    path = f"/channels/general/messages/{doomed['id']}"
    await ann.ok("PATCH", path, {"content": "marker too"})
    before = kept["seq"] + 1
    await ann.ok("DELETE", path)
    one = await ann.get(f"{path}?at={before}")
    found = await ann.get(f"/channels/general/search?q=marker&at={before}")
    status, _, history = await ann.call("GET", f"{path}/history?at={before}")

    assert await contents(ann, before) == [("", "deleted"), ("kept", None)]
    assert await contents(ann, before + 1) == [("kept", None)]
    assert (one["message"]["withheld"], one["message"]["content"]) == ("deleted", "")
    assert found["messages"] == []
    assert (status, history["code"]) == (404, "message_absent")


async def test_what_was_said_in_a_removed_channel_is_withheld(ann: Caller) -> None:
    den = (await ann.post("/channels", {"name": "den", "type": "private"}))["channel"]["id"]
    said_there = await said_in(ann, "marker", den)
    await ann.ok("DELETE", f"/channels/{den}")
    found = await ann.get(f"/channels/{den}/search?q=marker&at={said_there['seq']}")

    assert await contents(ann, said_there["seq"], den) == [("", "channel_removed")]
    assert found["messages"] == []


async def test_what_has_expired_is_withheld(tmp_path: Path) -> None:
    """The clock of the answer is that of the position; whether it may be told, today's decides."""
    log, me = Told(), somebody()
    until = iso_ms(WHEN_MS + 3_600_000)
    line: Line = ("message", "general.M1", "ann", (MessagePosted(content="x", expires_at=until),))
    async with house(tmp_path, log, [WHEN_MS + 60_000], me) as early:
        for one in (*BEGINNING, line):
            await early.reads.reached(await log.tell(one))
        path = f"/channels/general/messages/M1?at={len(BEGINNING) + 1}"
        shown = (await early.ask(path))[2]["message"]
        early.clock[0] = LATER_MS
        withheld = (await early.ask(path))[2]["message"]

    assert (shown["content"], shown["withheld"]) == ("x", None)
    assert (withheld["content"], withheld["withheld"]) == ("", "expired")


async def test_rights_are_those_of_then(canopy: Canopy, ann: Caller) -> None:
    """Who was a member may read what he could read; who was not may not, whatever he is today."""
    bob = await canopy.register("bob")
    den = (await ann.post("/channels", {"name": "den", "type": "private"}))["channel"]["id"]
    early = await said_in(ann, "early", den)
    await ann.post(f"/channels/{den}/members", {"user_id": bob.id})
    inside = await said_in(ann, "inside", den)
    await ann.ok("DELETE", f"/channels/{den}/members/{bob.id}")
    late = await said_in(ann, "late", den)
    path = f"/channels/{den}/messages"

    assert (await bob.call("GET", path))[0] == 404
    assert (await bob.call("GET", f"{path}?at={early['seq']}"))[0] == 404
    assert [one for one, _ in await contents(bob, inside["seq"], den)] == ["early", "inside"]
    assert (await bob.call("GET", f"{path}?at={late['seq']}"))[0] == 404


async def test_who_was_not_there_sees_nothing_of_before(canopy: Canopy, ann: Caller) -> None:
    seq = (await said_in(ann, "one"))["seq"]
    bob = await canopy.register("bob")
    status, _, problem = await bob.call("GET", f"/channels?at={seq}")

    assert (status, problem["code"]) == (403, "before_account")


async def test_a_credential_is_that_of_today(canopy: Canopy, ann: Caller) -> None:
    """Whoever is shut out now does not come in through the past."""
    bob = await canopy.register("bob")
    seq = (await said_in(bob, "one"))["seq"]
    await ann.post(f"/accounts/{bob.id}/suspend")
    status, _, problem = await bob.call("GET", f"/channels?at={seq}")

    assert (status, problem["code"]) == (403, "account_suspended")


async def test_what_is_no_moment_is_told_so(tmp_path: Path) -> None:
    """And so is what has yet to come, or lies before the caller's time."""
    expected = {
        "99999": (409, "position_ahead"),
        "9" * 19: (409, "position_ahead"),
        "2999-01-01T00:00:00Z": (409, "position_ahead"),
        "1969-01-01T00:00:00Z": (403, "before_account"),
        "0": (403, "before_account"),
        **dict.fromkeys(
            ("9" * 20, "yesterday", "2026-13-01T00:00:00Z", "2026-11-21T00:00:00", "", "-1"),
            (400, "invalid_request"),
        ),
    }
    log = Told()
    async with house(tmp_path, log, [LATER_MS], somebody()) as one:
        for line in BEGINNING:
            await one.reads.reached(await log.tell(line))
        told = {at: await one.ask(f"/channels?at={at}") for at in expected}

    assert {at: (status, problem["code"]) for at, (status, _, problem) in told.items()} == expected


@pytest.mark.parametrize("name", ["at", "after_seq", "limit"])
async def test_what_is_asked_twice_is_refused_by_name(name: str, ann: Caller) -> None:
    """Whichever of the two were taken, somebody would have meant the other."""
    status, _, problem = await ann.call("GET", f"/accounts?status=active&{name}=9&{name}=2")

    assert (status, problem["code"]) == (400, "invalid_request")
    assert [(one["field"], one["code"]) for one in problem["errors"]] == [(name, "repeated")]


async def test_what_is_only_true_now_has_no_past(tmp_path: Path) -> None:
    log = Told()
    async with house(tmp_path, log, [LATER_MS], somebody()) as one:
        for line in BEGINNING:
            await one.reads.reached(await log.tell(line))
        told = [
            await one.get(path) for route in PRESENT for path in paths(route.address, ("?at=1",))
        ]

    assert {problem["code"] for _, _, problem in told} == {"no_past"}


async def test_nothing_is_changed_in_the_past(ann: Caller) -> None:
    """Nor is a statement answered from the present: its moment stands in the body."""
    one = await said_in(ann, "one")
    path = f"/channels/general/messages/{one['id']}"
    tried = [
        await ann.call(method, f"{address}?at={one['seq']}", body)
        for method, address, body in (
            ("DELETE", path, None),
            ("PATCH", path, {"content": "two"}),
            ("POST", "/channels/messages", {"channel_id": "general", "content": "three"}),
            ("POST", "/sql", {"query": "SELECT 1"}),
        )
    ]
    page = await ann.get("/channels/general/messages")

    assert [(status, told["code"]) for status, _, told in tried] == [(400, "no_past")] * 4
    assert "in the body" in tried[-1][2]["detail"]
    assert [each["content"] for each in page["messages"]] == ["one"]


async def test_the_log_ends_where_the_past_does(ann: Caller) -> None:
    seq = (await said_in(ann, "one"))["seq"]
    await said_in(ann, "two")
    page = await ann.get(f"/log?at={seq}")

    assert (page["head"], page["commits"][0]["seq"]) == (seq, seq)
    assert (await ann.call("GET", f"/log/{seq + 1}?at={seq}"))[0] == 404

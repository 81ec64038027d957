"""What is gone from every past: of what was deleted, has expired or was said in a channel that is
removed, nothing is told at any position.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bus.clock import iso_ms
from gateway import history
from gateway.directory import Directory
from schemas.channel import ChannelRemoved, MemberAdded
from schemas.message import MessageDeleted, MessageEdited, MessagePosted, ReactionAdded
from tests.canopy import Canopy
from tests.examples import WHEN_MS
from tests.gateway.test_past import EVERYTHING, LATER_MS, said_in
from tests.gateway.two_gateways import (
    BEGINNING,
    KEYS,
    House,
    Line,
    Told,
    answers,
    house,
    somebody,
)

READS = [path for path in EVERYTHING if not path.startswith("/log")]
"""All that has a past, but for the log itself, which shows the owner what it holds (ADR 0017)."""
SQL = " UNION ALL ".join(
    f"SELECT t::VARCHAR FROM {view} t"
    for view in ("messages", "message_versions", "reactions", "threads")
)
MESSAGES = ("general.M1", "general.M2", "C1.M3", "C1.M4")
SHORT_LIVED = "general.M2"
JOINED: Line = ("channel", "C1", "bob", (MemberAdded(account_id="ann", role="member"),))
REMOVED: Line = ("channel", "C1", "bob", (ChannelRemoved(),))
UNTIL = iso_ms(WHEN_MS + 3_600_000)


def posted(key: str) -> Line:
    """A message with words and mentions of its own."""
    event = MessagePosted(
        content=f"Hi, {key} at first.",
        mentions=(f"friend_of_{key[-2:]}",),
        expires_at=UNTIL if key == SHORT_LIVED else None,
    )
    return ("message", key, "bob", (event,))


def edited(key: str) -> Line:
    return ("message", key, "bob", (MessageEdited(content=f"Hi, {key} anew."),))


def deleted(key: str) -> Line:
    return ("message", key, "bob", (MessageDeleted(),))


def lapsed(key: str) -> Line:
    return ("message", key, "system", (MessageDeleted(expired=True),))


def liked(key: str) -> Line:
    return ("message", key, "ann", (ReactionAdded(reaction="like"),))


endings = st.one_of(
    st.builds(deleted, st.sampled_from(MESSAGES)),
    st.builds(lapsed, st.sampled_from(MESSAGES)),
    st.just(REMOVED),
)
steps = st.one_of(
    st.builds(edited, st.sampled_from(MESSAGES)),
    st.builds(liked, st.sampled_from(MESSAGES)),
    endings,
)


def words(key: str) -> set[str]:
    """What is told of a message only while it is there."""
    return {f"{key} at first", f"{key} anew", f"friend_of_{key[-2:]}"}


def gone(lines: Sequence[Line]) -> set[str]:
    """The messages that have come to an end by the time of asking."""
    over = {line[1] for line in lines for event in line[3] if isinstance(event, MessageDeleted)} | {
        SHORT_LIVED
    }
    return over | ({key for key in MESSAGES if key.startswith("C1")} if REMOVED in lines else set())


async def found(lines: Sequence[Line]) -> list[tuple[int, str, str]]:
    """(position, path, word) wherever a past tells a word of what is gone."""
    beginning = [*BEGINNING, JOINED, *(posted(key) for key in MESSAGES)]
    forbidden = {word for key in gone(lines) for word in words(key)}
    log, told = Told(), []
    with TemporaryDirectory() as folder:
        async with house(Path(folder), log, [LATER_MS], somebody()) as one:
            seq = [await log.tell(line) for line in (*beginning, *lines)][-1]
            await one.reads.reached(seq)
            for at in range(len(BEGINNING) + 2, seq + 1):
                past = await answers(one, READS, at) | {"/sql": await in_sql(one, at)}
                told += [
                    (at, path, word)
                    for path, answer in past.items()
                    for word in forbidden
                    if word in str(answer)
                ]
    return told


async def in_sql(one: House, at: int) -> list[list[str]]:
    """All that the views of what was said tell of the position *at*."""
    headers, question = {"X-API-Key": KEYS["whole"]}, {"query": SQL, "at": at}
    async with one.client.post("/api/v1/sql", json=question, headers=headers) as response:
        answer = await response.json()
        assert response.status == 200, answer
        rows: list[list[str]] = answer["rows"]
        return rows


@settings(max_examples=2, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(drawn=st.lists(steps, max_size=3), ending=endings)
def test_nothing_that_is_gone_is_in_any_past(drawn: list[Line], ending: Line) -> None:
    """At every position of a history, on every route and in SQL."""
    assert asyncio.run(found([*drawn, ending])) == []


async def test_without_the_defences_it_would_be_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """The mutations: messages as the tables have them; no channel that is known to be removed."""
    lines = [edited("general.M1"), deleted("general.M1"), REMOVED]
    monkeypatch.setattr(history, "_withheld", lambda _, row: row | {"withheld": None})
    by_rest = {path for _, path, _ in await found(lines)}
    monkeypatch.undo()
    monkeypatch.setattr(Directory, "removed", lambda *_: None)
    by_sql = {path for _, path, _ in await found(lines)}

    assert "/channels/general/messages?limit=2" in by_rest
    assert "/sql" not in by_rest
    assert "/sql" in by_sql


async def test_who_was_mentioned_is_gone_with_what_was_said(canopy: Canopy) -> None:
    ann, bob = await canopy.owner(), await canopy.register("bob")
    doomed = await said_in(ann, "Hi, @bob.")
    path = f"/channels/general/messages/{doomed['id']}"
    before = (await ann.get(f"{path}?at={doomed['seq']}"))["message"]
    await ann.ok("DELETE", path)
    after = (await ann.get(f"{path}?at={doomed['seq']}"))["message"]

    assert (before["mentions"], before["withheld"]) == ([bob.id], None)
    assert (after["mentions"], after["withheld"]) == ([], "deleted")


async def test_what_was_deleted_because_it_had_expired_has_expired(tmp_path: Path) -> None:
    """Whatever the clock of the node says by now."""
    log, me = Told(), somebody()
    until = iso_ms(WHEN_MS + 3_600_000)
    lines: tuple[Line, ...] = (
        *BEGINNING,
        ("message", "general.M1", "ann", (MessagePosted(content="x", expires_at=until),)),
        ("message", "general.M1", "system", (MessageDeleted(expired=True),)),
    )
    async with house(tmp_path, log, [WHEN_MS + 60_000], me) as one:
        for line in lines:
            await one.reads.reached(await log.tell(line))
        path = f"/channels/general/messages/M1?at={len(BEGINNING) + 1}"
        told = (await one.ask(path))[2]["message"]

    assert (told["content"], told["withheld"]) == ("", "expired")

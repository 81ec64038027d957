"""Messages in tables: the same as in the aggregate, whoever is heard first."""

from __future__ import annotations

from functools import reduce
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actors.message import queries
from actors.message.aggregate import MESSAGE
from schemas.message import (
    Attachment,
    MessageDeleted,
    MessageEdited,
    MessagePosted,
    ReactionAdded,
    ReactionRemoved,
    ThreadFollowed,
)
from tests.actors.tables import ALL, NOW, Tables, without
from tests.examples import Said, histories

HI = MessagePosted(content="Hi.")


def present(tables: Tables, channel_id: str = "C1") -> list[dict[str, Any]]:
    """The newest messages of a channel as they stand."""
    rows = tables.rows(queries.NEWEST, channel_id, ALL, NOW, 50)
    changes = tables.rows(queries.CHANGES, [row["id"] for row in rows])
    return queries.present(rows, changes)


def state(commits: tuple[Said, ...]) -> Any:
    """What the aggregate makes of *commits*."""
    told = [(event, commit.header) for commit in commits for event in commit.events]
    return reduce(lambda before, one: MESSAGE.evolve(before, *one), told, MESSAGE.initial)


def test_a_post_is_a_message_with_every_field() -> None:
    with Tables() as tables:
        tables.tell("message", "C1.M1", HI)
        (message,) = present(tables)

    assert without(message, "clock", "origin", "ended", "sealed") == {
        "seq": 1,
        "id": "M1",
        "channel_id": "C1",
        "user_id": "ann",
        "content": "Hi.",
        "type": "text",
        "thread_id": None,
        "parent_message_id": None,
        "attachments": [],
        "mentions": [],
        "security": {},
        "created_at": "2027-01-15T08:00:01.000Z",
        "expires_at": None,
        "edited_at": None,
        "hidden": [],
        "reactions": {},
        "version": 1,
    }


@pytest.mark.parametrize("content", ["", "a\u0000b", "'; DROP TABLE message; --", "🐝" * 1000])
def test_any_content_comes_back_as_it_was(content: str) -> None:
    with Tables() as tables:
        tables.tell("message", "C1.M1", MessagePosted(content=content))
        (message,) = present(tables)

    assert message["content"] == content


def test_an_edit_replaces_and_the_history_keeps() -> None:
    file = Attachment(id="F1")
    with Tables() as tables:
        tables.tell("message", "C1.M1", MessagePosted(content="Helo", attachments=(file,)))
        tables.tell("message", "C1.M1", MessageEdited(content="Hello", mentions=("bob",)), at=60)
        (message,) = present(tables)
        (row,) = tables.rows(queries.ONE, "M1", NOW)
        versions = queries.history(row, tables.rows(queries.CHANGES_OF_ONE, "M1"))

    assert (message["content"], message["attachments"]) == ("Hello", [])
    assert (message["mentions"], message["version"]) == (["bob"], 2)
    assert message["edited_at"] == "2027-01-15T08:01:00.000Z"
    assert [version["content"] for version in versions] == ["Helo", "Hello"]
    assert versions[0]["attachments"] == [{"id": "F1"}]


def test_reactions_of_one_account_stand_side_by_side() -> None:
    with Tables() as tables:
        tables.tell("message", "C1.M1", HI)
        tables.tell("message", "C1.M1", ReactionAdded(reaction="like"), by="bob")
        tables.tell("message", "C1.M1", ReactionAdded(reaction="love"), by="bob")
        tables.tell("message", "C1.M1", ReactionAdded(reaction="like"), by="cyd")
        tables.tell("message", "C1.M1", ReactionRemoved(reaction="like"), by="bob")
        (message,) = present(tables)

    assert message["reactions"] == {"like": ["cyd"], "love": ["bob"]}


def test_deleted_and_expired_messages_are_not_shown() -> None:
    with Tables() as tables:
        tables.tell("message", "C1.M1", HI)
        tables.tell("message", "C1.M1", MessageDeleted())
        tables.tell("message", "C1.M2", MessagePosted(content="x", expires_at=NOW))

        assert present(tables) == []


def test_the_last_word_on_following_counts() -> None:
    with Tables() as tables:
        tables.tell("message", "C1.M1", HI)
        tables.tell("message", "C1.M1", ThreadFollowed(followed=True), by="bob")
        tables.tell("message", "C1.M1", ThreadFollowed(followed=False), by="bob")
        changes = tables.rows(queries.CHANGES_OF_ONE, "M1")

    assert queries.followed(changes, "bob") is False
    assert queries.followed(changes, "ann") is None


def test_search_finds_what_is_said_now() -> None:
    with Tables() as tables:
        tables.tell("message", "C1.M1", MessagePosted(content="100% honey"))
        tables.tell("message", "C1.M2", MessagePosted(content="100 bees"))
        tables.tell("message", "C1.M3", MessagePosted(content="nothing"))
        tables.tell("message", "C1.M3", MessageEdited(content="HONEY 100%"))
        tables.tell("message", "C1.M1", MessageEdited(content="gone"))
        wanted = queries.pattern("100%")
        rows = tables.rows(queries.SEARCH, "C1", ALL, NOW, 50, wanted)

    assert [row["id"] for row in rows] == ["M3"]


def test_a_thread_is_its_root_and_its_replies() -> None:
    reply = MessagePosted(content="x", thread_id="M1", parent_message_id="M1")
    with Tables() as tables:
        tables.tell("message", "C1.M1", HI)
        tables.tell("message", "C1.M2", HI)
        tables.tell("message", "C1.M3", reply)
        rows = tables.rows(queries.THREAD, "C1", ALL, NOW, 50, "M1")

    assert [row["id"] for row in rows] == ["M3", "M1"]


@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_tables_and_aggregate_agree_in_any_interleaving(data: st.DataObject) -> None:
    history = data.draw(histories("message", ("C1.M1",)))

    with Tables(history.here) as tables, Tables(history.there) as others:
        ours = [without(one, "seq", "version") for one in present(tables)]
        theirs = [without(one, "seq", "version") for one in present(others)]
    expected = state(history.here)

    assert ours == theirs
    assert bool(ours) == expected.present
    for message in ours:
        assert message["user_id"] == expected.author.value
        # What is erased has no key any more: the tables hold of it what nobody can open.
        assert expected.erased or message["content"] == expected.body[0]
        given_now = {
            f"{account} {reaction}"
            for reaction, accounts in message["reactions"].items()
            for account in accounts
        }
        assert given_now == {name for name, on in expected.reactions.items() if on.value}

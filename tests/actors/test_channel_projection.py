"""Channels in tables: the same as in the aggregate, whoever is heard first."""

from __future__ import annotations

from functools import reduce
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from actors.channel import queries
from actors.channel.aggregate import CHANNEL
from schemas.channel import (
    ChannelDescribed,
    ChannelMuted,
    ChannelOpened,
    ChannelRemoved,
    LifecycleChanged,
    MemberAdded,
    MemberRemoved,
    RoleChanged,
)
from schemas.message import MessageDeleted, MessagePosted
from tests.actors.tables import NOW, Tables, without
from tests.examples import Said, histories

DEN = ChannelOpened(name="den", type="private", privacy_mode="private")
ANN = MemberAdded(account_id="ann", role="admin")


def channel(tables: Tables) -> dict[str, Any]:
    """The only channel."""
    (row,) = tables.rows(queries.CHANNELS, None)
    return row


def members(tables: Tables) -> dict[str, str]:
    """The roles of those who are there, in the order in which they came."""
    return {row["account_id"]: row["role"] for row in tables.rows(queries.MEMBERS, None)}


def state(commits: tuple[Said, ...]) -> Any:
    """What the aggregate makes of *commits*."""
    told = [(event, commit.header) for commit in commits for event in commit.events]
    return reduce(lambda before, one: CHANNEL.evolve(before, *one), told, CHANNEL.initial)


def test_whoever_opens_a_channel_is_in_it() -> None:
    with Tables() as tables:
        tables.tell("channel", "C1", DEN, ANN)
        row, there = channel(tables), members(tables)

    assert (row["name"], row["type"], row["created_by"]) == ("den", "private", "ann")
    assert (row["topic"], row["ttl_days"], row["archived_ms"]) == ("", None, None)
    assert there == {"ann": "admin"}


def test_a_change_says_nothing_of_other_fields() -> None:
    with Tables() as tables:
        tables.tell("channel", "C1", DEN, ANN)
        tables.tell("channel", "C1", ChannelDescribed(topic="Bees"))
        tables.tell("channel", "C1", ChannelDescribed(name="hive"))
        tables.tell("channel", "C1", LifecycleChanged(ttl_days=30))
        row = channel(tables)

    assert (row["name"], row["topic"], row["ttl_days"], row["seq"]) == ("hive", "Bees", 30, 4)


def test_members_come_go_and_rise() -> None:
    with Tables() as tables:
        tables.tell("channel", "C1", DEN, ANN)
        tables.tell("channel", "C1", MemberAdded(account_id="bob", role="member"))
        tables.tell("channel", "C1", MemberAdded(account_id="cyd", role="member"))
        tables.tell("channel", "C1", RoleChanged(account_id="cyd", role="admin"))
        tables.tell("channel", "C1", MemberRemoved(account_id="bob"))
        there = members(tables)

    assert there == {"ann": "admin", "cyd": "admin"}


def test_an_archive_has_the_time_of_its_last_word() -> None:
    with Tables() as tables:
        tables.tell("channel", "C1", DEN)
        tables.tell("channel", "C1", LifecycleChanged(archived=True), at=10)
        tables.tell("channel", "C1", LifecycleChanged(ttl_days=3), at=20)
        archived = channel(tables)["archived_ms"]
        tables.tell("channel", "C1", LifecycleChanged(archived=False), at=30)
        restored = channel(tables)["archived_ms"]

    assert (archived, restored) == (1_800_000_010_000, None)


def test_a_removed_channel_stays_known() -> None:
    with Tables() as tables:
        tables.tell("channel", "C1", DEN)
        tables.tell("channel", "C1", ChannelRemoved())

        assert channel(tables)["removed"]


def test_mutes_are_everybodys_own() -> None:
    with Tables() as tables:
        tables.tell("channel", "C1", ChannelMuted(muted=True), by="ann")
        tables.tell("channel", "C1", ChannelMuted(muted=True), by="bob")
        tables.tell("channel", "C1", ChannelMuted(muted=False), by="ann")
        rows = tables.rows(queries.MUTES, ["C1"])

    assert rows == [{"channel_id": "C1", "account_id": "bob"}]


def test_unread_is_what_others_said_since_and_is_still_there() -> None:
    gone, fleeting = "2027-01-16T00:00:00.000Z", MessagePosted(content="x")
    with Tables() as tables:
        read = tables.tell("message", "C1.M1", fleeting, by="bob")
        tables.tell("message", "C1.M3", fleeting, by="bob")
        tables.tell("message", "C1.M4", fleeting, by="bob")
        tables.tell("message", "C1.M4", MessageDeleted(), by="bob")
        tables.tell("message", "C1.M5", fleeting, by="ann")
        tables.tell("message", "C1.M6", MessagePosted(content="x", expires_at=gone), by="bob")
        tables.tell("message", "C2.M7", fleeting, by="bob")
        marks = ["C1", "C2", "C3"], [read, 9, 0]
        rows = tables.rows(queries.UNREAD, *marks, 0, "ann", NOW)

    assert rows == [{"channel_id": "C1", "unread_count": 1}]


def test_the_last_message_is_the_last_that_has_not_expired() -> None:
    with Tables() as tables:
        tables.tell("message", "C1.M1", MessagePosted(content="x"), at=10)
        tables.tell("message", "C1.M2", MessagePosted(content="x", expires_at=NOW), at=20)
        rows = tables.rows(queries.LAST, NOW)

    assert rows == [{"channel_id": "C1", "id": "M1", "last_message_ms": 1_800_000_010_000}]


@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_tables_and_aggregate_agree_in_any_interleaving(data: st.DataObject) -> None:
    history = data.draw(histories("channel", ("C1",)))

    with Tables(history.here) as here, Tables(history.there) as there:
        ours, theirs = (tables.rows(queries.CHANNELS, None) for tables in (here, there))
        roles, others = members(here), members(there)
    expected = state(history.here)

    assert [without(row, "seq", "since") for row in ours] == [
        without(row, "seq", "since") for row in theirs
    ]
    assert (
        roles
        == others
        == {account: role.value for account, role in expected.members.items() if role.value}
    )
    assert bool(ours) == expected.opened
    assert all(row["removed"] == expected.removed for row in ours)
    assert all((row["archived_ms"] is not None) == expected.archived.value for row in ours)

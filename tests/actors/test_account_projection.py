"""Accounts in tables: the same as in the aggregate, whoever is heard first."""

from __future__ import annotations

from functools import reduce
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from actors.account import queries
from actors.account.aggregate import ACCOUNT
from schemas.account import (
    AccountRegistered,
    KeyCreated,
    KeyRevoked,
    PasswordChanged,
    ProfileChanged,
    SessionClosed,
    SessionOpened,
    StatusChanged,
)
from tests.actors.tables import NOW, Tables, without
from tests.examples import Said, histories

ANN = AccountRegistered(
    username="ann",
    display_name="Ann",
    account_type="human",
    status="active",
    password_sealed="sealed",
    public_key="public",
)


def account(tables: Tables) -> dict[str, Any]:
    """The only account."""
    (row,) = tables.rows(queries.ACCOUNTS, None)
    return row


def state(commits: tuple[Said, ...]) -> Any:
    """What the aggregate makes of *commits*."""
    told = [(event, commit.header) for commit in commits for event in commit.events]
    return reduce(lambda before, one: ACCOUNT.evolve(before, *one), told, ACCOUNT.initial)


def test_a_registration_is_an_account() -> None:
    with Tables() as tables:
        tables.tell("account", "ann", ANN)
        row = account(tables)

    assert without(row, "origin", "created_ms", "updated_ms") == {
        "id": "ann",
        "username": "ann",
        "display_name": "Ann",
        "account_type": "human",
        "status": "active",
        "password_sealed": "sealed",
        "public_key": "public",
        "bio": "",
        "avatar_file_id": "",
        "agent_directives": "",
        "since": 1,
        "seq": 1,
    }


def test_a_change_says_nothing_of_other_fields() -> None:
    with Tables() as tables:
        tables.tell("account", "ann", ANN)
        tables.tell("account", "ann", ProfileChanged(bio="Gardener."))
        tables.tell("account", "ann", ProfileChanged(display_name="Anna"))
        tables.tell("account", "ann", PasswordChanged(password_sealed="another"))
        row = account(tables)

    assert (row["display_name"], row["bio"]) == ("Anna", "Gardener.")
    assert (row["password_sealed"], row["seq"], row["since"]) == ("another", 4, 1)


def test_the_later_word_counts_even_when_it_is_heard_first() -> None:
    with Tables() as tables:
        tables.tell("account", "ann", ANN, at=1)
        tables.tell("account", "ann", StatusChanged(status="suspended"), origin="n2", at=9)
        tables.tell("account", "ann", StatusChanged(status="active"), at=5)
        row = account(tables)

    assert row["status"] == "suspended"


def test_a_revoked_key_stays_and_says_so() -> None:
    key = KeyCreated(key_id="K1", secret_hash="00", scopes=("read_feed",), expires_at=NOW)
    with Tables() as tables:
        tables.tell("account", "ann", ANN, key)
        tables.tell("account", "ann", KeyRevoked(key_id="K1"))
        (row,) = tables.rows(queries.KEYS, ["ann"])

    assert row["revoked"]
    assert (row["scopes"], row["label"]) == (["read_feed"], "")
    assert row["expires_ms"] == 1_800_403_200_000


def test_a_date_that_nobody_can_read_stops_nothing() -> None:
    key = KeyCreated(key_id="K1", secret_hash="00", scopes=(), expires_at="tomorrow")
    with Tables() as tables:
        tables.tell("account", "ann", ANN, key)
        (row,) = tables.rows(queries.KEYS, None)

    assert row["expires_ms"] is None


def test_sessions_end_by_word_and_by_time() -> None:
    later, earlier = "2027-02-01T00:00:00.000Z", "2027-01-16T00:00:00.000Z"
    with Tables() as tables:
        tables.tell("account", "ann", ANN, SessionOpened(session_id="S1", expires_at=later))
        tables.tell("account", "ann", SessionOpened(session_id="S2", expires_at=later))
        tables.tell("account", "ann", SessionOpened(session_id="S3", expires_at=earlier))
        tables.tell("account", "ann", SessionClosed(session_id="S1"))
        rows = tables.rows(queries.SESSIONS, ["ann"], NOW)

    assert [row["id"] for row in rows] == ["S2"]


@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_tables_and_aggregate_agree_in_any_interleaving(data: st.DataObject) -> None:
    history = data.draw(histories("account", ("ann",)))

    with Tables(history.here) as here, Tables(history.there) as there:
        ours, theirs = (tables.rows(queries.ACCOUNTS, None) for tables in (here, there))
        keys = {row["id"]: not row["revoked"] for row in here.rows(queries.KEYS, None)}
    expected = state(history.here)

    assert [without(row, "seq", "since") for row in ours] == [
        without(row, "seq", "since") for row in theirs
    ]
    assert bool(ours) == expected.registered
    assert all(row["status"] == expected.status.value for row in ours)
    assert keys.items() <= expected.keys.items()

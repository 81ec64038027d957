"""The workspace in tables: the first claim wins, and the first use of a code."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from actors.workspace import queries
from schemas.workspace import CodeIssued, CodeRedeemed, WorkspaceClaimed
from tests.actors.tables import NOW, Tables
from tests.examples import histories


def test_nobody_owns_a_new_workspace() -> None:
    with Tables() as tables:
        assert tables.rows(queries.OWNER) == [{"account_id": None}]


def test_the_first_claim_wins_even_when_it_is_heard_last() -> None:
    with Tables() as tables:
        tables.tell("workspace", "main", WorkspaceClaimed(account_id="bob"), at=9)
        tables.tell("workspace", "main", WorkspaceClaimed(account_id="ann"), at=5, origin="n2")

        assert tables.rows(queries.OWNER) == [{"account_id": "ann"}]


def test_a_code_knows_who_came_in_with_it() -> None:
    code = CodeIssued(code_id="R1", secret_hash="00", expires_at=NOW, label="for bob")
    with Tables() as tables:
        tables.tell("workspace", "main", code)
        (fresh,) = tables.rows(queries.CODES)
        tables.tell("workspace", "main", CodeRedeemed(code_id="R1", account_id="bob"))
        (used,) = tables.rows(queries.CODES)

    assert (fresh["label"], fresh["author"], fresh["redeemed_by"]) == ("for bob", "ann", None)
    assert fresh["expires_ms"] == 1_800_403_200_000
    assert used["redeemed_by"] == "bob"


@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_any_interleaving_gives_the_same_owner(data: st.DataObject) -> None:
    history = data.draw(histories("workspace", ("main",)))

    with Tables(history.here) as here, Tables(history.there) as there:
        assert here.rows(queries.OWNER) == there.rows(queries.OWNER)

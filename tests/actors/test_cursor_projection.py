"""Read cursors in tables: the farthest position counts, whoever is heard first."""

from __future__ import annotations

from actors.cursor import queries
from schemas.cursor import CursorAdvanced
from tests.actors.tables import Tables


def position(tables: Tables, channel_id: str, account_id: str) -> int:
    """How far an account has read a channel."""
    rows = tables.rows(queries.POSITIONS, account_id, [channel_id])
    return sum(row["read_seq"] for row in rows)


def test_a_cursor_never_goes_back() -> None:
    with Tables() as tables:
        tables.tell("cursor", "C1.ann", CursorAdvanced(seq=7))
        tables.tell("cursor", "C1.ann", CursorAdvanced(seq=3), origin="n2")

        assert position(tables, "C1", "ann") == 7


def test_who_has_read_nothing_is_at_the_beginning() -> None:
    with Tables() as tables:
        tables.tell("cursor", "C1.ann", CursorAdvanced(seq=7))

        assert position(tables, "C1", "bob") == 0
        assert position(tables, "C2", "ann") == 0

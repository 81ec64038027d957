"""A read cursor only moves forward."""

from __future__ import annotations

from actors.cursor.aggregate import CURSOR
from schemas.cursor import AdvanceCursor, CursorAdvanced
from tests.given import given


def test_reading_on_moves_the_cursor() -> None:
    read = CursorAdvanced(seq=3)

    assert given(CURSOR, read).when(AdvanceCursor(seq=7)) == (CursorAdvanced(seq=7),)


def test_a_cursor_never_goes_back() -> None:
    read = given(CURSOR, CursorAdvanced(seq=7))

    assert read.when(AdvanceCursor(seq=3)) == ()
    assert read.when(AdvanceCursor(seq=7)) == ()


def test_the_farthest_position_wins_whenever_it_is_heard() -> None:
    assert given(CURSOR, CursorAdvanced(seq=7), CursorAdvanced(seq=3)).state.seq == 7

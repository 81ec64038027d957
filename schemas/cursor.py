"""Read cursors: how far an account has read a channel (`<channel>.<account>`)."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from schemas.envelope import Command, Event

Seq = Annotated[int, Field(ge=0, lt=2**63)]


class AdvanceCursor(Command):
    """Everything up to the log position *seq* has been read. A cursor never goes back."""

    kind: Literal["advance_cursor"] = "advance_cursor"
    seq: Seq


CursorCommand = AdvanceCursor


class CursorAdvanced(Event):
    kind: Literal["cursor_advanced"] = "cursor_advanced"
    seq: Seq


CursorEvent = CursorAdvanced

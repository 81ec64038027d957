"""A read cursor: how far one account has read one channel. It only moves forward."""

from __future__ import annotations

from dataclasses import dataclass

from actors.aggregate import Aggregate
from schemas.cursor import AdvanceCursor, CursorAdvanced
from schemas.envelope import Header, Id
from schemas.vocabulary import NOUNS


@dataclass(frozen=True)
class Cursor:
    """Everything up to the log position `seq` has been read."""

    seq: int = 0


def decide(command: AdvanceCursor, cursor: Cursor, author: Id) -> tuple[CursorAdvanced, ...]:
    """The step forward that *command* asks for, if it is one."""
    return (CursorAdvanced(seq=command.seq),) if command.seq > cursor.seq else ()


def evolve(cursor: Cursor, event: CursorAdvanced, header: Header) -> Cursor:
    """The cursor after *event*: the farthest position that was ever reported."""
    return Cursor(max(cursor.seq, event.seq))


CURSOR = Aggregate("cursor", Cursor(), decide, evolve, NOUNS["cursor"].commands)

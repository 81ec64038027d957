"""Pages that stand still while others write: a cursor names a position and a direction.

A cursor is opaque and signed; it also names what is being paged, so that it cannot be carried to
another list. Positions are those of the log, so no insert ever moves what a cursor points at.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from itsdangerous import BadSignature, URLSafeSerializer

from bus.crypto.identity import Identity
from gateway.errors import refuse

Row = dict[str, Any]
Direction = Literal["older", "newer"]
END = 2**63 - 1
"""A position later than any."""
SPARE = 8
"""Rows fetched beyond a page, in case some of it was deleted."""
FETCHES_MAX = 12
"""For one page: each is twice the one before, so a page is short only behind a vast gap."""

Fetch = Callable[[int, int], list[Row]]
"""(start, count) → rows beyond the position *start*, in the direction of the page."""
Present = Callable[[list[Row]], list[Row]]
"""Rows as they stand now, without those that are no more."""


@dataclass(frozen=True, slots=True)
class Start:
    """Where a page begins (exclusively), and which way it goes."""

    direction: Direction
    seq: int


NEWEST = Start("older", END)


class Cursors:
    """Writes and reads cursors."""

    def __init__(self, identity: Identity) -> None:
        self._serializer = URLSafeSerializer(identity.derive("cursor"), salt="page")

    def write(self, what: str, start: Start) -> str:
        """A cursor for the page of *what* that begins at *start*."""
        return str(self._serializer.dumps([what, start.direction, start.seq]))

    def read(self, what: str, cursor: str) -> Start:
        """Where the page begins. Raises `Refused` for a cursor that is not one of *what*."""
        try:
            named, direction, seq = self._serializer.loads(cursor)
        except (BadSignature, ValueError) as error:
            raise refuse("invalid_cursor") from error
        if named != what:
            raise refuse("invalid_cursor", "This cursor belongs to another list.")
        return Start(direction, seq)


@dataclass(frozen=True, slots=True)
class Page:
    """Items from the oldest to the newest. `end` is the last position looked at on the way;
    `more` tells whether anything lies beyond it.
    """

    items: Sequence[Row]
    start: Start
    end: int
    more: bool

    @property
    def older(self) -> Start | None:
        """Where the page before this one begins; None when nothing is older."""
        if self.start.direction == "older":
            return Start("older", self.end) if self.more else None
        return Start("older", self.items[0]["seq"] if self.items else self.start.seq + 1)

    @property
    def newer(self) -> Start:
        """Where the page after this one begins; there may be nothing yet."""
        if self.start.direction == "newer":
            return Start("newer", self.end)
        return Start("newer", self.items[-1]["seq"] if self.items else 0)


def fill(
    fetch: Fetch, present: Present, start: Start, limit: int, fetches_max: int = FETCHES_MAX
) -> Page:
    """A page of at most *limit* items that are still there. Reads: call it in a worker thread.

    After *fetches_max* fetches it is as short as it is, and its cursor goes on from there.
    """
    items: list[Row] = []
    count, end, more = limit + SPARE, start.seq, True
    for _ in range(fetches_max):
        rows = fetch(end, count)
        items += present(rows)
        more = len(rows) == count
        if rows:
            end = rows[-1]["seq"]
        if not more or len(items) > limit:
            break
        count *= 2
    if len(items) > limit:
        items, more = items[:limit], True
        end = items[-1]["seq"]
    if start.direction == "older":
        items.reverse()
    return Page(items, start, end, more)

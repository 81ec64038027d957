"""The log: the one place where what has happened is kept, and the only way to add to it.

`append` stores one commit if its aggregate still stands where the caller saw it (`expected`, the
position of its last commit, 0 for none): optimistic concurrency and idempotence in one guard.
Positions (`seq`) start at 1 and have no holes; a hole that the broker makes is raised, never
passed over. `bus.jetstream` keeps it on a broker, `bus.memory` in a list.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Protocol

from msgspec import Struct

from bus.wire import TooLarge
from schemas.envelope import Commit, Event, Header

POSITION_MAX = 2**63 - 1
REMEDY = "stop the node and put a backup in its place with `canopy restore`"
"""For a log that has lost something."""


LEADERLESS = (10008, 10009, 10118)
"""Codes of JetStream for a cluster that has, at this moment, nobody who could decide."""


class Leaderless(Exception):
    """The cluster has no leader for the log at this moment: nothing is read or written that only a
    leader knows. A majority of its servers heals it."""


class Conflict(Exception):
    """The aggregate has moved on since the caller read it: read it again, then decide again."""


class Unstored(Exception):
    """The log did not store the commit and says why; nothing was written."""


class Damaged(Unstored):
    """The log has lost or changed something, so nothing is added until it is whole again."""


class Unacknowledged(Exception):
    """No answer: the commit may be in the log or not. Read the aggregate to find out."""


class Missing(Exception):
    """A position of the log cannot be read although later ones, or its end, lie behind it: the
    broker has lost a commit. `seq` is the first that is missing."""

    def __init__(self, seq: int) -> None:
        super().__init__(f"position {seq} is missing from the log: {REMEDY}")
        self.seq = seq


class Stored(Struct, frozen=True):
    """One commit as it lies in the log."""

    seq: int
    noun: str
    key: str
    payload: bytes


class Log(Protocol):
    """What readers and writers of the log rely on; one contract suite holds all kinds to it."""

    epoch: str
    """The identity of this log (16 hex digits): positions of another epoch mean nothing here."""

    async def append(self, header: Header, events: Sequence[Event], expected: int) -> int:
        """The position of the new commit.

        Raises `Conflict`, `Unstored`, `bus.wire.TooLarge` for more than `payload_bytes_max`, or
        `Unacknowledged` when the outcome is unknown.
        """

    async def attest(self, seq: int) -> None:
        """Returns once it is known outside of the log that *seq* is in it, as `append` has it
        before it returns: whoever died between storing and marking left that to be done.

        Raises `Unacknowledged` when it cannot be written down.
        """

    async def read(self, noun: str, key: str, after: int = 0) -> list[Commit]:
        """The commits of one aggregate later than *after*, oldest first: all that were acknowledged
        before. Raises `Leaderless`."""

    async def head(self) -> int:
        """The position of the last commit, 0 for an empty log. Raises `Leaderless`."""

    async def page(self, after: int, limit: int) -> list[Stored]:
        """At most *limit* commits that follow *after*; none at the head."""

    def tail(self, after: int, until: int | None = None) -> AsyncIterator[list[Stored]]:
        """Pages of commits later than *after*, for ever, or up to *until* included.
        Positions follow each other. Raises `Missing` where one is not there."""


def guard(expected: int) -> int:
    """The guard of an append: what the broker is told in decimal digits and nothing else.

    The broker takes a blank guard for none, and one that is too large modulo 2^64
    (`tests/bus/test_log.py` proves both). Raises ValueError for what is no position.
    """
    if not 0 <= expected <= POSITION_MAX:
        raise ValueError(f"{expected!r} is no position of the log")
    return int(expected)


def fits(payload: bytes, payload_bytes_max: int) -> None:
    """Raises `TooLarge` for a commit that no log takes."""
    if len(payload) > payload_bytes_max:
        raise TooLarge(f"the commit has {len(payload)} of {payload_bytes_max} bytes")

"""Time, ids and chance: injected into what decides, never imported by it.

The hybrid logical clock follows Kulkarni et al., "Logical Physical Clocks" (2014): physical
milliseconds first, a counter for what happens within one.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from hashlib import blake2b

from uuid_utils import uuid7

COUNTER_BITS = 16
COUNTER_MAX = (1 << COUNTER_BITS) - 1


@dataclass(frozen=True, slots=True)
class Sources:
    """Where wall time and chance come from: this machine, or a simulator."""

    wall_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000
    token: Callable[[], str] = lambda: uuid7().hex


class _Drawn:
    sources = Sources()


@contextmanager
def drawn_from(sources: Sources) -> Iterator[None]:
    """Time and ids come from *sources* until the block ends."""
    before, _Drawn.sources = _Drawn.sources, sources
    try:
        yield
    finally:
        _Drawn.sources = before


def wall_ms() -> int:
    """Milliseconds since 1970 by the wall clock of this machine."""
    return _Drawn.sources.wall_ms()


def new_id(prefix: str = "") -> str:
    """A fresh token: *prefix* and 32 hex digits, ordered by time (UUIDv7, RFC 9562)."""
    return prefix + _Drawn.sources.token()


def derived_id(prefix: str, *parts: str, digits: int = 16) -> str:
    """The token that *parts* always give: *prefix* and *digits* hex digits of their BLAKE2b."""
    return prefix + blake2b("\0".join(parts).encode()).hexdigest()[:digits]


class Clock:
    """A hybrid logical clock: readings never go back, whatever the wall clock does."""

    def __init__(
        self, wall: Callable[[], int] = wall_ms, believed_ms: Callable[[], int] | None = None
    ) -> None:
        self._wall = wall
        self.believed_ms = believed_ms or wall
        """The wall time as far as it is believed: by this, things are destroyed (`bus.steady`)."""
        self._ms = 0
        self._counter = 0

    def tick(self) -> str:
        """A reading later than every earlier one, here or observed (16 hex digits)."""
        now = self._wall()
        if now > self._ms:
            self._ms, self._counter = now, 0
        elif self._counter < COUNTER_MAX:
            self._counter += 1
        else:
            self._ms, self._counter = self._ms + 1, 0
        return f"{self._ms:012x}{self._counter:04x}"

    def observe(self, clock: str) -> None:
        """Let later readings be greater than *clock*, read elsewhere."""
        ms, counter = int(clock[:12], 16), int(clock[12:], 16)
        self._ms, self._counter = max((self._ms, self._counter), (ms, counter))

    @property
    def ms(self) -> int:
        """The wall time in the latest reading, here or observed; 0 when there was none."""
        return self._ms


def milliseconds(clock: str) -> int:
    """The wall time in *clock*: milliseconds since 1970."""
    return int(clock[:12], 16)


def iso(clock: str) -> str:
    """The wall time in *clock* as ISO 8601 in UTC with milliseconds; empty for an empty clock."""
    return iso_ms(milliseconds(clock)) if clock else ""


def iso_ms(ms: int) -> str:
    """Milliseconds since 1970 as `2026-11-21T05:29:37.123Z`."""
    seconds, rest = divmod(ms, 1000)
    return f"{_second(seconds)}.{rest:03d}Z"


@lru_cache(maxsize=64)
def _second(seconds: int) -> str:
    """Commits come many to the second: formatting it once is worth keeping."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")

"""The wall clocks of a simulated world: how wrong each is, and what may rightly come of it.

Nothing is destroyed before its time because a clock leaps (`bus.steady`), but one that is wrong
when its process begins is known by the last commit alone; and who was set back is late. How much
of that a world has to put up with is reckoned here, from what befell its clocks.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from itertools import count

from bus.clock import Sources, iso_ms, milliseconds
from bus.steady import Steady
from gateway.bench.simulation.loop import PROCESS, Process, SimulatedLoop
from schemas.settings import Settings

EPOCH_S = 1_800_000_000.0
"""Where wall clocks begin: 2027-01-15, seconds since 1970."""
READING = re.compile(rb'"clock":"([0-9a-f]{16})"')


class Clocks:
    """The wall clock of each process, and what it may lead to."""

    def __init__(self, loop: SimulatedLoop) -> None:
        self._loop = loop
        self._numbers = count(1)
        self._set_by_s: dict[str, float] = {}
        self._beginning: dict[str, tuple[float, bool]] = {}
        """Process that has not attached yet → the most that its clock has been ahead, and whether
        there was no commit to compare it with as it began."""
        self._behind_s: dict[str, float] = {}
        self._misled: list[tuple[float, float]] = []
        """From when on some actor may rightly believe that it is so much later than it is."""

    def now_s(self) -> float:
        """The true wall time."""
        return EPOCH_S + self._loop.time()

    def sources(self) -> Sources:
        """What `bus.clock` draws from: each process has a wall clock of its own."""

        def wall_ms() -> int:
            return int((self.now_s() + PROCESS.get().wall_skew_s) * 1000)

        def token() -> str:
            return f"{int(self.now_s() * 1000):012x}{next(self._numbers):020x}"

        return Sources(wall_ms, token)

    def steady(self, settings: Settings) -> Steady:
        """What a process that begins will believe of its wall clock."""
        return Steady(settings, elapsed=lambda: int(self._loop.time() * 1000))

    def starts(self, process: Process, *, blank: bool) -> None:
        """*process* begins with the clock that it had when it ended; the log may be *blank*."""
        by_s = process.wall_skew_s = self._set_by_s.get(process.name, 0.0)
        self._beginning[process.name] = (by_s, blank)
        self._behind_s[process.name] = -by_s

    def set(self, name: str, process: Process | None, by_s: float) -> None:
        """The wall clock of *name* is set, now and after each start; of *process* if it runs."""
        self._set_by_s[name] = by_s
        if process is not None:
            process.wall_skew_s = by_s
            self._behind_s[name] = max(self._behind_s[name], -by_s)
            if name in self._beginning:
                ahead_s, blank = self._beginning[name]
                self._beginning[name] = (max(ahead_s, by_s), blank)

    def attached(self, name: str, log: Iterable[bytes], settings: Settings) -> None:
        """*name* has compared its clock with the last commit of *log*, unless it had before."""
        if name not in self._beginning:
            return
        ahead_s, blank = self._beginning.pop(name)
        now_s, doubt_s = self.now_s(), settings.clock_ahead_max_s
        readings = [milliseconds(one.decode()) / 1000 for one in READING.findall(b"".join(log))]
        first_s, last_s = min(readings, default=now_s), max(readings, default=now_s)
        if now_s + ahead_s > first_s + doubt_s:  # It may be doubted: that depends on the last.
            self._behind_s[name] = max(self._behind_s[name], now_s - first_s)
        if now_s + ahead_s > last_s + doubt_s and not blank:  # It is, whichever is the last.
            ahead_s = last_s - now_s
        if not name.startswith("gateway") and ahead_s > 0:
            self._misled.append((self._loop.time(), ahead_s))

    def misled_s(self, at_s: float) -> float:
        """How much later than it was, at *at_s*, whoever decides may rightly have believed."""
        return max((ahead_s for since_s, ahead_s in self._misled if since_s <= at_s), default=0.0)

    def late(self) -> str:
        """The earliest time that any process may rightly believe that it is."""
        behind_s = max(0.0, *self._behind_s.values())
        return iso_ms(int((self.now_s() - behind_s) * 1000))

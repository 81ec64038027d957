"""The time by which things are destroyed: the wall clock, as far as there is reason to believe it.

A wall clock may be set a year ahead by one wrong answer over the network; what is destroyed by it
does not come back when it is set right. So two clocks are compared: one that nobody can set, since
this process began, and the wall. A wall that runs ahead of it is doubted, and until it has stood
where it stands for a while, time goes on from where it was. A process that begins has nothing to
compare but the last commit: a wall far ahead of that is doubted as well. Being late costs nothing.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import structlog

from bus.clock import wall_ms
from schemas.settings import Settings

SUSPENDING = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
"""A clock that nobody sets; where there is one, it goes on while the machine sleeps."""

journal = structlog.get_logger()


def elapsed_ms() -> int:
    """Milliseconds since some moment before this process; the difference of two is what counts."""
    return time.clock_gettime_ns(SUSPENDING) // 1_000_000


class Steady:
    """One process's belief in the wall clock."""

    def __init__(
        self,
        settings: Settings,
        wall: Callable[[], int] = wall_ms,
        elapsed: Callable[[], int] = elapsed_ms,
    ) -> None:
        self._settings = settings
        self._wall = wall
        self._elapsed = elapsed
        self._offset: int | None = None
        """From what has elapsed to the time that is believed."""
        self._doubted = 0
        """The same, of the wall that is doubted; and since when it stands there."""
        self._since: int | None = None

    def begin(self, commit_ms: int) -> None:
        """The last commit is of *commit_ms* (0 when there is none). Only the first call counts."""
        if self._offset is not None:
            return
        wall, elapsed = self._wall(), self._elapsed()
        ahead_max_ms = int(self._settings.clock_ahead_max_s * 1000)
        far = commit_ms and wall > commit_ms + ahead_max_ms
        self._offset = (commit_ms if far else wall) - elapsed
        if far:
            self._doubt(wall, elapsed)

    def now_ms(self) -> int:
        """Milliseconds since 1970 that have passed beyond doubt; never later than the wall."""
        if self._offset is None:
            self.begin(0)
        wall, elapsed = self._wall(), self._elapsed()
        believed = elapsed + (self._offset or 0)
        tolerance_ms = self._settings.clock_tolerance_s * 1000
        if wall <= believed + tolerance_ms:
            self._since = None
            if wall < believed - tolerance_ms:  # Set back: from there on a leap is a leap again.
                self._offset = wall - elapsed
            return min(wall, believed)
        if self._since is None or abs(wall - elapsed - self._doubted) > tolerance_ms:
            self._doubt(wall, elapsed)
        elif elapsed - self._since >= self._settings.clock_grace_s * 1000:
            journal.warning("clock_believed", after_s=self._settings.clock_grace_s)
            self._offset, self._since = wall - elapsed, None
            return wall
        return believed

    def _doubt(self, wall: int, elapsed: int) -> None:
        self._doubted, self._since = wall - elapsed, elapsed
        journal.critical(
            "clock_doubted",
            ahead_s=round((self._doubted - (self._offset or 0)) / 1000),
            believed_in_s=self._settings.clock_grace_s,
            remedy="set the clock of this machine right: until it is believed, nothing is "
            "destroyed because it has expired since",
        )

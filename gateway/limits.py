"""How much one caller may ask for: token buckets, told in the RateLimit fields (IETF draft -11).

A bucket holds `burst` tokens and regains `per_s` of them each second. Buckets live in memory, one
for each caller, and at most `callers_max` of them: full ones are forgotten first.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import ceil
from time import monotonic

from gateway.errors import refuse


@dataclass(frozen=True, slots=True)
class Allowance:
    """What a caller may use up: *burst* at once, *per_s* for ever."""

    name: str
    per_s: float
    burst: int

    @property
    def policy(self) -> str:
        """The value of RateLimit-Policy: quota, and the seconds in which it comes back."""
        return f'"{self.name}";q={self.burst};w={max(1, ceil(self.burst / self.per_s))}'


class Buckets:
    """The buckets of one allowance."""

    def __init__(
        self,
        allowance: Allowance,
        callers_max: int = 20_000,
        now: Callable[[], float] = monotonic,
    ) -> None:
        self.allowance = allowance
        self.policy = allowance.policy
        self._callers_max = callers_max
        self._now = now
        self._levels: dict[str, tuple[float, float]] = {}

    def take(self, caller: str) -> int:
        """How many tokens are left after taking one.

        Raises `Refused` (rate_limited) with Retry-After when there is none.
        """
        allowance, now = self.allowance, self._now()
        level, stamp = self._levels.get(caller, (allowance.burst, now))
        level = min(allowance.burst, level + (now - stamp) * allowance.per_s)
        if level < 1:
            wait_s = max(1, ceil((1 - level) / allowance.per_s))
            raise refuse(
                "rate_limited",
                f"At most {allowance.burst} at once and {allowance.per_s:g} a second: "
                f"try again in {wait_s} s.",
                headers={
                    "Retry-After": wait_s,
                    "RateLimit-Policy": self.policy,
                    "RateLimit": self.told(0),
                },
            )
        self._levels[caller] = (level - 1, now)
        if len(self._levels) > self._callers_max:
            self._forget(now)
        return int(level) - 1

    def told(self, left: int) -> str:
        """The value of RateLimit: what is left, and the seconds until all is back."""
        allowance = self.allowance
        return f'"{allowance.name}";r={left};t={ceil((allowance.burst - left) / allowance.per_s)}'

    def _forget(self, now: float) -> None:
        """Drop what has filled up again; if that is too little, the older half."""
        allowance = self.allowance
        kept = {
            caller: (level, stamp)
            for caller, (level, stamp) in self._levels.items()
            if level + (now - stamp) * allowance.per_s < allowance.burst
        }
        most = self._callers_max
        self._levels = kept if len(kept) <= most else dict(list(kept.items())[most // 2 :])

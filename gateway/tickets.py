"""Tickets: they open one live page each, for clients that can send neither headers nor cookies.

Kept by the process that issued them, for seconds; a page that is refused asks for another.
"""

from __future__ import annotations

from collections.abc import Callable
from secrets import token_urlsafe

from gateway.errors import refuse
from gateway.policy import Principal


class Tickets:
    """Unused tickets, at most *most*, each good for *ttl_s*."""

    def __init__(self, ttl_s: float, most: int, clock: Callable[[], float]) -> None:
        self._ttl_s = ttl_s
        self._most = most
        self._clock = clock
        self._held: dict[str, tuple[Principal, float]] = {}

    def issue(self, principal: Principal) -> str:
        """A ticket in the name of *principal*. Raises `Refused` when too many are unused."""
        now_s = self._clock()
        self._held = {t: held for t, held in self._held.items() if held[1] > now_s}
        if len(self._held) >= self._most:
            raise refuse("unavailable", "Too many unused tickets.")
        ticket = token_urlsafe(32)
        self._held[ticket] = (principal, now_s + self._ttl_s)
        return ticket

    def redeem(self, ticket: str) -> Principal:
        """Who was given *ticket*, once. Raises `Refused` when it is unknown, used or too old."""
        held = self._held.pop(ticket, None)
        if held is None or held[1] <= self._clock():
            raise refuse("credential_invalid", "The ticket is unknown, used or too old.")
        return held[0]

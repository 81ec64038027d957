"""Turns: one after the other for each name, side by side for different ones."""

from __future__ import annotations

import asyncio
from collections.abc import Hashable


class Turns:
    """Who is having a turn, and who waits for one: `async with turns.of(name):`."""

    def __init__(self) -> None:
        self._turns: dict[Hashable, _Turn] = {}

    def of(self, name: Hashable) -> _Turn:
        """The turn of *name*, to be entered at once."""
        turn = self._turns.get(name)
        if turn is None:
            turn = self._turns[name] = _Turn(self._turns, name)
        return turn


class _Turn:
    __slots__ = ("_lock", "_name", "_takers", "_turns")

    def __init__(self, turns: dict[Hashable, _Turn], name: Hashable) -> None:
        self._turns = turns
        self._name = name
        self._lock = asyncio.Lock()
        self._takers = 0

    async def __aenter__(self) -> None:
        self._takers += 1
        try:
            await self._lock.acquire()
        except BaseException:
            self._leave()
            raise

    async def __aexit__(self, *_: object) -> None:
        self._lock.release()
        self._leave()

    def _leave(self) -> None:
        self._takers -= 1
        if not self._takers:
            del self._turns[self._name]

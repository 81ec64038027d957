"""The log over a list: the same promises without a broker, for fast tests.

Held to the real one by the contract suite in `tests/bus/test_log.py`.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence

from bus import codec
from bus.log import Conflict, Stored, fits, guard
from schemas.envelope import Commit, Event, Header
from schemas.settings import MIB


class MemoryLog:
    """A `bus.log.Log` that ends with the process."""

    def __init__(self, epoch: str = "0" * 16, payload_bytes_max: int = 1 * MIB) -> None:
        self.epoch = epoch
        self._payload_bytes_max = payload_bytes_max
        self._stored: list[Stored] = []
        self._last: dict[tuple[str, str], int] = {}
        self._news = asyncio.Event()

    async def append(self, header: Header, events: Sequence[Event], expected: int) -> int:
        _, payload = codec.encode(header, events)
        fits(payload, self._payload_bytes_max)
        aggregate = (header.noun, header.key)
        if self._last.get(aggregate, 0) != guard(expected):
            raise Conflict(f"{header.noun} {header.key} is not at {expected}")
        seq = len(self._stored) + 1
        self._stored.append(Stored(seq, header.noun, header.key, payload))
        self._last[aggregate] = seq
        told, self._news = self._news, asyncio.Event()
        told.set()
        return seq

    async def attest(self, seq: int) -> None:
        """There is nothing outside of a log that ends with the process."""

    async def read(self, noun: str, key: str, after: int = 0) -> list[Commit]:
        return [
            codec.decode(one.payload, one.seq)
            for one in self._stored[after:]
            if (one.noun, one.key) == (noun, key)
        ]

    async def head(self) -> int:
        return len(self._stored)

    async def page(self, after: int, limit: int) -> list[Stored]:
        return self._stored[after : after + limit]

    async def tail(self, after: int, until: int | None = None) -> AsyncIterator[list[Stored]]:
        while until is None or after < until:
            news = self._news
            page = self._stored[after : None if until is None else until]
            if page:
                after = page[-1].seq
                yield page
            else:
                await news.wait()

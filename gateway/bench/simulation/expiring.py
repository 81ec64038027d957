"""What the tables of a gateway tell the one who looks for what has expired, without DuckDB.

It is held to the real tables in the worlds whose log is folded (`tables`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from bus import codec
from bus.log import Stored
from gateway.read_model import Behind
from schemas.envelope import Sealable
from schemas.message import MessageDeleted, MessagePosted


class Expiring:
    """The sealed messages that one gateway knows, and until when they are to be kept."""

    def __init__(self, wait_s: float) -> None:
        self.position = 0
        self._wait_s = wait_s
        self._until: dict[str, str] = {}
        self._sealed: set[str] = set()
        self._deleted: set[str] = set()
        self._news = asyncio.Event()

    def hear(self, page: Sequence[Stored]) -> None:
        """The commits of *page* are known."""
        for one in page:
            if one.noun == "message":
                self._fold(one)
            self.position = one.seq
        self._news.set()
        self._news = asyncio.Event()

    async def rows(self, _sql: str, args: Sequence[Any] = ()) -> list[dict[str, Any]]:
        """What `actors.message.queries.EXPIRED` gives."""
        now, at_once_max = args
        return self.expired(now)[:at_once_max]

    async def reached(self, seq: int) -> None:
        """Returns once *seq* is known. Raises `gateway.reads.Behind`."""
        try:
            async with asyncio.timeout(self._wait_s):
                while self.position < seq:
                    await self._news.wait()
        except TimeoutError as error:
            raise Behind(seq, self.position) from error

    def expired(self, now: str) -> list[dict[str, Any]]:
        """What has expired at the time *now* and is still there, the longest ago first."""
        there = self._sealed & self._until.keys() - self._deleted
        found = sorted((self._until[key], key) for key in there if self._until[key] <= now)
        keys = [key.partition(".") for _, key in found]
        return [{"channel_id": channel, "id": name} for channel, _, name in keys]

    def _fold(self, one: Stored) -> None:
        for event in codec.decode(one.payload, one.seq).events:
            if isinstance(event, MessagePosted) and event.expires_at is not None:
                self._until[one.key] = event.expires_at
            if isinstance(event, MessageDeleted):
                self._deleted.add(one.key)
            if isinstance(event, Sealable) and event.sealed is not None:
                self._sealed.add(one.key)

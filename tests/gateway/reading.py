"""A log that can be damaged, and tables that are folded from it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

from msgspec.structs import replace

from actors.projection_file import Statements
from actors.rooms import statements
from actors.supervisor import supervise
from bus.log import Missing, Stored
from bus.memory import MemoryLog
from bus.telemetry import Telemetry
from gateway.read_model import Behind
from gateway.reads import Reads
from schemas.message import MessagePosted
from schemas.settings import Settings
from tests.examples import Said, header, stored
from tests.logs import DEADLINE_S

SQL = statements()
HI = MessagePosted(content="Hi.")
COUNT = "SELECT count(*) FROM message"
ALL = 2**63 - 1
EPOCH = "0123456789abcdef"
COMMITS = 3000
LENGTH = 1000
LONG_COUNT = "SELECT count(*), sum(length(content)) FROM message"
QUICK = Settings(restart_backoff_s=0.01)


class Log(MemoryLog):
    """A log that can be damaged."""

    async def say(self, count: int = 1) -> int:
        """The position of the last of *count* new messages."""
        seq = await self.head()
        for _ in range(count):
            seq = await self.append(header(key=f"general.M{seq + 1}"), [HI], 0)
        return seq

    def damage(self, seq: int, payload: bytes) -> None:
        self._stored[seq - 1] = replace(self._stored[seq - 1], payload=payload)

    def forge(self, seq: int) -> None:
        """Change what a commit says, and not its digest."""
        self.damage(seq, self._stored[seq - 1].payload.replace(b"Hi.", b"Ho."))

    def misplace(self, seq: int) -> None:
        """Let a commit lie where another belongs."""
        self._stored[seq - 1] = replace(self._stored[seq - 1], key="general.M999")

    def shift(self, seq: int) -> None:
        """Move the end of the broker's headers by two bytes, which its checksum does not notice."""
        self.damage(seq, b"\r\n" + self._stored[seq - 1].payload)

    def lose(self, seq: int, count: int = 1) -> None:
        """Lose commits, as a broken disk does."""
        del self._stored[seq - 1 : seq - 1 + count]

    async def head(self) -> int:
        return self._stored[-1].seq if self._stored else 0

    async def page(self, after: int, limit: int) -> list[Stored]:
        return [one for one in self._stored if one.seq > after][:limit]

    async def tail(self, after: int, until: int | None = None) -> AsyncIterator[list[Stored]]:
        while until is None or after < until:
            news = self._news
            page = [one for one in self._stored if after < one.seq <= (until or ALL)]
            whole = [one for place, one in enumerate(page, after + 1) if one.seq == place]
            if whole:
                after = whole[-1].seq
                yield whole
            if len(whole) < len(page):
                raise Missing(after + 1)
            if page:
                continue
            await news.wait()


def reads_of(folder: Path, log: Log, sql: Statements = SQL, **knobs: Any) -> Reads:
    """Reads that have not been opened."""
    knobs.setdefault("data_directory", folder)
    settings = Settings(read_wait_s=knobs.pop("read_wait_s", DEADLINE_S), **knobs)
    return Reads(folder, sql, log, settings, Telemetry())


@asynccontextmanager
async def running(
    folder: Path, log: Log, sql: Statements = SQL, **knobs: Any
) -> AsyncIterator[Reads]:
    """Reads that fold what comes."""
    reads = reads_of(folder, log, sql, **knobs)
    async with _open(reads, reads.run):
        yield reads


@asynccontextmanager
async def supervised(reads: Reads) -> AsyncIterator[Reads]:
    """*reads* open, and started again when they fail, as in a gateway."""
    room = partial(supervise, "reads", reads.run, QUICK, Telemetry())
    async with _open(reads, room), asyncio.timeout(DEADLINE_S):
        yield reads


@asynccontextmanager
async def _open(reads: Reads, room: Callable[[], Coroutine[Any, Any, None]]) -> AsyncIterator[None]:
    """*reads* are open, and *room* runs beside, until the block ends."""
    try:
        await reads.open()
        folding = asyncio.create_task(room())
        try:
            yield
        finally:
            folding.cancel()
            await asyncio.wait([folding])
    finally:
        reads.close()


async def values(reads: Reads, sql: str) -> list[tuple[Any, ...]]:
    """The rows of one statement, without the names of their columns."""
    return [tuple(row.values()) for row in await reads.rows(sql)]


def long_messages() -> list[Stored]:
    """So many, of so many characters."""
    chance = Random(1)
    texts = (chance.randbytes(LENGTH // 2).hex() for _ in range(COMMITS))
    said = [MessagePosted(content=text) for text in texts]
    return stored([Said(header(key=f"general.M{nth}"), (one,)) for nth, one in enumerate(said)])


async def counted(reads: Reads) -> list[tuple[Any, ...]]:
    """What the tables hold, once they can be read."""
    while True:
        try:
            return await values(reads, LONG_COUNT)
        except Behind:
            await asyncio.sleep(0.01)

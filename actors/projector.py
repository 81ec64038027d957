"""How the log becomes tables: what has gathered is folded as a set, as often as there is news.

The projector runs where the tables are read (the gateway), because DuckDB lets one process write.
A commit that cannot be folded stops it loudly: nothing is skipped, reads go on at the position it
has reached.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from concurrent.futures import Executor
from contextlib import suppress
from functools import partial
from time import perf_counter

from actors.projection_file import Poison, ProjectionFile
from bus.log import Log, Missing, Stored
from bus.telemetry import Telemetry
from schemas.settings import Settings

BUSY_COMMITS = 16
REST = 7.0
"""Under load folding takes an eighth of the time at most: a batch costs some 3 ms whatever is in
it, and while the worker works the writers get less of the interpreter."""

Folded = Callable[[list[Stored]], Awaitable[None]]


class Projector:
    """Keeps one file of tables at the head of the log."""

    def __init__(
        self,
        file: ProjectionFile,
        log: Log,
        settings: Settings,
        telemetry: Telemetry,
        worker: Executor,
    ) -> None:
        self.file = file
        self._log = log
        self._settings = settings
        self._telemetry = telemetry
        self._worker = worker
        self.sighted: Callable[[list[Stored]], None] = lambda page: None
        """Told of each page when it comes from the log, before it is folded."""
        self.step = asyncio.Lock()
        """Held while a batch is folded: between two steps `file` may be replaced by its equal."""

    async def run(self, folded: Folded, until: int | None = None) -> None:
        """Fold what comes, for ever, or up to the position *until*; *folded* hears of each batch.

        Raises `Poison` (in a group) when a commit cannot be folded; *folded* has heard of what came
        before it.
        """
        backlog = Backlog(self._settings.fold_batch_max)
        async with asyncio.TaskGroup() as group:
            group.create_task(self._read(backlog, until))
            while stored := await backlog.batch():
                async with self.step:
                    took_s = await self._step(stored, folded)
                if len(stored) >= BUSY_COMMITS:
                    await backlog.fill(REST * took_s)

    async def _step(self, stored: list[Stored], folded: Folded) -> float:
        began = perf_counter()
        loop = asyncio.get_running_loop()
        more = len(stored) == self._settings.fold_batch_max
        folding = loop.run_in_executor(self._worker, partial(self.file.fold, stored, more=more))
        try:
            await asyncio.shield(folding)
        except asyncio.CancelledError:
            # The worker goes on all the same: whoever starts again must find it done, and heard.
            await asyncio.wait({folding})
            if folding.exception() is None:
                await folded(stored)
            raise
        except Poison:
            before = [one for one in stored if one.seq <= self.file.seq]
            if before:
                await folded(before)
            raise
        took_s = perf_counter() - began
        self._telemetry.fold_s.observe(took_s)
        memory, first, last = self._telemetry.memory, stored[0].seq, stored[-1].seq
        memory.step("fold", began, first=first, last=last, note=len(stored))
        await folded(stored)
        return took_s

    async def _read(self, backlog: Backlog, until: int | None) -> None:
        try:
            async for page in self._log.tail(self.file.seq, until):
                self.sighted(page)
                await backlog.add(page)
        except Missing as hole:
            backlog.end(str(hole))
        else:
            backlog.end()


class Backlog:
    """Commits that have been read and not yet folded: as many as two batches."""

    def __init__(self, batch_max: int) -> None:
        self._stored: list[Stored] = []
        self._batch_max = batch_max
        self._ended = False
        self._fault = ""
        self._news = asyncio.Event()
        self._room = asyncio.Event()

    async def add(self, page: list[Stored]) -> None:
        """Returns once there is room for the next page."""
        self._stored += page
        self._news.set()
        while len(self._stored) >= 2 * self._batch_max:
            self._room.clear()
            await self._room.wait()

    def end(self, fault: str = "") -> None:
        """No more will come; *fault* tells why when it is not the end."""
        self._ended, self._fault = True, fault
        self._news.set()

    async def batch(self) -> list[Stored]:
        """All that has gathered, as far as one batch goes; nothing after the end.

        Raises `Poison` in its place when the log could not be read on.
        """
        while not self._stored and not self._ended:
            await self._more()
        if self._fault and not self._stored:
            raise Poison(self._fault)
        batch = self._stored[: self._batch_max]
        del self._stored[: self._batch_max]
        self._room.set()
        return batch

    async def fill(self, timeout_s: float) -> None:
        """Returns once there is a whole batch, or after *timeout_s*."""
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                while len(self._stored) < self._batch_max and not self._ended:
                    await self._more()

    async def _more(self) -> None:
        self._news.clear()
        await self._news.wait()

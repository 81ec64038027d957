"""How the log becomes tables: what has gathered is folded as a set, as often as there is news.

The projector runs where the tables are read (the gateway), because DuckDB lets one process write.
A commit that cannot be folded stops it loudly: nothing is skipped, reads go on at the position it
has reached.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from concurrent.futures import Executor
from time import perf_counter

from actors.projection_file import ProjectionFile
from bus.log import Log, Stored
from bus.telemetry import Telemetry
from schemas.settings import Settings

PAGES_AHEAD = 2
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

        Raises `Poison` when a commit cannot be folded.
        """
        pages: asyncio.Queue[list[Stored] | None] = asyncio.Queue(PAGES_AHEAD)
        async with asyncio.TaskGroup() as group:
            group.create_task(self._read(pages, until))
            while (stored := await self._gathered(pages)) is not None:
                async with self.step:
                    await self._step(stored, folded)

    async def _step(self, stored: list[Stored], folded: Folded) -> None:
        began = perf_counter()
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(self._worker, self.file.fold, stored)
        self._telemetry.fold_s.observe(perf_counter() - began)
        await folded(stored)

    async def _read(self, pages: asyncio.Queue[list[Stored] | None], until: int | None) -> None:
        async for page in self._log.tail(self.file.seq, until):
            self.sighted(page)
            await pages.put(page)
        await pages.put(None)

    async def _gathered(self, pages: asyncio.Queue[list[Stored] | None]) -> list[Stored] | None:
        """All pages that have come in, as one batch of bounded size; None after the last."""
        stored = await pages.get()
        if stored is None:
            return None
        while not pages.empty() and len(stored) < self._settings.fold_batch_max:
            more = pages.get_nowait()
            if more is None:
                await pages.put(None)
                break
            stored = stored + more
        return stored

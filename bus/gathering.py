"""Those who wait together are served together, in a thread: one write to the disk for all."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Generic, TypeVar

Outcome = TypeVar("Outcome")


class Wish(Generic[Outcome]):
    """What one caller wants, the job that sees to it, once it has begun, and what came of it."""

    __slots__ = ("job", "outcome", "what")

    def __init__(self, what: str) -> None:
        self.what = what
        self.job: asyncio.Future[None] | None = None
        self.outcome: Outcome | None = None


class Gathering(Generic[Outcome]):
    """Wishes for one kind of work, done by *serve*, at most *most* at once, in *worker*."""

    def __init__(
        self,
        worker: ThreadPoolExecutor,
        serve: Callable[[Sequence[Wish[Outcome]]], None],
        most: int,
    ) -> None:
        self._worker = worker
        self._serve = serve
        self._most = most
        self._turn = asyncio.Lock()
        self._waiting: list[Wish[Outcome]] = []

    async def done(self, what: str, timeout_s: float) -> Outcome | None:
        """What came of wishing for *what*. Raises TimeoutError, and whatever the work raised.

        The first in the queue takes all who wait along. It may go away: its job goes on.
        """
        wish: Wish[Outcome] = Wish(what)
        self._waiting.append(wish)
        async with asyncio.timeout(timeout_s):
            async with self._turn:
                job = wish.job
                while job is None:
                    self._begin()
                    job = wish.job
                await asyncio.wait((job,))
        job.result()
        return wish.outcome

    def _begin(self) -> None:
        """A job sees to those who have waited longest."""
        taken, self._waiting = self._waiting[: self._most], self._waiting[self._most :]
        job = asyncio.get_running_loop().run_in_executor(self._worker, self._serve, taken)
        for one in taken:
            one.job = job

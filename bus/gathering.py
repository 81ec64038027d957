"""Those who wait together are served together, in a thread: one write to the disk for all."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Generic, TypeVar

Outcome = TypeVar("Outcome")


class Wish(Generic[Outcome]):
    """What one caller wants, and what came of it, once it is done."""

    __slots__ = ("done", "outcome", "what")

    def __init__(self, what: str, done: asyncio.Future[None]) -> None:
        self.what = what
        self.done = done
        self.outcome: Outcome | None = None


class Gathering(Generic[Outcome]):
    """Wishes for one kind of work, done by *serve*, at most *most* at once, in *worker*.

    Being busy is the only delay: who comes meanwhile is served next, all together.
    """

    def __init__(
        self,
        worker: ThreadPoolExecutor,
        serve: Callable[[Sequence[Wish[Outcome]]], None],
        most: int,
    ) -> None:
        self._worker = worker
        self._serve = serve
        self._most = most
        self._waiting: list[Wish[Outcome]] = []
        self._busy = False

    async def done(self, what: str, timeout_s: float) -> Outcome | None:
        """What came of wishing for *what*. Raises whatever the work raised, and TimeoutError when
        it takes longer than *timeout_s*, or that before it does.

        Whoever goes away while the work is being done is served all the same; whoever does before,
        is not.
        """
        loop = asyncio.get_running_loop()
        wish: Wish[Outcome] = Wish(what, loop.create_future())
        self._waiting.append(wish)
        if not self._busy:
            self._busy = True
            loop.call_soon(self._begin)  # At the end of this turn: others may come in it.
        try:
            async with asyncio.timeout(timeout_s):
                await wish.done
        except TimeoutError as error:
            if wish.done.cancelled():  # Else it is the work that has failed so.
                raise TimeoutError("the disk takes too long") from error
            raise
        return wish.outcome

    def _begin(self) -> None:
        waiting = [one for one in self._waiting if not one.done.done()]
        taken, self._waiting = waiting[: self._most], waiting[self._most :]
        self._busy = bool(taken)
        if taken:
            loop = asyncio.get_running_loop()
            job = loop.run_in_executor(self._worker, self._serve, taken)
            job.add_done_callback(partial(self._served, taken))

    def _served(self, taken: Sequence[Wish[Outcome]], job: asyncio.Future[None]) -> None:
        _tell(taken, asyncio.CancelledError() if job.cancelled() else job.exception())
        self._begin()


def _tell(wishes: Sequence[Wish[Outcome]], failure: BaseException | None) -> None:
    """Tell those who wait, if they still do."""
    for wish in wishes:
        if wish.done.done():
            continue
        if failure is None:
            wish.done.set_result(None)
        else:
            wish.done.set_exception(failure)

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

    __slots__ = ("done", "outcome", "timeout_s", "what")

    def __init__(self, what: str, timeout_s: float, done: asyncio.Future[None]) -> None:
        self.what = what
        self.timeout_s = timeout_s
        self.done = done
        self.outcome: Outcome | None = None


class Gathering(Generic[Outcome]):
    """Wishes for one kind of work, done by *serve*, at most *most* at once, in *worker*.

    Being busy is the only timer: who comes meanwhile is served next, all together.
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

        Whoever goes away while the work is being done is served all the same.
        """
        loop = asyncio.get_running_loop()
        wish: Wish[Outcome] = Wish(what, timeout_s, loop.create_future())
        self._waiting.append(wish)
        if not self._busy:
            self._busy = True
            loop.call_soon(self._begin)  # At the end of this turn: others may come in it.
        await wish.done
        return wish.outcome

    def _begin(self) -> None:
        waiting = [one for one in self._waiting if not one.done.done()]
        taken, self._waiting = waiting[: self._most], waiting[self._most :]
        self._busy = bool(taken)
        if taken:
            loop = asyncio.get_running_loop()
            job = loop.run_in_executor(self._worker, self._serve, taken)
            late = loop.call_later(max(one.timeout_s for one in taken), self._late, taken)
            job.add_done_callback(partial(self._served, taken, late))

    def _late(self, taken: Sequence[Wish[Outcome]]) -> None:
        """One timer for all: what is stuck is stuck for those behind it as well."""
        behind, self._waiting = self._waiting, []
        _tell([*taken, *behind], TimeoutError("the disk takes too long"))

    def _served(
        self, taken: Sequence[Wish[Outcome]], late: asyncio.TimerHandle, job: asyncio.Future[None]
    ) -> None:
        late.cancel()
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

"""Virtual time: an event loop in which waiting costs nothing and every order comes from a seed.

What is run belongs to a `Process`. Within one the order is asyncio's own, first in, first out;
between processes it is drawn. A process can be paused, and killed between any two steps: what
it had still to do is never done. Time jumps to the next timer when nobody has anything to do, and
each step costs a little, so that nobody who waits busily waits for ever.
"""

from __future__ import annotations

import asyncio
import heapq
from collections import deque
from collections.abc import Callable, Coroutine
from contextlib import suppress
from contextvars import Context, ContextVar, copy_context
from functools import partial
from itertools import count
from random import Random
from typing import Any, TypeVar

from typing_extensions import override

STEP_S = 2e-6
"""What one step costs."""
BLOCKING_S = (1e-4, 2e-3)
"""How long blocking work on a thread takes: least and most."""
STEPS_MAX = 2_000_000
WAITS_MAX = 50
"""How often a coroutine of the dead may want to wait for something before it ends."""

Result = TypeVar("Result")
Connect = Callable[[Callable[[], asyncio.BaseProtocol], str, int], Coroutine[Any, Any, Any]]


class Killed(BaseException):
    """The process has just been killed: nothing after this line happens."""


class Stalled(Exception):
    """Nothing will ever happen again, or too much has."""


class Process:
    """One operating system process of the simulation: what it has still to do, and its fate."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.alive = True
        self.paused = False
        self.wall_skew_s = 0.0
        self.ready: deque[asyncio.Handle] = deque()
        self._context = copy_context()
        self._context.run(PROCESS.set, self)
        self.tasks: list[asyncio.Task[Any]] = []

    @property
    def context(self) -> Context:
        """A context in which whatever runs belongs to this process."""
        return self._context.copy()


PROCESS: ContextVar[Process] = ContextVar("process")


class _Step(asyncio.Handle):
    __slots__ = ("process",)
    process: Process


class _Timer(asyncio.TimerHandle):
    __slots__ = ("process",)
    process: Process


class _Future(asyncio.Future[Any]):
    """A future whose place in a set is the same in every run."""

    number = 0

    def __hash__(self) -> int:
        return self.number


class _Task(asyncio.Task[Any]):
    """A task whose place in a set is the same in every run."""

    def __init__(self, number: int, coroutine: Coroutine[Any, Any, Any], **options: Any) -> None:
        self.number = number
        super().__init__(coroutine, **options)

    def __hash__(self) -> int:
        return self.number


class SimulatedLoop(asyncio.BaseEventLoop):
    """The loop of one simulated world. `connect` makes its connections (`network`)."""

    connect: Connect

    def __init__(self, chance: Random) -> None:
        super().__init__()
        self.set_debug(False)
        self.steps = 0
        self._now_s = 0.0
        self._chance = chance
        self._numbers = count(1)
        self._timers: list[tuple[float, int, _Timer]] = []
        self._runnable: list[Process] = []
        self._busy: dict[Any, float] = {}
        """Worker → until when it is busy."""
        self._over = False

    @override
    def time(self) -> float:
        return self._now_s

    # What becomes of processes.

    def pause(self, process: Process) -> None:
        """*process* does nothing until it is resumed; what it waits for piles up."""
        process.paused = True
        if process in self._runnable:
            self._runnable.remove(process)

    def resume(self, process: Process) -> None:
        """*process* goes on, with all that has piled up."""
        process.paused = False
        if process.ready and process not in self._runnable:
            self._runnable.append(process)

    def kill(self, process: Process) -> None:
        """*process* never does anything again."""
        process.alive = False
        process.ready.clear()
        if process in self._runnable:
            self._runnable.remove(process)

    def begin(self, process: Process, coroutine: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        """Run *coroutine* as a task of *process*."""
        return self.create_task(coroutine, context=process.context)

    async def bury(self, processes: list[Process]) -> None:
        """Let go of what the dead have left unfinished, without a word of it."""
        self._over = True
        self._runnable.clear()
        self._timers.clear()
        for process in processes:
            process.ready.clear()
            for task in reversed(process.tasks):
                if not task.done():
                    task._log_destroy_pending = False  # noqa: SLF001
                    _buried(task.get_coro())
            process.tasks.clear()
        self._over = False

    # What asyncio calls.

    @override
    def call_soon(  # type: ignore[override]  # asyncio's stubs tie the arguments together
        self, callback: Callable[..., Any], *args: Any, context: Context | None = None
    ) -> asyncio.Handle:
        step = _Step(callback, args, self, context)
        process = _process(context)
        if process is not None and process.alive and not self._over:
            step.process = process
            self._enqueue(step, process)
        return step

    @override
    def call_soon_threadsafe(  # type: ignore[override]  # asyncio's stubs tie the arguments together
        self, callback: Callable[..., Any], *args: Any, context: Context | None = None
    ) -> asyncio.Handle:
        return self.call_soon(callback, *args, context=context)

    @override
    def call_at(  # type: ignore[override]  # asyncio's stubs tie the arguments together
        self, when: float, callback: Callable[..., Any], *args: Any, context: Context | None = None
    ) -> asyncio.TimerHandle:
        timer = _Timer(when, callback, args, self, context)
        process = _process(context)
        if process is not None and process.alive and not self._over:
            timer.process = process
            heapq.heappush(self._timers, (when, next(self._numbers), timer))
        return timer

    @override
    def create_task(
        self, coro: Any, *, name: object = None, context: Context | None = None
    ) -> asyncio.Task[Any]:
        task = _Task(next(self._numbers), coro, loop=self, name=name, context=context)
        process = _process(context)
        if process is not None:
            process.tasks.append(task)
        return task

    @override
    def create_future(self) -> asyncio.Future[Any]:
        future = _Future(loop=self)
        future.number = next(self._numbers)
        return future

    @override
    async def create_connection(
        self,
        protocol_factory: Callable[[], asyncio.BaseProtocol],
        host: str | None = None,
        port: int | None = None,
        **_options: Any,
    ) -> Any:
        return await self.connect(protocol_factory, host or "", port or 0)

    @override
    def run_in_executor(  # type: ignore[override]  # typed for every kind of executor
        self, executor: Any, func: Callable[..., Result], *args: Any
    ) -> asyncio.Future[Result]:
        """Blocking work is done after a while, also when nobody waits for it any more; that of one
        worker in its order."""
        done: asyncio.Future[Result] = self.create_future()
        start_s = max(self._now_s, self._busy.get(executor, 0.0))
        end_s = start_s + self._chance.uniform(*BLOCKING_S)
        if executor is not None:
            self._busy[executor] = end_s
        self.call_at(end_s, _worked, self, done, func, args)
        return done

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        """Nothing is counted here: what is cancelled is skipped when its time comes."""

    def _enqueue(self, handle: asyncio.Handle, process: Process) -> None:
        if not process.ready and not process.paused:
            self._runnable.append(process)
        process.ready.append(handle)

    def _run_once(self) -> None:
        timers, runnable = self._timers, self._runnable
        if not runnable and timers:
            self._now_s = max(self._now_s, timers[0][0])
        while timers and timers[0][0] <= self._now_s:
            _, _, timer = heapq.heappop(timers)
            if timer.process.alive and not timer.cancelled():
                self._enqueue(timer, timer.process)
        if not runnable:
            if not timers:
                raise Stalled("everybody waits for something, and nothing is under way")
            return
        self._now_s += STEP_S
        self.steps += 1
        if self.steps > STEPS_MAX:
            raise Stalled(f"more than {STEPS_MAX} steps")
        many = len(runnable)
        process = runnable[0 if many == 1 else int(self._chance.random() * many)]
        handle = process.ready.popleft()
        if not process.ready:
            runnable.remove(process)
        if not handle.cancelled():
            handle._run()  # noqa: SLF001  # what every loop does


def _process(context: Context | None) -> Process | None:
    """Whose doing it is: that of *context*, or of what runs now."""
    return PROCESS.get(None) if context is None else context.get(PROCESS)


def _worked(
    loop: SimulatedLoop, done: asyncio.Future[Any], func: Callable[..., Any], args: tuple[Any, ...]
) -> None:
    """Blocking work is done now; whatever it raises is the caller's."""

    async def work() -> Any:
        return func(*args)

    loop.create_task(work()).add_done_callback(partial(_told, done))


def _told(done: asyncio.Future[Any], worked: asyncio.Task[Any]) -> None:
    error = None if worked.cancelled() else worked.exception()
    if done.done():
        return
    if error is not None:
        done.set_exception(error)
    else:
        done.set_result(worked.result())


def _buried(coroutine: Any) -> None:
    """End *coroutine*, whatever it still wants to wait for; a cancellation it might wait out."""
    if not isinstance(coroutine, Coroutine):
        return
    # Whatever the dead complain of: nobody is there to hear it.
    with suppress(Exception, BaseExceptionGroup, asyncio.CancelledError, Killed):
        for _ in range(WAITS_MAX):
            coroutine.throw(Killed())

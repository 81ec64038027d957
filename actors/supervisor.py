"""What happens when a room fails: it is logged with its cause and started again, after a while.

Too often in too short a time, and the failure leaves the supervisor: a process that cannot work
must end, so that whoever runs it learns of it.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import suppress

import structlog

from bus.log import Leaderless
from bus.telemetry import Telemetry
from bus.wire import BrokerLost
from schemas.settings import Settings

AGAIN_S = 5.0
"""Until work that goes on is told again to stop: it may have waited with `asyncio.wait_for`, which
in Python 3.11 forgets a cancellation that comes together with what it waits for."""
LEADERLESS_S = 1.0
"""Until a room goes on that needs the leader of a cluster; an election takes seconds."""

log = structlog.get_logger()


async def supervise(
    name: str, room: Callable[[], Awaitable[None]], settings: Settings, telemetry: Telemetry
) -> None:
    """Run *room* until it returns. Raises its failure when `restarts_max` restarts within
    `restarts_window_s` have not helped; the wait before each of them is twice the one before."""
    failures: deque[float] = deque()
    while True:
        try:
            return await cancellable(room())
        except Exception as failure:
            if _is_of(failure, BrokerLost):
                raise  # No room can mend this: the root attaches to the bus anew.
            if _is_of(failure, Leaderless):
                log.warning("room_leaderless", room=name, reason=str(failure))
                await asyncio.sleep(LEADERLESS_S)  # Nor is it a fault of the room's.
                continue
            failures.append(asyncio.get_running_loop().time())
            while failures[-1] - failures[0] > settings.restarts_window_s:
                failures.popleft()
            log.exception("room_failed", room=name, failures=len(failures))
            if len(failures) > settings.restarts_max:
                raise
            telemetry.restarts.labels(name).inc()
            await asyncio.sleep(settings.restart_backoff_s * 2 ** (len(failures) - 1))


async def cancellable(work: Awaitable[None]) -> None:
    """Returns or raises as *work* does; a cancellation of the caller is never lost on the way.

    A task group whose members fail while it is being cancelled raises their failures and forgets
    the cancellation (CPython 3.11 and 3.12). Whoever starts again what has failed would start it
    again after it was told to stop, and be waited for in vain.
    """
    working = asyncio.ensure_future(work)
    try:
        await asyncio.wait((working,))
    except asyncio.CancelledError:
        while not working.done():
            working.cancel()
            with suppress(asyncio.CancelledError):  # We are told already.
                await asyncio.wait((working,), timeout=AGAIN_S)
        if not working.cancelled() and (failure := working.exception()) is not None:
            log.info("failed_while_stopping", reason=repr(failure))
        raise
    working.result()


def _is_of(failure: Exception, kind: type[Exception]) -> bool:
    """Whether *failure*, or one in its group, is of this *kind*."""
    if isinstance(failure, ExceptionGroup):
        return failure.subgroup(kind) is not None
    return isinstance(failure, kind)

"""A room that fails is started again; one that fails too often ends the process."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress

import pytest
from structlog.testing import capture_logs

from actors import supervisor
from actors.supervisor import supervise
from bus.telemetry import Telemetry
from bus.wire import BrokerLost
from schemas.settings import Settings

AT_ONCE = Settings(restarts_max=3, restart_backoff_s=1e-6)


def failing(*failures: Exception) -> Callable[[], Awaitable[None]]:
    """A room that fails in these ways, one after the other, and then ends well."""
    coming = list(failures)

    async def room() -> None:
        if coming:
            raise coming.pop(0)

    return room


async def test_a_room_that_ends_well_has_ended() -> None:
    """It is not started again."""
    with capture_logs() as logged:
        await supervise("quiet", failing(), AT_ONCE, Telemetry())

    assert logged == []


async def test_a_room_that_fails_is_started_again() -> None:
    """Each failure is logged with its cause, and counted."""
    telemetry = Telemetry()
    with capture_logs() as logged:
        await supervise("shaky", failing(ValueError("a"), KeyError("b")), AT_ONCE, telemetry)

    assert [(line["event"], line["room"], line["failures"]) for line in logged] == [
        ("room_failed", "shaky", 1),
        ("room_failed", "shaky", 2),
    ]
    assert all(line["exc_info"] for line in logged)
    assert telemetry.registry.get_sample_value("canopy_restarts_total", {"room": "shaky"}) == 2


async def test_a_room_that_fails_too_often_ends_the_process() -> None:
    """With its last failure: whoever runs the process learns of it."""
    failures = [ValueError(f"{nth}") for nth in range(10)]
    telemetry = Telemetry()
    with capture_logs(), pytest.raises(ValueError, match="3"):
        await supervise("broken", failing(*failures), AT_ONCE, telemetry)

    assert telemetry.registry.get_sample_value("canopy_restarts_total", {"room": "broken"}) == 3


async def test_failures_long_past_do_not_count() -> None:
    """A room may fail now and then for years."""
    settings = Settings(restarts_max=3, restart_backoff_s=1e-6, restarts_window_s=1e-9)
    with capture_logs() as logged:
        await supervise("old", failing(*[ValueError() for _ in range(20)]), settings, Telemetry())

    assert {line["failures"] for line in logged} == {1}


@pytest.mark.parametrize(
    "failure",
    [BrokerLost("gone"), ExceptionGroup("rooms", [ValueError(), BrokerLost("gone")])],
)
async def test_a_lost_broker_is_beyond_any_room(failure: Exception) -> None:
    """The root attaches anew; starting the room again would only fail again."""
    with capture_logs() as logged, pytest.raises(type(failure)):
        await supervise("room", failing(failure), AT_ONCE, Telemetry())

    assert logged == []


async def test_a_room_ends_with_its_process() -> None:
    """Being told to stop is no failure."""
    started = asyncio.Event()

    async def endless() -> None:
        started.set()
        await asyncio.Event().wait()

    supervised = asyncio.create_task(supervise("endless", endless, AT_ONCE, Telemetry()))
    await started.wait()
    supervised.cancel()
    with capture_logs() as logged, pytest.raises(asyncio.CancelledError):
        await supervised

    assert logged == []


async def test_a_room_that_fails_while_it_is_stopped_is_not_started_again() -> None:
    """Its task group raises what failed in place of the cancellation."""
    starts = asyncio.Queue[str]()

    async def complaining() -> None:
        starts.put_nowait("started")
        try:
            await asyncio.sleep(60)
        finally:
            raise ConnectionError("told to stop")

    async def room() -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(complaining())
            await asyncio.sleep(60)

    task = asyncio.create_task(supervise("room", room, Settings(), Telemetry()))
    await starts.get()
    task.cancel()
    await asyncio.wait((task,), timeout=5)

    assert (task.cancelled(), starts.empty()) == (True, True)


async def test_a_room_that_did_not_hear_is_told_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervisor, "AGAIN_S", 0.01)

    started = asyncio.Event()

    async def room() -> None:
        started.set()
        with suppress(asyncio.CancelledError):
            await asyncio.sleep(60)
        await asyncio.sleep(60)

    task = asyncio.create_task(supervise("deaf", room, Settings(), Telemetry()))
    await started.wait()
    task.cancel()
    await asyncio.wait((task,), timeout=5)

    assert task.cancelled()

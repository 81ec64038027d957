"""Snapshots: a cache in a bucket, which may be lost and may not be believed blindly."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from bus.attachment import Bus
from bus.snapshots import MemorySnapshots, Snapshot, Snapshots
from schemas.settings import Settings
from tests.logs import DEADLINE_S, bus_on, fresh_broker, fresh_bus, settings
from tests.simulated import Running

FIRST = Snapshot(version="v1", seq=3, state={"posted": ["Hæ?", None]}, applied={"r1": 1, "r2": 3})
SECOND = FIRST.model_copy(update={"seq": 9})

pytestmark = pytest.mark.usefixtures("each_broker")


@pytest.fixture
def knobs(tmp_path: Path) -> Settings:
    return settings(tmp_path, nats_connect_timeout_s=1)


@pytest.fixture
async def running(knobs: Settings) -> AsyncIterator[Running]:
    async with fresh_broker(knobs) as one:
        yield one


@pytest.fixture
async def bus(running: Running, knobs: Settings) -> AsyncIterator[Bus]:
    async with bus_on(running.endpoint, knobs) as one:
        yield one


@pytest.fixture(params=["memory", "bucket"])
async def snapshots(request: pytest.FixtureRequest, knobs: Settings) -> AsyncIterator[Snapshots]:
    """No snapshots yet, of each kind."""
    if request.param == "memory":
        yield MemorySnapshots()
    else:
        async with fresh_bus(knobs) as one:
            yield await one.snapshots()


async def test_there_is_none_at_first(snapshots: Snapshots) -> None:
    assert await snapshots.load("message", "general.M1") is None


async def test_the_last_one_is_kept_for_each_aggregate(snapshots: Snapshots) -> None:
    """Whole, and beside those of others."""
    await snapshots.save("message", "general.M1", FIRST)
    await snapshots.save("message", "general.M1", SECOND)
    await snapshots.save("account", "ann", FIRST)

    assert await snapshots.load("message", "general.M1") == SECOND
    assert await snapshots.load("account", "ann") == FIRST
    assert await snapshots.load("message", "general") is None


async def test_they_survive_the_process(bus: Bus, running: Running, knobs: Settings) -> None:
    """They lie in the broker."""
    await (await bus.snapshots()).save("account", "ann", FIRST)

    async with bus_on(running.endpoint, knobs) as other:
        assert await (await other.snapshots()).load("account", "ann") == FIRST


async def test_one_that_cannot_be_read_is_none(bus: Bus) -> None:
    """Whatever wrote it: the log has everything that it had."""
    await bus.wire.ask("$KV.SNAPSHOT.account.ann", b'{"version": 1}', DEADLINE_S)
    await bus.wire.ask("$KV.SNAPSHOT.account.bob", b"", DEADLINE_S)
    snapshots = await bus.snapshots()

    assert await snapshots.load("account", "ann") is None
    assert await snapshots.load("account", "bob") is None


async def test_one_that_is_too_large_is_not_kept_and_hurts_nobody(bus: Bus) -> None:
    """The commit that it follows is in the log already."""
    snapshots = await bus.snapshots()
    await snapshots.save("account", "ann", FIRST)
    large = FIRST.model_copy(update={"state": {"x": "x" * 2_000_000}})
    await snapshots.save("account", "ann", large)

    assert await snapshots.load("account", "ann") == FIRST


async def test_a_broker_that_is_gone_costs_the_snapshot_only(bus: Bus, running: Running) -> None:
    """Who decides goes on without, as long as there is a log."""
    snapshots = await bus.snapshots()
    await running.stop(DEADLINE_S)
    await snapshots.save("account", "ann", FIRST)

    assert await snapshots.load("account", "ann") is None

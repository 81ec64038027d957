"""A real broker for each test: it starts in 30 ms, so nothing is shared or pretended."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from nats.aio.client import Client

from bus.connection import connected
from bus.server import Broker, broker
from bus.topology import ensure
from schemas.settings import MIB, Settings
from tests.simulated import BROKERS, Kind


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(
        data_directory=tmp_path / "data",
        log_bytes_max=64 * MIB,
        nats_start_timeout_s=10,
        nats_health_every_s=0.05,
        nats_silence_s=2,
    )


@pytest.fixture(params=BROKERS)
def each_broker(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """The test runs on the real broker and on the one of the simulator."""
    monkeypatch.setattr(Kind, "chosen", request.param)
    monkeypatch.setattr(Kind, "disks", {})


@pytest.fixture
async def running(settings: Settings) -> AsyncIterator[Broker]:
    """A broker with nothing in it."""
    async with broker(settings) as one:
        yield one


@pytest.fixture
async def furnished(running: Broker, settings: Settings) -> Broker:
    """A broker with its streams."""
    async with connected(running.endpoint, "supervisor", settings) as supervisor:
        await ensure(supervisor.client, running.endpoint, settings)
    return running


async def settled(client: Client) -> None:
    """The broker has taken what *client* said so far. Twice, because nats-py's first PING may
    overtake what it still holds back; the second cannot."""
    await client.flush()
    await client.flush()

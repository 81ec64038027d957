"""Power cuts: what was acknowledged is on the disk: the broker syncs before it acknowledges."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bus.server import configuration
from bus.topology import Unfit
from gateway.bench.cuts import cuts
from gateway.bench.volume import volume
from schemas.message import MessagePosted
from schemas.settings import MIB
from tests.logs import bus_on, fresh_broker, fresh_bus, settings, told

pytestmark = [pytest.mark.usefixtures("disks"), pytest.mark.slow, pytest.mark.timeout(120)]

HI = MessagePosted(content="Hi.")
COMMITS = 50


async def test_no_acknowledged_post_is_lost_by_a_power_cut(tmp_path: Path) -> None:
    """Log, vault and tables lie on the disk that goes dark under a whole node."""
    report = await cuts(tmp_path, count=2)

    assert report.held, report.rows()


async def kept_after_a_cut(directory: Path) -> int:
    """Where the log ends after a power cut that came when `COMMITS` had been acknowledged."""
    with volume(directory, 64 * MIB) as disk:
        knobs = settings(disk.path / "node", log_bytes_max=16 * MIB, disk_reserve_bytes=0)
        async with fresh_broker(knobs) as running, bus_on(running.endpoint, knobs) as bus:
            acked = [await told(bus.log, HI, f"general.M{nth}") for nth in range(COMMITS)]
            disk.cut()
            os.kill(running.pid, signal.SIGKILL)
        assert acked[-1] == COMMITS
        await asyncio.to_thread(disk.remount)
        try:
            async with fresh_bus(knobs) as bus:
                return await bus.log.head()
        except Unfit as lost:  # The marks know that there was a log, and it is not begun anew.
            return 0 if lost.fault == "log_lost" else COMMITS


async def test_a_broker_that_syncs_first_has_lost_nothing(tmp_path: Path) -> None:
    assert await kept_after_a_cut(tmp_path) == COMMITS


async def test_a_broker_that_syncs_later_loses_what_it_acknowledged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The proof that the tests before this one can fail. The check at the start refuses such a
    broker, so it is taken away too."""
    monkeypatch.setattr("bus.server.configuration", lazily(configuration))
    monkeypatch.setattr("bus.topology.check_server", unchecked)

    assert await kept_after_a_cut(tmp_path) < COMMITS


def lazily(configured: Callable[..., dict[str, Any]]) -> Callable[..., dict[str, Any]]:
    """As *configured*, but for the broker's own default of when to sync."""

    def told_so(*what: Any) -> dict[str, Any]:
        config = configured(*what)
        del config["jetstream"]["sync_interval"]
        return config

    return told_so


def unchecked(*_: object) -> None:
    """Whatever the broker does is taken for fit."""

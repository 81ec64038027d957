"""What needs a node that is stopped: prove its tables, or make them anew, with its broker alone.

Holds the data directory meanwhile, so no node can start on it.
"""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Any, Literal

from actors.__main__ import durables
from actors.rooms import statements
from bus.attachment import Bus, attached, prepared
from bus.holding import hold
from bus.identity_file import identify
from bus.server import broker
from bus.telemetry import Telemetry
from gateway.__main__ import PROJECTIONS
from gateway.cli.running import failures
from gateway.node import passphrase
from gateway.reads import Behind, Reads
from schemas.settings import Settings

Wish = Literal["verify", "rebuild"]


def ask(wish: Wish, settings: Settings) -> dict[str, Any]:
    """What comes of *wish*. Raises `Failure` when the node runs, or cannot be looked at."""
    with failures(settings):
        return asyncio.run(_asked(wish, settings))


async def _asked(wish: Wish, settings: Settings) -> dict[str, Any]:
    started = datetime.now(UTC).isoformat(timespec="seconds")
    with hold(settings.data_directory, started):
        identity = identify(settings.data_directory, passphrase(settings))
        async with broker(settings) as running:
            await prepared(running.endpoint, settings, durables())
            telemetry = Telemetry("canopy-check")
            async with attached(running.endpoint, "gateway", identity, settings, telemetry) as bus:
                return await _read(wish, bus)


async def _read(wish: Wish, bus: Bus) -> dict[str, Any]:
    folder = bus.settings.data_directory / PROJECTIONS
    reads = Reads(folder, statements(), bus.log, bus.settings, bus.telemetry)
    try:
        await reads.open()
        async with asyncio.TaskGroup() as group:
            folding = group.create_task(reads.run())
            stopped = await _caught_up(reads, await bus.log.head())
            told = await _told(wish, reads, stopped)
            folding.cancel()
        return told
    finally:
        reads.close()


async def _caught_up(reads: Reads, head: int) -> str:
    """Why the tables do not reach *head*; empty once they do."""
    while not reads.stopped:
        try:
            await reads.reached(head)
        except Behind:
            continue
        return ""
    return reads.stopped


async def _told(wish: Wish, reads: Reads, stopped: str) -> dict[str, Any]:
    if stopped:
        difference = {"seq": reads.position + 1, "reason": stopped}
        return {"position": reads.position, "tables": {}, "difference": difference}
    if wish == "verify":
        return await reads.verify()
    return {"position": await reads.rebuild()}

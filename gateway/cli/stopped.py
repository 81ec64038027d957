"""What needs a node that is stopped, its broker running alone: prove its tables, or make them anew;
vouch for its log.

Holds the data directory meanwhile, so no node can start on it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any, Literal

from actors.__main__ import durables
from actors.projection_folder import ProjectionFolder
from actors.rooms import statements
from bus.alarm import GAPS, Alarm, Fault
from bus.attachment import Bus, attached, prepared
from bus.holding import hold
from bus.identity_file import identify, require_node
from bus.inspection import vouched
from bus.log import Missing
from bus.marks import storage
from bus.server import broker
from bus.telemetry import Telemetry
from gateway.__main__ import PROJECTIONS
from gateway.cli.exits import Exit, Failure
from gateway.cli.running import journaled
from gateway.node import passphrase
from gateway.read_model import Behind
from gateway.reads import Reads
from schemas.settings import Settings

RESTORE = "canopy restore: put a backup in its place."

Wish = Literal["verify", "rebuild"]


def ask(wish: Wish, settings: Settings) -> dict[str, Any]:
    """What comes of *wish*. Raises `Failure` when the node runs, or cannot be looked at."""
    with journaled(settings):
        return asyncio.run(_asked(wish, settings))


def vouch(settings: Settings, *, certain: bool) -> dict[str, Any]:
    """What is wrong with the log of a stopped node, `fault`, and its last position, `head`; when
    *certain*, it is taken as it is from now on, `vouched`. Raises `Failure`, also for a gap."""
    with journaled(settings):
        return asyncio.run(_vouched(settings, certain=certain))


async def _vouched(settings: Settings, *, certain: bool) -> dict[str, Any]:
    async with _alone(settings) as bus:
        kept = storage(settings)
        fault = Alarm(kept).standing()
        head = await bus.log.head()
        if certain:
            try:
                await vouched(bus.log, kept, head)
                _tables(bus).open(head).close()  # Those that know more are set aside for good.
            except Missing as gap:
                message = f"The log has gaps, so it cannot be read on: {gap}."
                raise Failure(Exit.NO, message, RESTORE, "log_damaged") from gap
        kept.close()
    return {"fault": fault and _shown(fault), "head": head, "vouched": certain}


def _shown(fault: Fault) -> dict[str, Any]:
    remedy = RESTORE if fault.kind in GAPS else "canopy vouch --yes"
    return {"kind": fault.kind, "seq": fault.seq, "text": fault.text, "remedy": remedy}


def _tables(bus: Bus) -> ProjectionFolder:
    limit = bus.settings.projection_memory_bytes_max
    return ProjectionFolder(
        bus.settings.data_directory / PROJECTIONS, statements(), bus.log.epoch, limit
    )


async def _asked(wish: Wish, settings: Settings) -> dict[str, Any]:
    async with _alone(settings) as bus:
        return await _read(wish, bus)


@asynccontextmanager
async def _alone(settings: Settings) -> AsyncIterator[Bus]:
    """The bus of a node of which nothing else runs."""
    require_node(settings.data_directory)
    started = datetime.now(UTC).isoformat(timespec="seconds")
    with hold(settings.data_directory, started):
        identity = identify(settings.data_directory, passphrase(settings))
        async with broker(settings) as running:
            await prepared(running.endpoint, settings, durables())
            telemetry = Telemetry("canopy-check")
            async with attached(running.endpoint, "gateway", identity, settings, telemetry) as bus:
                yield bus


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
        known = {"position": reads.position, "tables": {}, "read": 0, "digest": ""}
        return known | {"difference": difference}
    if wish == "verify":
        return await reads.verify()
    return {"position": await reads.rebuild()}

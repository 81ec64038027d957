"""A copy of the log at one position, taken while the node runs or while it is stopped.

Whoever may read the data directory may take it: with the broker of the node that runs there, or
with one that is started for it. The log is only ever added to, so its first positions up to the
head of this moment are consistent by themselves. On the way the events are folded aside, so that
the manifest can say what the tables must be.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from actors.__main__ import durables
from actors.archive import Writer, tables_of
from actors.archive_files import Sink, directory_sink, workplace
from actors.archive_manifest import Manifest
from actors.batch import Rows
from actors.projection_file import ProjectionFile
from actors.rooms import statements
from bus.attachment import Bus, attached, prepared
from bus.connection import located
from bus.disk import free_room
from bus.holding import hold, holder
from bus.identity_file import FILE, identify
from bus.jetstream import JetStreamLog
from bus.roles import Endpoint
from bus.server import broker
from bus.telemetry import Telemetry
from gateway.node import passphrase
from gateway.version import VERSION
from schemas.settings import MIB, Settings

WORKPLACE = "archive"
PACKED_SHARE = 0.5
"""Of the size of a log, at most, that its archive has."""

Progress = Callable[[int, int], None]
"""Told how many commits of how many are done."""


class NoNode(Exception):
    """There is no node in that data directory."""


class NoRoom(Exception):
    """The disk would be too full."""


async def export(settings: Settings, path: Path, progress: Progress) -> Manifest:
    """The manifest of the log that now lies in the directory *path*.

    Raises `NoNode`, `NoRoom`, `actors.archive_files.Taken`, `Damaged`, and what keeps a node from
    running.
    """
    async with reading(settings) as bus:
        log = await JetStreamLog.info(bus.wire, settings)
        head = int(log["state"]["last_seq"])
        room = Room(path, settings.disk_reserve_bytes)
        room.require(int(log["state"]["bytes"] * PACKED_SHARE))
        with directory_sink(path) as sink:
            manifest = await Copy(bus, sink, room, progress).run(head)
    return manifest


@asynccontextmanager
async def reading(settings: Settings) -> AsyncIterator[Bus]:
    """The log of the node in the settings' directory: over the broker that runs there, else over
    one that runs as long as the block."""
    if not (settings.data_directory / FILE).exists():
        raise NoNode(f"There is no node in {settings.data_directory}.")
    identity = await asyncio.to_thread(identify, settings.data_directory, passphrase(settings))
    async with AsyncExitStack() as stack:
        endpoint = await _endpoint(settings, stack)
        telemetry = Telemetry("canopy-backup")
        yield await stack.enter_async_context(
            attached(endpoint, "gateway", identity, settings, telemetry)
        )


async def _endpoint(settings: Settings, stack: AsyncExitStack) -> Endpoint:
    if settings.nats_url or holder(settings.data_directory) is not None:
        return await located(settings)
    started = datetime.now(UTC).isoformat(timespec="seconds")
    stack.enter_context(hold(settings.data_directory, started))
    running = await stack.enter_async_context(broker(settings))
    await prepared(running.endpoint, settings, durables())
    return running.endpoint


@dataclass(frozen=True, slots=True)
class Room:
    """The disk on which *path* lies, of which *reserve_bytes* stay free."""

    path: Path
    reserve_bytes: int

    def require(self, wanted_bytes: int) -> None:
        """Returns when *wanted_bytes* fit. Raises `NoRoom`."""
        place = next(one for one in self.path.absolute().parents if one.exists())
        left = free_room(place).bytes
        if left - wanted_bytes < self.reserve_bytes:
            raise NoRoom(
                f"{place} has {left // MIB:,} MiB free; this needs {wanted_bytes // MIB:,} MiB, "
                f"and {self.reserve_bytes // MIB:,} MiB stay in reserve."
            )


class Copy:
    """Copies a log into an archive."""

    def __init__(self, bus: Bus, sink: Sink, room: Room, progress: Progress) -> None:
        self._bus = bus
        self._settings = bus.settings
        self._writer = Writer(sink, bus.settings)
        self._room = room
        self._progress = progress

    async def run(self, head: int) -> Manifest:
        """The manifest of the archive, which now holds the positions up to *head*."""
        with ExitStack() as stack:
            place = stack.enter_context(workplace(self._settings.data_directory / WORKPLACE))
            self._file = ProjectionFile(
                place / "tables.duckdb",
                statements(),
                self._bus.log.epoch,
                self._settings.projection_memory_bytes_max,
            )
            stack.callback(self._file.close)
            async for page in self._bus.log.tail(0, head):
                await asyncio.to_thread(self._writer.add, page, self._filled)
                self._progress(self._writer.last, head)
            await asyncio.to_thread(self._writer.finish, self._filled)
            return await asyncio.to_thread(self._seal)

    def _filled(self, facts: Rows, commits: Rows, first: int, last: int) -> None:
        self._room.require(0)
        self._file.fold_rows(facts, commits, first, last)

    def _seal(self) -> Manifest:
        bus, tables = self._bus, tables_of(self._file)
        return self._writer.seal(bus.identity, VERSION, bus.log.epoch, tables)

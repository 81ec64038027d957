"""A copy of the log at one position, taken while the node runs or while it is stopped.

Whoever may read the data directory may take it: with the broker of the node that runs there, or
with one that is started for it. The log is only ever added to, so its first positions up to the
head of this moment are consistent by themselves. On the way the events are folded aside, so that
the manifest can say what the tables must be.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractContextManager, AsyncExitStack, ExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from actors.__main__ import durables
from actors.archive import Writer, tables_of
from actors.archive_files import Sink, directory_sink, tar_sink, workplace
from actors.archive_manifest import Manifest
from actors.batch import Rows
from actors.projection_file import ProjectionFile
from actors.rooms import statements
from bus.alarm import Broken
from bus.attachment import Bus, attached, prepared
from bus.connection import located
from bus.crypto.passphrase import Cost
from bus.disk import free_room
from bus.holding import hold, holder
from bus.identity_file import identify, require_node
from bus.inspection import End, end_of, standing
from bus.jetstream import JetStreamLog
from bus.key_copy import sealed_keys
from bus.ledger import Ledger, Proof
from bus.marks import storage
from bus.roles import Endpoint
from bus.server import broker
from bus.telemetry import Telemetry
from gateway.node import passphrase
from gateway.version import VERSION
from schemas.settings import MIB, Settings

WORKPLACE = "archive"
PACKED_SHARE = 0.5
"""Of the size of a log, about, that its archive has; more when much of it is sealed."""

Progress = Callable[[int, int], None]
"""Told how many commits of how many are done."""


class NoRoom(Exception):
    """The disk would be too full."""


async def export(settings: Settings, path: Path, progress: Progress) -> Manifest:
    """The manifest of the log that now lies in the directory *path*.

    Raises `NoRoom`, `actors.archive_files.Taken`, `Damaged`, `bus.alarm.Broken` for a log that is
    not what was written, `bus.marks.MarksDamaged`, and what keeps a node from running, as `NoNode`.
    """
    async with reading(settings) as bus:
        return await _copied(bus, path, directory_sink, progress, None)


async def backup(
    settings: Settings, path: Path, progress: Progress, seal: str | None = None
) -> Manifest:
    """The manifest of the log that now lies in the one file *path*, as `export` has it; the keys of
    the node lie beside it, sealed under the passphrase *seal*, if there is one."""
    async with reading(settings) as bus:
        return await _copied(bus, path, tar_sink, progress, seal)


async def _copied(
    bus: Bus,
    path: Path,
    sink_at: Callable[[Path], AbstractContextManager[Sink]],
    progress: Progress,
    seal: str | None,
) -> Manifest:
    log = await JetStreamLog.info(bus.wire, bus.settings)
    room = Room(path, bus.settings.disk_reserve_bytes)
    room.require(int(log["state"]["bytes"] * PACKED_SHARE))
    end = await end_of(bus.log, bus.settings)
    with sink_at(path) as sink:
        await asyncio.to_thread(_unbroken, bus.settings, end)
        manifest = await Copy(bus, sink, room, progress).run(end.head, seal)
        await asyncio.to_thread(_unbroken, bus.settings, end)  # What was found meanwhile counts.
        return manifest


def _unbroken(settings: Settings, end: End) -> None:
    """Raises `Broken` while the alarm stands, and for a log that has lost its tail: what is known
    to be less than it was is no backup of it. A log of which nothing is known may be copied."""
    fault = standing(settings)
    if fault is not None and fault.kind != "marks_absent":
        raise Broken(fault)
    lost = end.fault()
    if lost is not None:
        raise Broken(lost)


@asynccontextmanager
async def reading(settings: Settings) -> AsyncIterator[Bus]:
    """The log of the node in the settings' directory: over the broker that runs there, else over
    one that runs as long as the block."""
    require_node(settings.data_directory)
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

    async def run(self, head: int, seal: str | None) -> Manifest:
        """The manifest of the archive, which now holds the positions up to *head*, and the keys
        under the passphrase *seal* if there is one.

        Keys are copied after the log: they were kept before what is sealed under them was stored.
        """
        with ExitStack() as stack:
            place = stack.enter_context(workplace(self._settings.data_directory / WORKPLACE))
            self._file = ProjectionFile(
                place / "tables.duckdb",
                statements(),
                self._bus.log.epoch,
                self._settings.projection_memory_bytes_max,
            )
            stack.callback(self._file.close)
            self._file.expect_much()
            proof = await asyncio.to_thread(self._known)
            async for page in self._bus.log.tail(0, head):
                if proof is not None:
                    proof.hear(page)
                await asyncio.to_thread(self._writer.add, page, self._filled)
                self._progress(self._writer.last, head)
            await asyncio.to_thread(self._writer.finish, self._filled)
            return await asyncio.to_thread(self._seal, seal)

    def _known(self) -> Proof | None:
        """What holds the log against what is known of it beside it, if that is of this log."""
        kept = storage(self._settings)
        try:
            ledger = Ledger.load(kept)
        finally:
            kept.close()
        return Proof(ledger) if ledger and ledger.epoch == self._bus.log.epoch else None

    def _filled(self, facts: Rows, commits: Rows, first: int, last: int) -> None:
        self._room.require(0)
        self._file.fold_rows(facts, commits, first, last)

    def _seal(self, seal: str | None) -> Manifest:
        bus, tables = self._bus, tables_of(self._file)
        if seal is not None:
            data = self._settings.data_directory
            self._writer.put_keys(sealed_keys(data, bus.identity, seal, Cost()))
        return self._writer.seal(bus.identity, VERSION, bus.log.epoch, tables)

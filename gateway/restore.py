"""A node made of an archive: the same log, the same tables, and another node id.

It is put together in a draft (`gateway.draft`) and takes its place when all of it is there and
proven. Whatever kills a restore, the same one run again goes on: commits that were stored are
compared and not sent again.
"""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from actors.__main__ import durables
from actors.archive import Archive, Proof
from actors.archive_files import Damaged, opened
from actors.archive_manifest import Manifest, Unsuitable
from actors.projection_file import Poison, ProjectionFile
from actors.projection_folder import ProjectionFolder
from actors.rooms import statements
from bus.attachment import Bus, attached, prepared
from bus.crypto import Identity, identity, new_secrets
from bus.faults import point
from bus.holding import hold
from bus.identity_file import FILE, keep
from bus.log import Stored
from bus.refill import refill
from bus.server import broker
from bus.telemetry import Telemetry
from gateway.__main__ import PROJECTIONS
from gateway.backup import Progress, Room
from gateway.draft import Draft
from gateway.node import passphrase
from gateway.reads import Reads
from schemas.settings import Settings

ROOM_SHARE = 2
"""Log and tables take no more than so many times the bytes of the payloads."""


@dataclass(frozen=True, slots=True)
class Proven:
    """An archive that is whole. `compared` tells whether its tables could be held against those of
    its manifest: another version of Canopy makes other tables, which cannot."""

    manifest: Manifest
    compared: bool
    node: str = ""
    """The node that was made of it, if one was."""


async def prove(settings: Settings, path: Path, progress: Progress) -> Proven:
    """That the archive at *path* is whole, and what a restore would make of it; nothing is kept.

    Raises `Damaged`, `Unsuitable` or `Poison`.
    """
    with opened(path) as files, tempfile.TemporaryDirectory(prefix="canopy-") as place:
        archive = Archive(files)
        manifest, proof = archive.manifest, Proof(archive)
        for part in manifest.parts:
            await asyncio.to_thread(proof.take, part)
            progress(part.last, manifest.last)
        proof.end()
        limit = settings.projection_memory_bytes_max
        file = ProjectionFile(Path(place, "tables.duckdb"), statements(), manifest.epoch, limit)
        with closing(file):
            await asyncio.to_thread(archive.fill, file, lambda part: None)
            return Proven(manifest, await asyncio.to_thread(proof.tables, file))


async def restore(
    settings: Settings, path: Path, progress: Progress, *, reread: bool = False
) -> Proven:
    """A node in the settings' directory, which was empty, made of the archive at *path*.

    With *reread* its log is read back, and its tables are made of that a second time. Raises
    `Damaged`, `Unsuitable`, `Poison`, `actors.archive_files.Taken`, `gateway.backup.NoRoom`,
    `bus.log.Unstored`, and what keeps a node from running; no node can start in the directory then.
    """
    if settings.nats_url:
        raise Unsuitable("a node is restored with its own broker: unset nats_url")
    started = datetime.now(UTC).isoformat(timespec="seconds")
    with opened(path) as files:
        archive = Archive(files)
        with hold(settings.data_directory, started):
            draft = Draft(settings.data_directory, archive.digest)
            compared = archive.manifest.tables.version == statements().version
            if not draft.made:
                room = Room(settings.data_directory / FILE, settings.disk_reserve_bytes)
                room.require(ROOM_SHARE * archive.manifest.payload_bytes)
                draft.begin()
                compared = await Making(settings, archive, draft, progress).run(reread=reread)
            draft.move()
            return Proven(archive.manifest, compared, draft.made)


class Making:
    """Fills the draft of a data directory."""

    def __init__(
        self, settings: Settings, archive: Archive, draft: Draft, progress: Progress
    ) -> None:
        self._settings = settings.model_copy(update={"data_directory": draft.path})
        self._archive = archive
        self._draft = draft
        self._progress = progress
        self._proof = Proof(archive)

    async def run(self, *, reread: bool) -> bool:
        """All of the node is in the draft: whether its tables were compared."""
        try:
            node = identity(new_secrets())
            compared = await self._fill(node, reread=reread)
        except (Damaged, Poison):
            self._draft.discard()  # Trying again would end alike.
            raise
        keep(self._draft.path, node, passphrase(self._settings))
        await asyncio.to_thread(self._draft.finish, node.node_id)
        return compared

    async def _fill(self, node: Identity, *, reread: bool) -> bool:
        settings, telemetry = self._settings, Telemetry("canopy-restore")
        async with broker(settings) as running:
            await prepared(running.endpoint, settings, durables())
            async with attached(running.endpoint, "actors", node, settings, telemetry) as bus:
                await self._log(bus)
                compared = await asyncio.to_thread(self._tables, bus.log.epoch)
                if reread:
                    await _reread(bus)
        return compared

    async def _log(self, bus: Bus) -> None:
        """All commits lie in the log; those that an earlier attempt has stored are compared."""
        head = await bus.log.head()
        for part in self._archive.manifest.parts:
            commits = await asyncio.to_thread(self._proof.take, part)
            if part.first <= head:
                there = await _read(bus, part.first - 1, min(part.last, head))
                if there != commits[: len(there)]:
                    raise Damaged("the log of the earlier attempt is not this one")
                commits = commits[len(there) :]
            await refill(bus.wire, bus.settings, commits)
            self._progress(part.last, self._archive.manifest.last)
        self._proof.end()

    def _tables(self, epoch: str) -> bool:
        """The tables are made of the archive: whether they were compared."""
        place = self._draft.path / PROJECTIONS
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir(mode=0o700)
        limit = self._settings.projection_memory_bytes_max
        with closing(ProjectionFolder(place, statements(), epoch, limit).fresh()) as file:
            self._archive.fill(file, lambda part: point("restore.folded"))
            return self._proof.tables(file)


async def _read(bus: Bus, after: int, until: int) -> list[Stored]:
    return [one async for page in bus.log.tail(after, until) for one in page]


async def _reread(bus: Bus) -> None:
    """The log that lies on the disk can be read from end to end, and says what the tables say."""
    folder = bus.settings.data_directory / PROJECTIONS
    reads = Reads(folder, statements(), bus.log, bus.settings, bus.telemetry)
    try:
        await reads.open()
        difference = (await reads.verify())["difference"]
    finally:
        reads.close()
    if difference is not None:
        raise Damaged(f"what was restored does not hold: {difference}")

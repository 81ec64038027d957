"""A node made of an archive: the same log, the same tables, and another node id.

It is put together in a draft (`gateway.draft`) and takes its place when all of it is there and
proven. Whatever kills a restore, the same one run again goes on: commits that were stored are
compared and not sent again.
"""

from __future__ import annotations

import asyncio
import re
import shutil
import tempfile
from collections.abc import Collection, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from actors.__main__ import durables
from actors.archive import Archive, Proof, erased_by
from actors.archive_files import Damaged, opened
from actors.archive_manifest import Manifest, Unsuitable
from actors.projection_file import Poison, ProjectionFile
from actors.projection_folder import ProjectionFolder
from actors.rooms import statements
from bus.attachment import Bus, attached, prepared
from bus.crypto.identity import Identity, identity, new_secrets
from bus.faults import point
from bus.holding import hold
from bus.identity_file import FILE, keep, require_strength
from bus.inspection import noted
from bus.key_copy import KeyCopy, erase, opened_keys, put_vault
from bus.key_table import VaultUnusable
from bus.log import Stored
from bus.marks import storage
from bus.refill import refill
from bus.server import broker
from bus.telemetry import Telemetry
from bus.vault_file import DIRECTORY as VAULT
from bus.vault_file import overwrite_keys, vault_after
from gateway.__main__ import PROJECTIONS
from gateway.backup import Progress, Room
from gateway.draft import Draft
from gateway.node import passphrase
from gateway.reads import Reads
from schemas.settings import Settings

SEALED = b'"sealed":{'
KEY_NAME = re.compile(rb'"key":"([0-9a-f]{1,12})-[0-9a-f]+"')
"""How a sealed field names its key: by the segment in which it lies, and its place there."""
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


async def prove(
    settings: Settings, path: Path, progress: Progress, unseal: str | None = None
) -> Proven:
    """That the archive at *path* is whole, and what a restore would make of it; nothing is kept.

    With *unseal*, a passphrase, also that it opens the keys, and that they are whole. Raises as
    `restore` does.
    """
    with opened(path) as files, tempfile.TemporaryDirectory(prefix="canopy-") as place:
        archive = Archive(files)
        manifest, proof = archive.manifest, Proof(archive)
        await asyncio.to_thread(unsealed, archive, unseal)
        for part in manifest.parts:
            await asyncio.to_thread(proof.take, part)
            progress(part.last, manifest.last)
        proof.end()
        limit = settings.projection_memory_bytes_max
        file = ProjectionFile(Path(place, "tables.duckdb"), statements(), manifest.epoch, limit)
        with closing(file):
            await asyncio.to_thread(archive.fill, file, lambda part: None)
            return Proven(manifest, await asyncio.to_thread(proof.tables, file))


@dataclass(frozen=True, slots=True)
class Wish:
    """How an archive is restored: `unseal` opens the keys that came along (None leaves them aside),
    `erased` are later archives whose erasures count here too, and with `reread` the log is read
    back and the tables are made of that a second time."""

    unseal: str | None = None
    erased: tuple[Path, ...] = ()
    reread: bool = False


async def restore(
    settings: Settings, path: Path, progress: Progress, wish: Wish | None = None
) -> Proven:
    """A node in the settings' directory, which was empty, made of the archive at *path*.

    Raises `Damaged`, `Unsuitable`, `Poison`, `actors.archive_files.Taken`, `gateway.backup.NoRoom`,
    `PassphraseWrong` or `Unsealable`, `bus.log.Unstored`, and what keeps a node from
    running; no node can start in the directory then.
    """
    if settings.nats_url:
        raise Unsuitable("a node is restored with its own broker: unset nats_url")
    require_strength(passphrase(settings))  # Now, and not when all but the identity is there.
    started = datetime.now(UTC).isoformat(timespec="seconds")
    with opened(path) as files:
        archive = Archive(files)
        with hold(settings.data_directory, started):
            draft = Draft(settings.data_directory, archive.digest)
            compared = archive.manifest.tables.version == statements().version
            if not draft.made:
                wish = wish or Wish()
                keys = await asyncio.to_thread(unsealed, archive, wish.unseal)
                later = await asyncio.to_thread(_erased, wish.erased)
                room = Room(settings.data_directory / FILE, settings.disk_reserve_bytes)
                room.require(ROOM_SHARE * archive.manifest.payload_bytes)
                draft.begin()
                making = Making(settings, archive, draft, progress)
                compared = await making.run(keys, later, reread=wish.reread)
            draft.move()
            return Proven(archive.manifest, compared, draft.made)


def unsealed(archive: Archive, passphrase: str | None) -> KeyCopy | None:
    """The keys in *archive*, None without a passphrase. Raises `PassphraseWrong`, `Unsealable`, or
    `Unsuitable` when none came along."""
    if passphrase is None:
        return None
    sealed = archive.keys()
    if sealed is None:
        raise Unsuitable("there are no keys in it that a passphrase could open")
    return opened_keys(sealed, passphrase)


def _erased(later: tuple[Path, ...]) -> set[str]:
    """Whose keys were destroyed by the time of the archives that were taken *later*."""
    owners: set[str] = set()
    for path in later:
        with opened(path) as files:
            owners |= Archive(files).erased()
    return owners


class Making:
    """Fills the draft of a data directory."""

    def __init__(
        self, settings: Settings, archive: Archive, draft: Draft, progress: Progress
    ) -> None:
        self._settings = settings.model_copy(
            update={"data_directory": draft.path, "nats_port": 0}  # The old node may run on.
        )
        self._archive = archive
        self._draft = draft
        self._progress = progress
        self._proof = Proof(archive)
        self._erased: set[str] = set()
        """Whose keys are to be destroyed, as the log calls for."""
        self._segment = 0
        """The last segment of a vault of which the log names a key."""

    async def run(self, keys: KeyCopy | None, erased: Collection[str], *, reread: bool) -> bool:
        """All of the node is in the draft: whether its tables were compared. It has the root and
        the vault of *keys*, but for the keys of who is *erased*, here or in its own log."""
        fresh = new_secrets()
        node = identity(replace(fresh, root=keys.root) if keys else fresh)
        try:
            compared = await self._fill(node, reread=reread)
            await asyncio.to_thread(self._identify, node, keys)
            if keys is not None and keys.vault:
                await erase(self._draft.path, node, self._erased | set(erased))
        except (Damaged, Poison, VaultUnusable):
            self._draft.discard()  # Trying again would end alike.
            raise
        await asyncio.to_thread(self._draft.finish, node.node_id)
        return compared

    def _identify(self, node: Identity, keys: KeyCopy | None) -> None:
        """The draft has an identity, and the vault that goes with it."""
        overwrite_keys(self._draft.path)
        for one in (self._draft.path / FILE, self._draft.path / VAULT):
            _gone(one)  # An earlier attempt has made another.
        keep(self._draft.path, node, passphrase(self._settings))
        if keys is None and self._segment:
            vault_after(self._draft.path, node, self._segment + 1)
        elif keys is not None and keys.vault:
            put_vault(self._draft.path, keys)

    async def _fill(self, node: Identity, *, reread: bool) -> bool:
        settings, telemetry = self._settings, Telemetry("canopy-restore")
        async with broker(settings) as running:
            await prepared(running.endpoint, settings, durables())
            async with attached(running.endpoint, "actors", node, settings, telemetry) as bus:
                await self._log(bus)
                await self._marked(bus)
                compared = await asyncio.to_thread(self._tables, bus.log.epoch)
                if reread:
                    await _reread(bus)
        return compared

    async def _log(self, bus: Bus) -> None:
        """All commits lie in the log; those that an earlier attempt has stored are compared."""
        head = await bus.log.head()
        for part in self._archive.manifest.parts:
            commits = await asyncio.to_thread(self._proof.take, part)
            self._erased |= erased_by(commits)
            self._segment = max(self._segment, _last_segment(commits))
            if part.first <= head:
                there = await _read(bus, part.first - 1, min(part.last, head))
                if there != commits[: len(there)]:
                    raise Damaged("the log of the earlier attempt is not this one")
                commits = commits[len(there) :]
            await refill(bus.wire, bus.settings, commits)
            self._progress(part.last, self._archive.manifest.last)
        self._proof.end()

    async def _marked(self, bus: Bus) -> None:
        """What is known of the log beside it is what can be read of it now: what was copied."""
        kept = storage(bus.settings)
        try:
            ledger = await noted(bus.log, kept, self._archive.manifest.last)
        finally:
            kept.close()
        if ledger.tip.digest.hex() != self._archive.manifest.chain:
            raise Damaged("the log that was restored is not the one that was copied")

    def _tables(self, epoch: str) -> bool:
        """The tables are made of the archive: whether they were compared."""
        place = self._draft.path / PROJECTIONS
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir(mode=0o700)
        limit = self._settings.projection_memory_bytes_max
        with closing(ProjectionFolder(place, statements(), epoch, limit).fresh()) as file:
            self._archive.fill(file, lambda part: point("restore.folded"))
            return self._proof.tables(file)


def _last_segment(commits: Sequence[Stored]) -> int:
    """The last segment of a vault of which *commits* name a key, 0 when they name none."""
    sealed = (one.payload for one in commits if SEALED in one.payload)
    return max((int(n, 16) for payload in sealed for n in KEY_NAME.findall(payload)), default=0)


def _gone(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


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

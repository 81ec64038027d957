"""A data directory that is being put together: within the one it will be, and in its place at last.

It lies on the same file system, so taking its place is renaming. The identity moves last, and
`bus.identity_file` lets no node start beside a draft without one.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import msgspec
from msgspec import Struct

from actors.archive_files import Taken
from bus.faults import point
from bus.files import sync_directory, written
from bus.holding import FILE as LOCK
from bus.identity_file import FILE, RESTORING
from bus.vault_file import overwrite_keys

PLAN = "restore.json"
FRESH = "lost+found"
"""What a new volume holds already."""


class Plan(Struct, frozen=True):
    """What a draft is to become: of which archive, and as which node once all of it is there."""

    archive: str
    node: str = ""


class Draft:
    """The draft of one archive (`archive` is the digest of its manifest) in a data directory.

    The caller holds the directory. Raises `Taken` when something else is there.
    """

    def __init__(self, data: Path, archive: str) -> None:
        self.path = data / RESTORING
        self._data = data
        self._wanted = archive
        plan = self._plan()
        self.made = plan.node if plan.archive == archive else ""
        """The node that it has become, whether or not it is in its place; empty before."""
        if plan.node and not self.made:
            raise Taken(
                f"{data} holds the restore of another archive, which has only to take its place: "
                f"run that one again, or remove {self.path}"
            )
        others = sorted({one.name for one in data.iterdir()} - {LOCK, RESTORING, FRESH})
        if others and not self.made:
            raise Taken(f"{data} is not empty ({', '.join(others[:3])}): choose another --data")

    def begin(self) -> None:
        """There is a draft of this archive: the one that was begun before, or an empty one."""
        if self._plan().archive != self._wanted:
            self.discard()
            self.path.mkdir(mode=0o700)
            written(self.path / PLAN, msgspec.json.encode(Plan(self._wanted)).decode())
            sync_directory(self._data)
        point("restore.begun")

    def finish(self, node: str) -> None:
        """All of *node* is in the draft, and on the disk."""
        os.sync()
        written(self.path / PLAN, msgspec.json.encode(Plan(self._wanted, node)).decode())
        self.made = node
        point("restore.made")

    def move(self) -> None:
        """All that is in the draft is in its place, and the draft is gone."""
        for one in sorted(self.path.iterdir()):
            if one.name not in (PLAN, FILE):
                one.rename(self._data / one.name)
        sync_directory(self._data)
        point("restore.moving")
        if (self.path / FILE).exists():
            (self.path / FILE).rename(self._data / FILE)
            sync_directory(self._data)
        point("restore.moved")
        self.discard()

    def discard(self) -> None:
        """There is no draft, and nothing opens what lay in its vault."""
        if self.path.exists():
            overwrite_keys(self.path)
            shutil.rmtree(self.path)
            sync_directory(self._data)

    def _plan(self) -> Plan:
        try:
            return msgspec.json.decode((self.path / PLAN).read_bytes(), type=Plan)
        except FileNotFoundError:
            return Plan("")

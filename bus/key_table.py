"""The top of the vault: which segments there are, under which keys, and one key above them all.

    keys             two slots of 4 KiB; the one in force holds the table key, sealed by the root
    table-<g>        the key of every segment, sealed under the table key of generation g
    segment-<n>-<g>  up to 4,096 keys, each sealed under the key of its segment (`bus.vault`)

To *turn* the table is to begin a new generation: a new table under a new table key goes beside the
old one, then the new table key into the slot that is empty, then the old slot is overwritten where
it lies. From then on nothing opens what the old table key was for, wherever copies of it survive on
the medium (ADR 0016). Blocks; whoever writes holds the lock `vault`.
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Mapping

import orjson
from msgspec import Struct
from msgspec.structs import replace

from bus.crypto.content import Unsealable, new_key, unwrapped, wrapped
from bus.crypto.identity import Identity
from bus.faults import point
from bus.identity_file import IdentityUnusable
from bus.storage import Files, Storage

SLOTS = "keys"
SLOT_BYTES = 4096
BLANK = b"\0" * SLOT_BYTES
MAGIC = "canopy-vault-1"


class VaultUnusable(IdentityUnusable):
    """The vault cannot be opened as it lies there: the *problem*, and what to do."""

    def __init__(self, problem: str, remedy: str) -> None:
        super().__init__(f"{problem}. {remedy}")
        self.problem = problem
        self.remedy = remedy


class Segment(Struct, frozen=True):
    """Where the records of a segment lie, and the key they are sealed under. `records` is how many
    there are at least."""

    generation: int
    key: bytes
    records: int = 0


class Table(Struct, frozen=True):
    """One generation of the key table. Segments are numbered from 1; `next` is the next number."""

    generation: int
    key: bytes
    next: int
    segments: Mapping[int, Segment]


class StoredTable:
    """The key table of one vault, called *vault*, as its *files* have it; *where* they are, for
    people."""

    def __init__(self, files: Files, identity: Identity, vault: str, where: str) -> None:
        self._files = files
        self._identity = identity
        self._vault = vault
        self._where = where

    def slots(self) -> bytes:
        """What the slots hold; other bytes mean another generation. Raises `VaultUnusable`."""
        try:
            return self._files.read(SLOTS)
        except FileNotFoundError as error:
            raise self._unusable("is not there") from error
        except OSError as error:
            raise self._unusable(f"cannot be read ({error.strerror})") from error

    def load(self) -> Table:
        """The table in force. Raises `VaultUnusable`."""
        slots = self.slots()
        try:
            return self._found(slots)
        except VaultUnusable:
            if self.slots() == slots:
                raise
            return self.load()  # Another process has turned it while we were looking.

    def _found(self, slots: bytes) -> Table:
        found = [self._opened(slot) for slot in _cut(slots)]
        valid = [one for one in found if one is not None]
        if not valid:
            raise self._unusable("is damaged or another node's: nothing in it opens for this one")
        generation, key = max(valid)
        try:
            box = self._files.read(_table(generation))
            told = orjson.loads(unwrapped(key, box, self._aad("table", generation)))
            segments = {
                int(number): Segment(at, b64decode(sealed_by), records)
                for number, (at, sealed_by, records) in told["segments"].items()
            }
            return Table(generation, key, int(told["next"]), segments)
        except FileNotFoundError as error:
            raise self._unusable(f"has lost its file {_table(generation)}") from error
        except (Unsealable, ValueError, KeyError, TypeError) as error:
            raise self._unusable(f"has a damaged file {_table(generation)}") from error

    def check(self, table: Table, record_bytes: int) -> None:
        """Every segment is there, and not shorter than it was. Raises `VaultUnusable`."""
        for number, one in table.segments.items():
            name = segment_file(number, one.generation)
            try:
                size = self._files.size(name)
            except FileNotFoundError as error:
                raise self._unusable(f"has lost its file {name}") from error
            if size < one.records * record_bytes:
                raise self._unusable(f"has only a part of its file {name}")

    def _opened(self, slot: bytes) -> tuple[int, bytes] | None:
        """(generation, table key), or None for a slot that is blank, was not written or not
        overwritten whole, or belongs to another vault."""
        try:
            magic, vault, generation, sealed = slot.rstrip(b"\0").decode().split(" ")
            if (magic, vault) != (MAGIC, self._vault) or not sealed.endswith("\n"):
                return None
            aad = self._aad("slot", int(generation))
            return int(generation), self._identity.unseal("vault", sealed[:-1], aad)
        except (ValueError, Unsealable):
            return None

    def _aad(self, what: str, generation: int) -> bytes:
        return f"{what} {self._vault} {generation}".encode()

    def _unusable(self, problem: str) -> VaultUnusable:
        return VaultUnusable(
            f"{self._where} {problem}",
            "Put back the vault and identity.json of one backup, both together; without its keys "
            "what was said in private channels cannot be read, and a new vault is never made over "
            "an old log.",
        )


class KeyTable(StoredTable):
    """The key table of one vault, and how it is changed."""

    def __init__(self, storage: Storage, identity: Identity, vault: str, where: str) -> None:
        super().__init__(storage, identity, vault, where)
        self._storage = storage

    def create(self, following: int = 1) -> None:
        """Begin an empty vault in the place of whatever lies there. Its segments are numbered from
        *following*: what has a lower number counts as destroyed."""
        for name in self._storage.names():
            self._storage.remove(name)
        first = Table(1, new_key(), following, {})
        self._write(first)
        self._storage.put(SLOTS, 0, BLANK + BLANK)
        self._storage.put(SLOTS, _offset(1), self._slot(first))

    def counted(self, table: Table, record_bytes: int) -> Table:
        """*table* with how many records each segment has by now, durably: of one that is cut off
        later it will be known. Raises `VaultUnusable` when one was cut already, or is gone."""
        self.check(table, record_bytes)
        segments = dict(table.segments)
        for number, one in table.segments.items():
            name = segment_file(number, one.generation)
            there = self._storage.size(name) // record_bytes
            if there > one.records:
                self._storage.append(name, b"")  # Its writer may have died before it was durable.
                segments[number] = replace(one, records=there)
        return replace(table, segments=segments)

    def add(self, table: Table) -> tuple[int, Table]:
        """A new segment, empty, and the table with it."""
        number = table.next
        segments = dict(table.segments)
        segments[number] = Segment(table.generation, new_key())
        self._storage.replace(segment_file(number, table.generation), b"")
        point("vault.grown")
        grown = Table(table.generation, table.key, number + 1, segments)
        self._write(grown)
        return number, grown

    def turn(self, table: Table, segments: Mapping[int, Segment]) -> Table:
        """The next generation, with *segments*, which lie on the disk already; and nothing opens
        this one any more."""
        turned = Table(table.generation + 1, new_key(), table.next, segments)
        self._write(turned)
        point("vault.tabled")
        self._storage.put(SLOTS, _offset(turned.generation), self._slot(turned))
        point("vault.turned")
        self.settle(turned)
        return turned

    def settle(self, table: Table) -> None:
        """No slot but that of *table* holds anything, and no file but its own is there: what a
        crash may have left half-way is finished, or undone."""
        place = _offset(table.generation + 1)
        if self.slots()[place : place + SLOT_BYTES] != BLANK:
            self._storage.put(SLOTS, place, BLANK)
            point("vault.overwritten")
        kept = {segment_file(number, one.generation) for number, one in table.segments.items()}
        kept |= {SLOTS, _table(table.generation)}
        for name in self._storage.names():
            if name.startswith(("table-", "segment-")) and name not in kept:
                self._storage.remove(name)

    def _write(self, table: Table) -> None:
        told = {
            "next": table.next,
            "segments": {
                str(number): (one.generation, b64encode(one.key).decode(), one.records)
                for number, one in table.segments.items()
            },
        }
        box = wrapped(table.key, orjson.dumps(told), self._aad("table", table.generation))
        self._storage.replace(_table(table.generation), box)

    def _slot(self, table: Table) -> bytes:
        aad = self._aad("slot", table.generation)
        sealed = self._identity.seal("vault", table.key, aad)
        text = f"{MAGIC} {self._vault} {table.generation} {sealed}\n".encode()
        return text.ljust(SLOT_BYTES, b"\0")


def segment_file(number: int, generation: int) -> str:
    """The name of the file that holds a segment as *generation* wrote it."""
    return f"segment-{number}-{generation}"


def _table(generation: int) -> str:
    return f"table-{generation}"


def _offset(generation: int) -> int:
    """Where the slot of *generation* begins: the two take turns."""
    return generation % 2 * SLOT_BYTES


def _cut(slots: bytes) -> tuple[bytes, bytes]:
    return slots[:SLOT_BYTES], slots[SLOT_BYTES : 2 * SLOT_BYTES]

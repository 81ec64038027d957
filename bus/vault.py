"""The vault: the keys of what was said in private, outside the log and outside the tables.

The ciphertext of a private message stays in the log, in the tables, in backups and in blocks that
the disk has freed, for ever. Its key lies here and nowhere else, so destroying the key erases the
message (ADR 0016). `keep` makes a key durable before anything is sealed under it; `find` gives it
back, or None once it was destroyed; `destroy` destroys all keys of an owner.

An owner is named by up to three tokens, `<noun>.<key>`; who destroys `message.c1` destroys what
`message.c1.m1` owns. A key's name tells where it lies (`<segment>-<record>`, in hex), so finding
one needs no index. Several processes write, each into a segment of its own; all of them see what
the others do. What writes runs in a thread of its own; `find` may read a file where it is
called, and never waits for a write.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from hashlib import blake2b
from threading import RLock

import structlog
from msgspec import Struct

from bus.crypto.content import Unsealable, new_key
from bus.crypto.identity import Identity
from bus.faults import point
from bus.gathering import Gathering, Wish
from bus.key_record import (
    DAMAGED,
    NOBODYS,
    RECORD_BYTES,
    TAGS_BYTES,
    destroyed,
    opened,
    owned,
    packed,
    records_of,
    tag,
    tags_of,
    where,
)
from bus.key_table import KeyTable, Segment, Table, segment_file
from bus.storage import Storage

LOCK = "vault"
RECORDS_MAX = 4096
"""In one segment."""
KEPT_AT_ONCE_MAX = 1024
"""Keys that share one write to the disk."""
DESTROYED_AT_ONCE_MAX = 4096
"""Owners whose keys are destroyed in one rewriting."""
CACHED_KEYS_MAX = 20_000
CACHED_SEGMENTS_MAX = 32
TURNS_MAX = 8

log = structlog.get_logger()


class KeyDamaged(Exception):
    """The vault should hold this key, and does not: its record was changed, or its file cut."""


class Kept(Struct, frozen=True):
    """A key that is on the disk, and its name."""

    name: str
    key: bytes


class Vault:
    """The vault of one node as one process sees it."""

    def __init__(
        self, storage: Storage, identity: Identity, name: str, where: str = "the vault"
    ) -> None:
        """Opens the vault called *name*. Raises `VaultUnusable` when it cannot be opened whole."""
        self._storage = storage
        self._name = name
        self._top = KeyTable(storage, identity, name, where)
        self._worker = ThreadPoolExecutor(1, "vault")
        self._keeping = Gathering(self._worker, self._keep, KEPT_AT_ONCE_MAX)
        self._destroying = Gathering(self._worker, self._destroy, DESTROYED_AT_ONCE_MAX)
        self._mutex = RLock()
        self._segment = 0
        self._records = 0
        self._keys: OrderedDict[str, bytes] = OrderedDict()
        self._checked: dict[tuple[int, int], tuple[int, bytes]] = {}
        """Segment → how many bytes of it were as they should be, and their digest."""
        self._raw: OrderedDict[tuple[int, int], bytes] = OrderedDict()
        with storage.locked(LOCK):
            self._slots = self._top.slots()
            self._table = self._top.load()
            self._top.settle(self._table)
            self._slots = self._top.slots()
            self._top.check(self._table, RECORD_BYTES)

    async def keep(self, owner: str, timeout_s: float) -> Kept:
        """A fresh key of *owner*, durable. Keys that are wanted meanwhile share the write.

        Raises OSError when the disk does not take it, TimeoutError, `VaultUnusable`.
        """
        kept = await self._keeping.done(owner, timeout_s)
        if kept is None:
            raise LookupError("a key that was asked for was not kept")
        return kept

    async def destroy(self, owner: str, timeout_s: float) -> None:
        """Nothing opens any longer what was sealed under a key of *owner*, in any process.

        Owners who wait together share the work. Raises OSError, TimeoutError, `VaultUnusable`: then
        it is not known, and has to be asked for again.
        """
        await self._destroying.done(owner, timeout_s)

    def _keep(self, wishes: Sequence[Wish[Kept]]) -> None:
        rest = list(wishes)
        for _ in range(TURNS_MAX):
            with self._storage.locked(LOCK, shared=True):
                self._refresh()
                while rest and self._segment and self._records < RECORDS_MAX:
                    fitting = RECORDS_MAX - self._records
                    self._append(rest[:fitting])
                    rest = rest[fitting:]
            if not rest:
                point("vault.kept")
                return
            with self._storage.locked(LOCK):
                self._refresh()
                table = self._counted()  # Others may have added segments of theirs.
                self._segment, table = self._top.add(table)
                self._records = 0
                with self._mutex:
                    self._table = table
        raise TimeoutError("the vault is turned again and again")

    def _append(self, wishes: Sequence[Wish[Kept]]) -> None:
        """A key for each, in one write. If it fails this segment gets no more."""
        number, first = self._segment, self._records
        segment = self._table.segments[number]
        fresh = [(wish, new_key(), tags_of(wish.what)) for wish in wishes]
        records = [
            packed(segment.key, where(self._name, number, index), tags, key)
            for index, (_, key, tags) in enumerate(fresh, first)
        ]
        self._segment = 0
        self._storage.append(segment_file(number, segment.generation), b"".join(records))
        self._segment, self._records = number, first + len(records)
        with self._mutex:
            for index, (wish, key, _) in enumerate(fresh, first):
                wish.outcome = Kept(f"{number:x}-{index:x}", key)
                self._cache(wish.outcome.name, key)

    def _counted(self) -> Table:
        """The table in force, with what has been written since."""
        table = self._top.counted(self._top.load(), RECORD_BYTES)
        for number, one in table.segments.items():
            if number != self._segment:
                self._storage.release(segment_file(number, one.generation))
        return table

    def look(self) -> None:
        """Raises `VaultUnusable` when the vault cannot be opened any more. Reads it where it is
        called."""
        self._top.load()

    def find(self, name: str) -> bytes | None:
        """The key of that name; None when it was destroyed.

        Raises `KeyDamaged` when it should be there and is not, `VaultUnusable` when the whole vault
        cannot be opened any more. May be called from any thread.
        """
        number, index = _parsed(name)
        with self._mutex:
            self._refresh()
            if (known := self._keys.get(name)) is not None:
                self._keys.move_to_end(name)
                return known
            record = self._record(number, index)
            if record is None:
                return None
            key = self._unwrapped(self._table, number, index, record)
            if destroyed(record):
                return None
            self._cache(name, key)
            return key

    def _record(self, number: int, index: int) -> bytes | None:
        """The bytes of one record; None when its whole segment was destroyed."""
        for _ in range(TURNS_MAX):
            segment = self._table.segments.get(number)
            if segment is None:
                self._table = self._top.load()
                segment = self._table.segments.get(number)
            if segment is None:
                if number >= self._table.next:
                    raise KeyDamaged(
                        f"key {number:x}-{index:x} is of another vault, or a later one"
                    )
                return None
            try:
                raw = self._read(number, segment, index)
            except FileNotFoundError:  # Turned between the look at the slots and this one.
                self._table = self._top.load()
                continue
            if len(raw) < (index + 1) * RECORD_BYTES:
                raise KeyDamaged(f"the record of key {number:x}-{index:x} is cut off")
            return raw[index * RECORD_BYTES : (index + 1) * RECORD_BYTES]
        raise KeyDamaged(f"the file of key {number:x}-{index:x} is gone")

    def _read(self, number: int, segment: Segment, index: int) -> bytes:
        """A segment's file as it was read last, or anew when it did not reach so far."""
        place = (number, segment.generation)
        raw = self._raw.get(place, b"")
        if len(raw) < (index + 1) * RECORD_BYTES:
            raw = self._raw[place] = self._storage.read(segment_file(number, segment.generation))
        self._raw.move_to_end(place)
        while len(self._raw) > CACHED_SEGMENTS_MAX:
            self._raw.popitem(last=False)
        return raw

    def _unwrapped(self, table: Table, number: int, index: int, record: bytes) -> bytes:
        try:
            return opened(table.segments[number].key, where(self._name, number, index), record)
        except Unsealable as error:
            raise KeyDamaged(f"the record of key {number:x}-{index:x} was changed") from error

    def _destroy(self, wishes: Sequence[Wish[None]]) -> None:
        tags = {tag(wish.what) for wish in wishes}
        with self._storage.locked(LOCK):
            table = self._counted()
            segments = dict(table.segments)
            touched = 0
            for number, segment in table.segments.items():
                raw = self._storage.read(segment_file(number, segment.generation))
                hits = {index for index, record in records_of(raw) if owned(record, tags)}
                # Nobody can tell whose a changed record was: its key goes with the old segment.
                if self._changed(table, number, raw) or hits:
                    touched += 1
                    del segments[number]
                    segments |= self._rewritten(number, raw, hits, table)
            if touched:
                self._top.turn(table, segments)
            else:  # Whoever destroyed them before may have failed with the old slot in place.
                self._top.settle(table)
            self._refresh()
        log.info("keys_destroyed", owners=len(tags), segments=touched)
        point("vault.erased")

    def _changed(self, table: Table, number: int, raw: bytes) -> bool:
        """Whether a record was changed; what was found as it should be is not opened again."""
        place = (number, table.segments[number].generation)
        length, digest = self._checked.get(place, (0, _digest(b"")))
        if _digest(raw[:length]) != digest:
            length = 0
        for index, record in records_of(raw):
            if index * RECORD_BYTES < length or record == DAMAGED:
                continue
            try:
                self._unwrapped(table, number, index, record)
            except KeyDamaged:
                return True
        whole = len(raw) // RECORD_BYTES * RECORD_BYTES
        self._checked[place] = (whole, _digest(raw[:whole]))
        return False

    def _rewritten(
        self, number: int, raw: bytes, hits: Collection[int], table: Table
    ) -> dict[int, Segment]:
        """The segment anew, under a fresh key and with nobody's keys for *hits*; nothing, when
        nothing of it is left. A record that no longer opens stays known as damaged."""
        fresh = Segment(table.generation + 1, new_key(), len(raw) // RECORD_BYTES)
        records: list[bytes] = []
        for index, record in records_of(raw):
            tags, key = NOBODYS, new_key()
            if index not in hits:
                try:
                    tags, key = record[:TAGS_BYTES], self._unwrapped(table, number, index, record)
                except KeyDamaged:
                    log.critical("key_damaged", key=f"{number:x}-{index:x}")
                    records.append(DAMAGED)
                    continue
            records.append(packed(fresh.key, where(self._name, number, index), tags, key))
        if all(destroyed(record) for record in records):
            return {}
        self._storage.replace(segment_file(number, fresh.generation), b"".join(records))
        point("vault.rewritten")
        return {number: fresh}

    def _refresh(self) -> None:
        """See whether the table was turned; if so, forget everything of the one before."""
        with self._mutex:
            slots = self._top.slots()
            if slots == self._slots:
                return
            before, self._table = self._table.segments, self._top.load()
            self._slots = slots
            mine, after = self._segment, self._table.segments
            if mine and (mine not in after or after[mine].generation != before[mine].generation):
                self._storage.release(segment_file(mine, before[mine].generation))
                self._segment = self._records = 0
            at = {(number, one.generation) for number, one in after.items()}
            self._checked = {place: one for place, one in self._checked.items() if place in at}
            self._keys.clear()
            self._raw.clear()

    def _cache(self, name: str, key: bytes) -> None:
        self._keys[name] = key
        while len(self._keys) > CACHED_KEYS_MAX:
            self._keys.popitem(last=False)

    def close(self) -> None:
        """End the thread, once it has done what it is at."""
        self._worker.shutdown(wait=True, cancel_futures=True)
        self._storage.close()


def _digest(raw: bytes) -> bytes:
    return blake2b(raw, digest_size=32).digest()


def _parsed(name: str) -> tuple[int, int]:
    """(segment, record) of a name. Raises `KeyDamaged` for what is no name of ours."""
    number, _, index = name.partition("-")
    try:
        return int(number, 16), int(index, 16)
    except ValueError as error:
        raise KeyDamaged(f"{name!r} is no name of a key") from error

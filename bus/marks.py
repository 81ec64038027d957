"""High-water marks: what has been acknowledged is known outside of the log.

The broker does not say that it lost something: after damage it hands out the same positions again,
in good health. So before anybody learns that a commit is stored, its position is written beside the
log and synced. A log that ends before a mark has lost its tail (ADR 0015).

Every writing process has a mark of its own, `high-<n>`: two records in turn, overwritten in place,
so that one of them is whole whenever the power goes. Which process has which is decided by locks.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Protocol

from bus.chain import GENESIS, RECORD_BYTES, Place, alone, packed, unpacked
from bus.log import Stored
from bus.storage import Storage, storage_at
from schemas.settings import Settings

DIRECTORY = "marks"
PREFIX = "high-"
TIP = "tip"
SLOTS_MAX = 256
"""Writing processes on one data directory."""
SLIP = 10_000
"""Positions by which answers of one broker may overtake each other: leaders change."""
APART = 4096
"""Bytes between the two records of a mark or a tip: no disk writes both at once."""


class Reused(Exception):
    """The broker gave a position that lies behind what it had acknowledged: `seq`."""

    def __init__(self, seq: int, mark: int) -> None:
        super().__init__(f"the broker gave position {seq} after it had acknowledged {mark}")
        self.seq = seq


class MarksDamaged(Exception):
    """A file of marks holds no whole record. `name` is the file."""

    def __init__(self, name: str) -> None:
        super().__init__(f"marks/{name} holds no whole record")
        self.name = name


class Mark(Protocol):
    """What a writer of the log raises before it acknowledges."""

    seq: int
    """What has been marked so far."""

    async def reach(self, stored: Sequence[Stored]) -> None:
        """Returns once it is durably known that the log has what was just *stored*, in the order of
        positions, and so all before it.

        Raises OSError when that cannot be written down, and `Reused`.
        """

    async def cover(self, found: Stored) -> None:
        """Returns once that is known of *found*, which was read and not appended here.

        Raises OSError when that cannot be written down.
        """

    async def acknowledged(self) -> int:
        """The highest position that any process of the node has acknowledged so far; 0 for none,
        and for a process that keeps no mark."""


class Unmarked:
    """The mark of a process that does not write."""

    seq = 0

    async def reach(self, stored: Sequence[Stored]) -> None:
        """Nothing is written down."""

    async def cover(self, found: Stored) -> None:
        """Nothing is written down."""

    async def acknowledged(self) -> int:
        return 0


class Unmarkable:
    """The mark of a process whose marks cannot be read: nothing is acknowledged."""

    seq = 0

    async def reach(self, stored: Sequence[Stored]) -> None:
        raise OSError("the marks cannot be read")

    async def cover(self, found: Stored) -> None:
        raise OSError("the marks cannot be read")

    async def acknowledged(self) -> int:
        return 0


class Slots:
    """A small file that holds one place: two records in turn, the greater one counts."""

    def __init__(self, storage: Storage, name: str) -> None:
        self._storage = storage
        self._name = name
        self._next = 0

    def read(self) -> tuple[str, Place] | None:
        """The epoch and the place that were put last; None for no file.

        Raises `MarksDamaged` when neither record is whole.
        """
        try:
            data = self._storage.read(self._name)
        except FileNotFoundError:
            return None
        found = [unpacked(data[at : at + RECORD_BYTES]) for at in (0, APART)]
        whole = [one for one in found if one is not None]
        if not whole:
            raise MarksDamaged(self._name)
        best = max(whole, key=lambda one: one[1].seq)
        self._next = 1 - found.index(best)
        return best

    def begin(self, epoch: str, place: Place) -> None:
        """The file holds *place* and nothing else."""
        record = packed(epoch, place)
        self._storage.replace(self._name, record.ljust(APART, b"\0") + bytes(RECORD_BYTES))
        self._next = 1

    def put(self, record: bytes) -> None:
        """*record* (`bus.chain.packed`) lies over the older of the two."""
        self._storage.put(self._name, self._next * APART, record)
        self._next = 1 - self._next  # One that failed half-way is written again, in its place.


class HighWater:
    """The mark of this process."""

    def __init__(self, storage: Storage, slots: Slots, epoch: str, seq: int) -> None:
        """*seq* is what has been acknowledged so far, by anybody."""
        self._storage = storage
        self._slots = slots
        self._epoch = epoch
        self.seq = self._floor = seq
        self._given: set[int] = set()
        """What this process was given, at least as far back as `SLIP`."""
        self._wanted: Stored | None = None
        self._raising: _Raising | None = None
        self._worker = ThreadPoolExecutor(1, "mark")

    async def reach(self, stored: Sequence[Stored]) -> None:
        self._given_once([one.seq for one in stored])
        await self.cover(stored[-1])

    def _given_once(self, seqs: Sequence[int]) -> None:
        """The broker has given these positions to this process, and never before. What another
        process was given within `SLIP` is not known here: its answer may have been overtaken."""
        least = max(self._floor, self.seq - SLIP)
        for seq in seqs:
            if seq <= least or seq in self._given:
                raise Reused(seq, max(self.seq, seq))
        self._given.update(seqs)
        if len(self._given) > 2 * SLIP:
            self._given = {seq for seq in self._given if seq > self.seq - SLIP}

    async def cover(self, found: Stored) -> None:
        if self._wanted is None or found.seq > self._wanted.seq:
            self._wanted = found
        while self.seq < found.seq:
            raising = self._raising or self._raise(self._wanted)
            await raising.ended.wait()
            if raising.error is not None and raising.place.seq >= found.seq:
                raise raising.error

    async def acknowledged(self) -> int:
        loop = asyncio.get_running_loop()
        return max(self.seq, await loop.run_in_executor(self._worker, self._marked))

    def _marked(self) -> int:
        try:
            return reached(self._storage, self._epoch)
        except MarksDamaged:
            return 0  # What this process knows itself must do; the notary tells of it.

    def _raise(self, wanted: Stored) -> _Raising:
        """One write for all that wait by now; who comes meanwhile waits for the next."""
        raising = self._raising = _Raising(alone(wanted))
        record = packed(self._epoch, raising.place)
        loop = asyncio.get_running_loop()
        writing = loop.run_in_executor(self._worker, self._slots.put, record)
        writing.add_done_callback(self._raised)
        return raising

    def _raised(self, writing: asyncio.Future[None]) -> None:
        raising, self._raising = self._raising, None
        assert raising is not None  # noqa: S101 - one is under way until this is called
        fault = writing.exception()
        if fault is None:
            self.seq = max(self.seq, raising.place.seq)
        elif isinstance(fault, OSError):
            raising.error = fault
        else:
            raising.error = OSError(f"the mark could not be raised: {fault!r}")
        raising.ended.set()

    def close(self) -> None:
        """What is being written is written; the slot is free for the next process."""
        self._worker.shutdown(wait=True)
        self._storage.close()


class _Raising:
    """One raise of the mark, under way."""

    def __init__(self, place: Place) -> None:
        self.place = place
        self.ended = asyncio.Event()
        self.error: OSError | None = None


def storage(settings: Settings) -> Storage:
    """The directory of the marks, for one room: each opens it for itself."""
    return storage_at(path(settings))


def path(settings: Settings) -> Path:
    """Where the marks lie."""
    return settings.data_directory / DIRECTORY


def marks(kept: Storage) -> dict[str, tuple[str, Place]]:
    """The marks of all processes, running or not: name → (epoch, place).

    Raises `MarksDamaged`.
    """
    found = {name: Slots(kept, name).read() for name in kept.names() if name.startswith(PREFIX)}
    return {name: one for name, one in found.items() if one is not None}


def highest(kept: Storage) -> int:
    """The greatest position that any file of marks knows of, of whatever log; 0 for none.

    Raises `MarksDamaged`.
    """
    tip = Slots(kept, TIP).read()
    places = [place for _, place in marks(kept).values()] + ([tip[1]] if tip else [])
    return max((place.seq for place in places), default=0)


def reached(kept: Storage, epoch: str) -> int:
    """The highest mark in the log of *epoch*; 0 for none. Raises `MarksDamaged`."""
    return max((place.seq for its, place in marks(kept).values() if its == epoch), default=0)


def high_water(kept: Storage, epoch: str) -> HighWater:
    """A mark for this process alone, in the log of *epoch*; it closes *kept* when it is closed.

    Blocks. Raises `MarksDamaged`, or OSError when there are too many writing processes.
    """
    seq = reached(kept, epoch)
    for nth in range(SLOTS_MAX):
        name = f"{PREFIX}{nth}"
        if kept.hold(name):
            slots = Slots(kept, name)
            found = slots.read()
            if found is None or (found[0] != epoch and not found[1].seq):
                slots.begin(epoch, GENESIS)
            return HighWater(kept, slots, epoch, seq)
    raise OSError(f"more than {SLOTS_MAX} processes write to one log")

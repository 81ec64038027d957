"""The ledger: the running hash at every thousandth position, and at the last one that was kept.

`ledger` holds a record for each position 0, 1,000, 2,000 …, at its place, so that any part of the
log can be proved by itself; `tip` holds the newest place in between. Both lie outside of the log
(ADR 0015).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from bus.alarm import Broken, Fault
from bus.chain import GENESIS, RECORD_BYTES, Place, link, packed, unpacked
from bus.faults import point
from bus.log import Stored
from bus.marks import TIP, MarksDamaged, Slots
from bus.storage import Storage

EVERY = 1000
"""Positions from one record to the next."""
FILE = "ledger"


class Ledger:
    """The hashes that were kept of the log of one `epoch`. Methods that touch files block."""

    def __init__(self, storage: Storage, epoch: str, records: bytes, tip: Place) -> None:
        self.epoch = epoch
        self.tip = tip
        self._storage = storage
        self._slots = Slots(storage, TIP)
        self._records = bytearray(records)

    @classmethod
    def load(cls, storage: Storage) -> Ledger | None:
        """What was kept; None when nothing was. Raises `MarksDamaged`."""
        try:
            records = storage.read(FILE)
        except FileNotFoundError:
            return None
        first = unpacked(records[:RECORD_BYTES])
        slots = Slots(storage, TIP)
        tip = slots.read()
        if first is None or tip is None:
            raise MarksDamaged(FILE if first is None else TIP)
        if first[0] != tip[0]:
            raise MarksDamaged(TIP)
        ledger = cls(storage, tip[0], records, tip[1])
        ledger._slots = slots
        return ledger

    @classmethod
    def begin(cls, storage: Storage, epoch: str) -> Ledger:
        """An empty ledger, in the place of any that was there."""
        Slots(storage, TIP).begin(epoch, GENESIS)
        first = packed(epoch, GENESIS)
        storage.replace(FILE, first)  # Last: without it there is no ledger.
        return cls(storage, epoch, first, GENESIS)

    def record(self, seq: int) -> Place | None:
        """What was kept for the position *seq*; None when nothing, or nothing whole."""
        if seq == self.tip.seq:
            return self.tip
        nth, between = divmod(seq, EVERY)
        if between:
            return None
        found = unpacked(bytes(self._records[nth * RECORD_BYTES : (nth + 1) * RECORD_BYTES]))
        whole = found is not None and found[0] == self.epoch and found[1].seq == seq
        return found[1] if found is not None and whole else None

    def before(self, seq: int) -> Place:
        """The last whole record at *seq* or earlier."""
        last = min(seq, self.tip.seq)
        for at in range(last - last % EVERY, -1, -EVERY):
            place = self.record(at)
            if place is not None:
                return place
        return GENESIS

    def keep(self, records: Sequence[Place], tip: Place) -> None:
        """*records* follow each other, a thousand apart; *tip* is not before the last of them."""
        if records:
            data = b"".join(packed(self.epoch, place) for place in records)
            offset = records[0].seq // EVERY * RECORD_BYTES
            self._storage.put(FILE, offset, data)
            self._records[offset : offset + len(data)] = data
        if tip != self.tip:
            point("ledger.kept")
            self._slots.put(packed(self.epoch, tip))
            point("tip.kept")
            self.tip = tip

    def heal(self, places: list[Place]) -> None:
        """Write records that were not whole anew, each by itself."""
        for place in places:
            self.keep([place], self.tip)


class Proof:
    """Holds what is read of the log against the ledger, from one place on; without one, hashes."""

    def __init__(self, ledger: Ledger | None, start: Place = GENESIS) -> None:
        self.place = start
        self.healed: list[Place] = []
        """Records that were not whole, and what they should be: proved by a later one."""
        self._ledger = ledger
        self._sound = start.seq
        self._unproved: list[Place] = []

    def hear(self, page: Iterable[Stored]) -> None:
        """*page* follows what was heard. Raises `Broken` when it is not what was hashed."""
        ledger = self._ledger
        for place in chained(self.place, page, ledger.tip.seq if ledger else 0):
            self.place = place
            if ledger is None:
                continue
            kept = ledger.record(place.seq)
            if kept is not None and kept.digest != place.digest:
                text = (
                    f"what the log holds from {self._sound + 1} to {place.seq} "
                    "is not what was written"
                )
                raise Broken(Fault("commit_changed", self._sound + 1, text))
            if kept is not None:
                self._sound = place.seq
                self.healed += self._unproved
                self._unproved = []
            elif place.seq % EVERY == 0 and place.seq < ledger.tip.seq:
                self._unproved.append(place)


def chained(place: Place, page: Iterable[Stored], also: int = 0) -> Iterator[Place]:
    """The places of *page*, which follows *place* without a gap, that are worth keeping: at each
    `EVERY`, at the position *also*, and the last."""
    seq, digest, told = place.seq, place.digest, place.seq
    for one in page:
        seq, digest = one.seq, link(digest, one)
        if seq % EVERY == 0 or seq == also:
            told = seq
            yield Place(seq, digest)
    if told != seq:
        yield Place(seq, digest)

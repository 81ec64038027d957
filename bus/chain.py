"""The running hash over the log, and how a place in it is kept in a file.

    H(0) = 32 zero bytes
    H(n) = BLAKE2b-256(H(n-1) ‖ n ‖ length of subject ‖ subject ‖ payload)

It binds every commit to all before it and to its position, not to one broker: a log that is
restored commit by commit has the same hash at the same position. Where the hashes are kept, and
what keeps them: `bus.ledger`, `bus.notary` (ADR 0015).
"""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import blake2b
from struct import Struct as Layout

from msgspec import Struct

from bus.log import Stored

DIGEST_BYTES = 32
CHECK_BYTES = 16
PERSON = b"canopy.log.chain"
CHECK_PERSON = b"canopy.log.place"
POSITION = Layout(">QH")
RECORD = Layout(f">8sQ{DIGEST_BYTES}s{CHECK_BYTES}s")
RECORD_BYTES = RECORD.size


class Place(Struct, frozen=True):
    """A position of the log and what was hashed there: the chain up to it, or its commit alone."""

    seq: int
    digest: bytes


GENESIS = Place(0, bytes(DIGEST_BYTES))
"""Where every chain begins."""


def link(before: bytes, one: Stored) -> bytes:
    """H at the position of *one*, when it is *before* at the one that precedes it."""
    subject = f"evt.{one.noun}.{one.key}".encode()
    head = before + POSITION.pack(one.seq, len(subject))
    return blake2b(head + subject + one.payload, digest_size=DIGEST_BYTES, person=PERSON).digest()


def alone(one: Stored) -> Place:
    """The place of *one*, hashed by itself: what a high-water mark remembers of it."""
    return Place(one.seq, link(GENESIS.digest, one))


def linked(place: Place, page: Iterable[Stored]) -> Place:
    """The chain at the end of *page*, which follows *place* without a gap."""
    seq, digest = place.seq, place.digest
    for one in page:
        seq, digest = one.seq, link(digest, one)
    return Place(seq, digest)


def packed(epoch: str, place: Place) -> bytes:
    """The record of *place* in the log of *epoch*: `RECORD_BYTES` with a checksum at the end."""
    bare = RECORD.pack(bytes.fromhex(epoch), place.seq, place.digest, b"")[:-CHECK_BYTES]
    return bare + _checksum(bare)


def unpacked(record: bytes) -> tuple[str, Place] | None:
    """The epoch and the place of a record; None when it is not one, or not whole."""
    if len(record) != RECORD_BYTES:
        return None
    bare, check = record[:-CHECK_BYTES], record[-CHECK_BYTES:]
    if _checksum(bare) != check:
        return None
    epoch, seq, digest, _ = RECORD.unpack(record)
    return epoch.hex(), Place(seq, digest)


def _checksum(bare: bytes) -> bytes:
    return blake2b(bare, digest_size=CHECK_BYTES, person=CHECK_PERSON).digest()

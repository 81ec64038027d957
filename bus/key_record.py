"""One record of a segment of the vault: whose key it is, and the key under that of the segment.

    two tags of 16 bytes   the owner's first two tokens, and all of its name; of nobody, zeros
    a sealed key           bound by the tags to its owner, by its number to its place

A key that was destroyed leaves a record of nobody, sealed as any other: that it is gone is read
there, and nothing that a disk writes or loses by itself can say so.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from functools import lru_cache
from hashlib import blake2b

from bus.crypto.content import unwrapped, wrapped

CACHED_TAGS_MAX = 4096
TAG_BYTES = 16
TAGS_BYTES = 2 * TAG_BYTES
SEALED_BYTES = 24 + 32 + 16
RECORD_BYTES = TAGS_BYTES + SEALED_BYTES
NOBODYS = b"\0" * TAGS_BYTES
DAMAGED = b"\xff" * RECORD_BYTES


def packed(segment_key: bytes, at: bytes, tags: bytes, key: bytes) -> bytes:
    """The record of *key* that belongs *at* its place."""
    return tags + wrapped(segment_key, key, at + tags)


def opened(segment_key: bytes, at: bytes, record: bytes) -> bytes:
    """The key in a record. Raises `Unsealable` for what does not belong there, whole."""
    tags, box = record[:TAGS_BYTES], record[TAGS_BYTES:]
    return unwrapped(segment_key, box, at + tags)


def where(vault: str, number: int, index: int) -> bytes:
    """What binds a record to its place in the vault of that name."""
    return f"record {vault} {number} {index} ".encode()


def tags_of(owner: str) -> bytes:
    """What tells whose a record is: its owner's first two tokens, and all of the owner's name."""
    return tag(".".join(owner.split(".")[:2])) + tag(owner)


@lru_cache(CACHED_TAGS_MAX)
def tag(owner: str) -> bytes:
    """What stands for one name of an owner."""
    return blake2b(owner.encode(), digest_size=TAG_BYTES, person=b"canopy owner").digest()


def owned(record: bytes, tags: Collection[bytes]) -> bool:
    """Whether a record belongs to one of the owners with these *tags*, or lies below it."""
    return record[:TAG_BYTES] in tags or record[TAG_BYTES:TAGS_BYTES] in tags


def destroyed(record: bytes) -> bool:
    """Whether a record that opens is that of a key which was destroyed."""
    return record[:TAGS_BYTES] == NOBODYS


def records_of(raw: bytes) -> Iterator[tuple[int, bytes]]:
    """Each whole record with its place; what a crash cut short was never told to be kept."""
    for index in range(len(raw) // RECORD_BYTES):
        yield index, raw[index * RECORD_BYTES : (index + 1) * RECORD_BYTES]

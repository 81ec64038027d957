"""What vouches for an archive: one small file that names every other, signed by its node."""

from __future__ import annotations

from base64 import b64decode

import msgspec
from msgspec import Struct

from actors.archive_files import Damaged
from bus.crypto.identity import Forged, node_id, verify

FORMAT = 1
MANIFEST = "manifest.json"
SIGNATURE = "manifest.sig"


class Part(Struct, frozen=True, forbid_unknown_fields=True):
    """The positions *first* to *last*: how many events there are, and the BLAKE2b-256 and size of
    each of its two files."""

    first: int
    last: int
    events: int
    commits_blake2b: str
    commits_bytes: int
    events_blake2b: str
    events_bytes: int

    @property
    def commits_name(self) -> str:
        return f"commits-{self.first:012d}.parquet"

    @property
    def events_name(self) -> str:
        return f"events-{self.first:012d}.parquet"


class Tables(Struct, frozen=True, forbid_unknown_fields=True):
    """What the tables must be: `hashes` of each as (rows, hash), for whoever has the same
    projections (`version`) and the same `engine`."""

    version: str
    engine: str
    hashes: dict[str, tuple[int, str]]

    def like(self, other: Tables) -> bool:
        """Whether the same program and engine made both, so that they must be equal."""
        return (self.version, self.engine) == (other.version, other.engine)

    def differ(self, other: Tables) -> str:
        """The name of a table that is not as *other* has it; empty when there is none, or when
        they cannot be compared."""
        names = sorted(self.hashes.keys() | other.hashes.keys()) if self.like(other) else ()
        return next((n for n in names if self.hashes.get(n) != other.hashes.get(n)), "")


class Key(Struct, frozen=True, forbid_unknown_fields=True):
    """A sealed file of keys that came along: its size and BLAKE2b-256."""

    bytes: int
    blake2b: str


class Manifest(Struct, frozen=True, forbid_unknown_fields=True):
    """What an archive holds, signed by the node that made it.

    `chain` is the running hash over the log at its `last` position (`bus.chain`), in hex. `shapes`
    names the shapes in which events were written: a program that knows others reads the payloads.
    """

    format: int
    program: str
    created: str
    node: str
    verify_key: str
    exchange_key: str
    epoch: str
    last: int
    events: int
    payload_bytes: int
    chain: str
    shapes: str
    tables: Tables
    parts: tuple[Part, ...]
    keys: Key | None = None


class Unsuitable(Exception):
    """An archive that is whole and cannot be used all the same; the text says why."""


def read_manifest(text: bytes, signature: bytes) -> Manifest:
    """The manifest in *text*, whose parts follow each other. Raises `Damaged` or `Unsuitable`."""
    try:
        told = msgspec.json.decode(text)
        if (found := told["format"]) != FORMAT:
            raise Unsuitable(
                f"{MANIFEST}: its format is {found} and this Canopy reads {FORMAT}: upgrade Canopy"
            )
        manifest = msgspec.json.decode(text, type=Manifest)
        verify_key = b64decode(manifest.verify_key, validate=True)
        verify(verify_key, "backup", text, b64decode(signature, validate=True))
    except (msgspec.MsgspecError, ValueError, KeyError, TypeError) as error:
        raise Damaged(f"{MANIFEST} cannot be read: {error}") from error
    except Forged as error:
        raise Damaged(f"{MANIFEST} is not what its node signed: it has changed") from error
    if manifest.node != node_id(verify_key):
        raise Damaged(f"{MANIFEST} names a node that is not the one that signed it")
    after = 0
    for part in manifest.parts:
        if part.first != after + 1 or part.last < part.first:
            raise Damaged(f"{MANIFEST}: its parts do not follow each other")
        after = part.last
    if after != manifest.last:
        raise Damaged(f"{MANIFEST}: its parts end at {after} and not at {manifest.last}")
    return manifest

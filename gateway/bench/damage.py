"""Damage to what a node keeps while it lies still: which files there are, and what befalls them.

    log        nats/jetstream/…/EVT   blocks, their index, what says which stream it is
    consumers  …/EVT/obs              how far each reactor is
    snapshots  …/KV_SNAPSHOT          folded states, sealed where they are private
    marks      marks/                 high-water marks, ledger, tip, how far it was read again
    vault      vault/                 key table, segments of keys, how far the log was erased
    tables     projection/            the file of DuckDB and, of a killed node, its WAL
    node       identity.json, nats/   who it is, what its broker is told by, where that listened

Left alone is what each start writes anew and nobody reads before (`nats.conf`, `nats.log`, the
context of the `nats` program), locks, which are empty or tell whom to ask, and the spare, whose
bytes mean nothing.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Literal

Target = Literal["log", "consumers", "snapshots", "marks", "vault", "tables", "node"]
Damage = Callable[["Place", Random], str]
"""Does something to what is in its place: says what it was."""

STREAMS = Path("nats/jetstream/CANOPY/streams")
EVT = STREAMS / "EVT"
BLOCKS = EVT / "msgs"
FILES: Mapping[Target, tuple[str, ...]] = {
    "log": (f"{EVT}/meta.*", f"{BLOCKS}/*"),
    "consumers": (f"{EVT}/obs/*/*",),
    "snapshots": (f"{STREAMS}/KV_SNAPSHOT/meta.*", f"{STREAMS}/KV_SNAPSHOT/msgs/*"),
    "marks": ("marks/[a-z]*",),
    "vault": ("vault/[a-z]*",),
    "tables": ("projection/*.duckdb*",),
    "node": ("identity.json", "nats/credentials.json", "nats/endpoint.json"),
}
SHARES: Mapping[Target, int] = {
    "log": 6, "marks": 2, "vault": 4, "tables": 4, "snapshots": 2, "consumers": 1, "node": 1,
}  # fmt: skip
"""How often each is damaged."""
HEAD_BYTES = 12 * 1024
"""Where a file says what it is: headers of DuckDB, and all of most others."""


@dataclass(frozen=True, slots=True)
class Place:
    """What is to be damaged in a data directory, and a copy of that from some time ago."""

    directory: Path
    older: Path
    target: Target

    def files(self) -> list[Path]:
        """Those that have anything in them."""
        return [one for one in found(self.directory, self.target) if one.stat().st_size]

    def some(self, chance: Random) -> Path:
        """One of them; of the log three times of four one that holds commits."""
        blocks = [one for one in self.files() if one.suffix == ".blk"]
        others = [one for one in self.files() if one.suffix != ".blk"]
        return chance.choice(blocks if blocks and chance.random() < 0.75 else others or blocks)

    def name(self, path: Path) -> str:
        """*path* within the data directory."""
        return str(path.relative_to(self.directory))


def found(directory: Path, target: Target) -> list[Path]:
    """The files of *target* in a data directory."""
    return sorted(path for one in FILES[target] for path in directory.glob(one) if path.is_file())


def flipped(place: Place, chance: Random) -> str:
    """One bit, anywhere."""
    path = place.some(chance)
    data = bytearray(path.read_bytes())
    bit = _somewhere(len(data), chance) * 8 + chance.randrange(8)
    data[bit // 8] ^= 1 << bit % 8
    path.write_bytes(data)
    return f"bit {bit} of {place.name(path)} flipped"


def truncated(place: Place, chance: Random) -> str:
    """Some bytes at the end of a file."""
    path = place.some(chance)
    size = chance.randrange(path.stat().st_size)
    os.truncate(path, size)
    return f"{place.name(path)} cut at {size}"


def zeroed(place: Place, chance: Random) -> str:
    """Up to 4 KiB of nothing in a file."""
    path = place.some(chance)
    data = bytearray(path.read_bytes())
    start = _somewhere(len(data), chance)
    data[start : start + 4096] = bytes(len(data[start : start + 4096]))
    path.write_bytes(data)
    return f"{place.name(path)} zeroed from {start}"


def deleted(place: Place, chance: Random) -> str:
    """A file."""
    path = place.some(chance)
    path.unlink()
    return f"{place.name(path)} deleted"


def swapped(place: Place, chance: Random) -> str:
    """Two files in each other's place; of the log two blocks."""
    files = place.files()
    blocks = [one for one in files if one.suffix == ".blk"]
    among = blocks if len(blocks) > 1 else files
    if len(among) < 2:
        return deleted(place, chance)
    one, other = chance.sample(among, 2)
    aside = one.with_name(f"{one.name}.aside")
    one.rename(aside)
    other.rename(one)
    aside.rename(other)
    return f"{place.name(one)} and {place.name(other)} swapped"


def outdated(place: Place, chance: Random) -> str:
    """A file as it was some time ago; now and then all that belongs together."""
    before = found(place.older, place.target)
    if chance.random() < 0.25:
        for path in found(place.directory, place.target):
            path.unlink()
        for path in before:
            _put_back(place, path)
        return f"all of {place.target} as it was before"
    path = chance.choice([one for one in before if one.suffix == ".blk"] or before)
    return f"{_put_back(place, path)} as it was before"


def _put_back(place: Place, path: Path) -> str:
    there = place.directory / path.relative_to(place.older)
    there.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(path, there)
    return place.name(there)


def _somewhere(size: int, chance: Random) -> int:
    """A byte of a file of *size* bytes, one time of three near its beginning."""
    return chance.randrange(min(size, HEAD_BYTES) if chance.random() < 1 / 3 else size)


DAMAGES: tuple[Damage, ...] = (
    flipped, flipped, flipped, truncated, zeroed, deleted, swapped, outdated,
)  # fmt: skip


def damaged(directory: Path, older: Path, chance: Random) -> tuple[Target, str]:
    """Something has happened to *directory*: to what, and what."""
    there = {one: share for one, share in SHARES.items() if Place(directory, older, one).files()}
    (target,) = chance.choices(tuple(there), tuple(there.values()))
    return target, chance.choice(DAMAGES)(Place(directory, older, target), chance)

"""The tables of a simulated world: the same however its log is cut.

DuckDB keeps its own time and threads, so it takes part when all is over, and in few worlds: making
its tables takes longer than living through a world.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from random import Random

from actors.projection_file import ProjectionFile
from actors.rooms import statements
from bus.log import Stored
from gateway.bench.simulation.stream import Kept
from schemas.settings import MIB

EVERY = 100
"""One world in so many is folded."""
MEMORY_BYTES = 64 * MIB
EPOCH = "0" * 16


def unlike(kept: Sequence[Kept | None], chance: Random) -> Iterator[str]:
    """In words, each table that differs when the log is folded at once and in drawn pieces."""
    log = [_stored(one) for one in kept if one is not None]
    if not log:  # A broker that acknowledged too early may have lost all of it.
        return
    cuts = sorted(chance.sample(range(1, len(log)), min(len(log) - 1, 5))) if len(log) > 1 else []
    pieces = zip([0, *cuts], [*cuts, len(log)], strict=True)
    whole = _hashes([log])
    cut = _hashes([log[first:last] for first, last in pieces])
    for name in sorted(whole):
        if whole[name] != cut.get(name):
            yield f"the table {name} is another one when the log is cut at {cuts}"


def _hashes(batches: Sequence[Sequence[Stored]]) -> dict[str, tuple[int, int]]:
    """How many rows each table has, and a hash of them."""
    tables = ProjectionFile(Path(":memory:"), statements(), EPOCH, MEMORY_BYTES)
    with closing(tables):
        for batch in batches:
            tables.fold(batch)
        return tables.hashes(sum(map(len, batches)))


def _stored(one: Kept) -> Stored:
    _, noun, key = one.subject.split(".", 2)
    return Stored(one.seq, noun, key, one.payload)

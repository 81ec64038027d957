"""The tables of a simulated world: the same however its log is cut, and as they were stood in for.

DuckDB keeps its own time and threads, so it takes part when all is over, and in few worlds: making
its tables takes longer than living through a world.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from random import Random

from actors.message.queries import EXPIRED
from actors.projection_file import ProjectionFile
from actors.rooms import statements
from bus.log import Stored
from gateway.bench.simulation.expiring import Expiring
from gateway.bench.simulation.stream import Kept
from schemas.settings import MIB

EVERY = 100
"""One world in so many is folded."""
MEMORY_BYTES = 64 * MIB
EPOCH = "0" * 16
LATE = "9999-01-01T00:00:00.000Z"
"""When everything has expired."""


def unlike(kept: Sequence[Kept | None], chance: Random) -> Iterator[str]:
    """In words, each table that differs when the log is folded at once and in drawn pieces; and
    whether gateways were told of what expires as they would be by their tables."""
    log = [_stored(one) for one in kept if one is not None]
    if not log:  # A broker that acknowledged too early may have lost all of it.
        return
    cuts = sorted(chance.sample(range(1, len(log)), min(len(log) - 1, 5))) if len(log) > 1 else []
    pieces = zip([0, *cuts], [*cuts, len(log)], strict=True)
    with (
        closing(_folded([log])) as whole,
        closing(_folded([log[first:last] for first, last in pieces])) as cut,
    ):
        expected, hashes = whole.hashes(len(log)), cut.hashes(len(log))
        for name in sorted(expected):
            if expected[name] != hashes.get(name):
                yield f"the table {name} is another one when the log is cut at {cuts}"
        yield from _expiring(whole, log)


def _folded(batches: Sequence[Sequence[Stored]]) -> ProjectionFile:
    tables = ProjectionFile(Path(":memory:"), statements(), EPOCH, MEMORY_BYTES)
    for batch in batches:
        tables.fold(batch)
    return tables


def _expiring(tables: ProjectionFile, log: Sequence[Stored]) -> Iterator[str]:
    """Whether the tables know other messages that will expire than their stand-in does."""
    stand_in = Expiring(0.0)
    stand_in.hear(log)
    with tables.reading() as cursor:
        known = cursor.execute(EXPIRED, (LATE, len(log))).fetchall()
    told = [(one["id"], one["channel_id"]) for one in stand_in.expired(LATE)]
    if known != told:
        yield f"of what will expire the tables know {known}, and gateways were told {told}"


def _stored(one: Kept) -> Stored:
    _, noun, key = one.subject.split(".", 2)
    return Stored(one.seq, noun, key, one.payload)

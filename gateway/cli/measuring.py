"""What `canopy bench` does: each measure with the extent that was asked for.

Apart from `bench.py` because it brings in everything that a node is made of.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from gateway.bench.chaos import chaos
from gateway.bench.cluster import cluster
from gateway.bench.cuts import cuts
from gateway.bench.erase import erase
from gateway.bench.fair import fair
from gateway.bench.flips import flips
from gateway.bench.kills import kills
from gateway.bench.lag import lag
from gateway.bench.live import live
from gateway.bench.marks import marks
from gateway.bench.namespaces import NoNamespaces
from gateway.bench.node import NoStart
from gateway.bench.page import page
from gateway.bench.parquet import parquet
from gateway.bench.partings import partings
from gateway.bench.parts import Unfound
from gateway.bench.past import past
from gateway.bench.posts import posts
from gateway.bench.private import private
from gateway.bench.rebuild import rebuild
from gateway.bench.report import Report
from gateway.bench.scale import CREWS, scale
from gateway.bench.soak import soak
from gateway.bench.sockets import sockets
from gateway.bench.sql import sql
from gateway.bench.start import start
from gateway.bench.storm import NoFiles, storm
from gateway.bench.volume import NoVolume
from gateway.cli.exits import Exit, Failure


@dataclass(frozen=True, slots=True)
class Extent:
    """How much is measured."""

    events: int
    rounds: int
    seconds: float
    sockets: int
    chaos: int
    partings: int
    storm: int
    kills: int
    cuts: int
    flips: int
    erase: int
    soak: int
    cluster: int
    fair: int


FULL = Extent(1_000_000, 3, 5.0, 2_000, 200, 10_000, 10_000, 1_000, 50, 1_000, 50, 86_400, 20, 600)
QUICK = Extent(20_000, 1, 1.0, 200, 5, 200, 500, 10, 2, 20, 2, 20, 1, 5)

Measure = Callable[[Path, Extent], Awaitable[Report]]
"""Given the directory to work in: one below it of its own, or `log`, which holds the long log."""

MEASURES: Mapping[str, Measure] = {
    "scale": lambda folder, extent: scale(
        folder / "scale", extent.seconds, CREWS if extent.rounds > 1 else CREWS[:1]
    ),
    "cluster": lambda folder, extent: cluster(folder / "cluster", extent.cluster),
    "posts": lambda folder, extent: posts(folder / "posts", extent.rounds, extent.seconds),
    "live": lambda folder, extent: live(folder / "live", extent.rounds, extent.seconds),
    "sockets": lambda folder, extent: sockets(folder / "sockets", extent.sockets),
    "page": lambda folder, extent: page(folder / "log", extent.events),
    "start": lambda folder, extent: start(folder / "log", extent.events, extent.rounds),
    "rebuild": lambda folder, extent: rebuild(folder / "log", extent.events, extent.rounds),
    "lag": lambda folder, extent: lag(folder / "log", extent.events),
    "chaos": lambda folder, extent: chaos(folder / "chaos", extent.chaos),
    "parquet": lambda folder, extent: parquet(folder / "log", extent.events, extent.rounds),
    "sql": lambda folder, extent: sql(folder / "log", extent.events, extent.rounds, extent.seconds),
    "past": lambda folder, extent: past(folder / "log", extent.events),
    "partings": lambda folder, extent: partings(folder / "partings", extent.partings),
    "storm": lambda folder, extent: storm(folder / "storm", extent.storm),
    "kills": lambda folder, extent: kills(folder / "kills", extent.kills),
    "flips": lambda folder, extent: flips(folder / "flips", extent.flips),
    "marks": lambda folder, extent: marks(
        folder / "marks", folder / "log", extent.rounds, extent.seconds, extent.events
    ),
    "soak": lambda folder, extent: soak(folder / "soak", extent.soak),
    "private": lambda folder, extent: private(folder / "private", extent.rounds, extent.seconds),
    "erase": lambda folder, extent: erase(folder / "erase", extent.erase),
    "fair": lambda folder, extent: fair(folder / "fair", extent.fair),
    "cuts": lambda folder, extent: cuts(folder / "cuts", extent.cuts),
}


def measure(name: str, folder: Path, extent: Extent) -> Report:
    """What came of the measure *name*. Raises `Failure` when a node does not start or recover."""
    for directory in (folder / name, folder / "log"):
        directory.mkdir(parents=True, exist_ok=True)
    try:
        return asyncio.run(_awaited(MEASURES[name](folder, extent)))
    except (NoVolume, NoNamespaces, NoFiles) as error:
        raise Failure(Exit.USAGE, f"{name}: {error}", error.remedy) from error
    except (NoStart, Unfound) as error:
        raise Failure(Exit.UNAVAILABLE, f"{name}: {error}", "canopy doctor") from error


async def _awaited(report: Awaitable[Report]) -> Report:
    return await report

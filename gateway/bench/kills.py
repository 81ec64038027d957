"""The kill matrix: let a process die at every place between two durable steps; then count.

Every `bus.faults.Point` that a node comes by is in it, whoever adds one. The part that comes by the
place is armed, dies there under load, and is started again, armed for the next place or not at all;
then everything that was acknowledged must be there, once, and the node's own `verify` must find no
difference.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from pathlib import Path
from random import Random
from typing import get_args

from bus.faults import AlarmPoint, CopyPoint, Point
from gateway.bench.chaos import counted, inhabited
from gateway.bench.parts import Part, Parts, Unfound
from gateway.bench.report import Figure, Report

APART = (*get_args(CopyPoint), *get_args(AlarmPoint))
POINTS: tuple[Point, ...] = tuple(point for point in get_args(Point) if point not in APART)
ELSEWHERE: Mapping[Point, Part] = {
    "command.taken": "gateway",
    "command.answered": "gateway",
    "fold.staged": "gateway",
    "fold.committed": "gateway",
    "ledger.kept": "nats",
    "tip.kept": "nats",
}
"""Who comes by a place; the actors where nothing is said, because they write."""
PASSINGS = (1, 2, 3)
PASSED_S = 60.0
PAUSE_S = 0.05
COUNTED_EVERY = 50
HURRIED = {"erasure_gather_s": 0.1, "tip_every_s": 0.2}
"""The places at which something is written every so often are come by more often."""


async def kills(
    directory: Path,
    count: int = len(POINTS),
    seed: int = 1,
    points: Sequence[Point] = POINTS,
    *,
    keyed: bool = True,
) -> Report:
    """*count* deaths, at each of *points* in turn, under a crowd whose wishes are *keyed* or not.

    Raises `Unfound` when a point is not passed under load, or the node does not recover.
    """
    chance = Random(seed)
    order = sorted(points, key=lambda point: ELSEWHERE.get(point, "actors"))
    lost, doubled, differences = 0, 0, 0
    async with inhabited(directory, PAUSE_S, keyed=keyed, **HURRIED) as (parts, at_work):
        for nth in range(1, count + 1):
            point = order[(nth - 1) % len(order)]
            await _died(parts, point, chance.choice(PASSINGS))
            if nth % COUNTED_EVERY == 0 or nth == count:
                await parts.revive()
                acked = await at_work.recovered(f"death at {point}")
                lost += len(at_work.journal.lost(acked))
                doubled += len(at_work.journal.doubled())
                differences += await at_work.verified() is not None
        undone = len(await at_work.undone())
    figures = (
        Figure("acknowledged and lost", lost, "posts", 0.0),
        Figure("doubled", doubled, "posts", 0.0),
        Figure("verify found a difference", differences, "times", 0.0),
        *counted(parts, at_work, undone),
    )
    return Report("kills", f"{count} × death at one of {len(points)} points", figures)


async def _died(parts: Parts, point: Point, nth: int) -> None:
    """Who comes by *point* has died there at the *nth* time; everything else runs."""
    part = ELSEWHERE.get(point, "actors")
    await parts.revive(but=part)
    await parts.arm(part, point, nth)
    try:
        async with asyncio.timeout(PASSED_S):
            await parts.died(part)
    except TimeoutError as error:
        raise Unfound(f"{part} did not come by {point} in {PASSED_S:g} s") from error

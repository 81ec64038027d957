"""A soak: one random fault a second that nobody has to be started again for; then count and weigh.

Brokers die, everything freezes for a moment, the listener is cut off. Nothing acknowledged may be
lost or doubled, and actors and gateway may not grow: neither in memory nor in open files. They are
weighed after each fault, and a soak that is long enough is held to how steeply that rises.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from random import Random

from gateway.bench.chaos import counted, inhabited
from gateway.bench.crowd import Crowd
from gateway.bench.parts import Part, Parts, Victim
from gateway.bench.report import Figure, Report
from gateway.bench.weight import Weight

PAUSE_S = 0.05
WARM_S = 3.0
EVERY_S = 1.0
FROZEN_S = (0.1, 0.6)
"""Seconds that a frozen process stands still: least and most."""
WEIGHED: tuple[Part, ...] = ("actors", "gateway")
Fault = tuple[str, Victim | None]
FAULTS: tuple[Fault, ...] = (
    ("kill", "broker"),
    ("freeze", "broker"),
    ("freeze", "actors"),
    ("freeze", "gateway"),
    ("part", None),
)


async def soak(
    directory: Path,
    seconds: float = 20.0,
    seed: int = 1,
    faults: Sequence[Fault] = FAULTS,
    every_s: float = EVERY_S,
    warm_s: float = WARM_S,
) -> Report:
    """*warm_s* of load, then *seconds* with one of *faults* every *every_s*. Raises `Unfound` when
    the node does not recover."""
    chance = Random(seed)
    suffered: Counter[str] = Counter()
    async with inhabited(directory, PAUSE_S) as (parts, at_work):
        weights = [Weight(parts, part) for part in WEIGHED]
        await asyncio.sleep(warm_s)
        _weigh(weights)
        for _ in range(int(seconds / every_s)):
            fault, victim = chance.choice(faults)
            suffered[f"{fault} {victim or 'listener'}"] += 1
            async with asyncio.TaskGroup() as group:
                group.create_task(asyncio.sleep(every_s))
                group.create_task(_suffer(parts, at_work, fault, victim, chance))
            _weigh(weights)
        acked = await at_work.recovered("a soak")
        _weigh(weights)
        lost, doubled = len(at_work.journal.lost(acked)), len(at_work.journal.doubled())
        difference = await at_work.verified()
        undone = len(await at_work.undone())
    told = ", ".join(f"{times} × {fault}" for fault, times in sorted(suffered.items()))
    figures = (
        Figure("acknowledged and lost", lost, "posts", 0.0),
        Figure("doubled", doubled, "posts", 0.0),
        Figure("verify found a difference", float(difference is not None), "times", 0.0),
        *(figure for weight in weights for figure in weight.figures()),
        *counted(parts, at_work, undone),
    )
    return Report("soak", f"{seconds:g} s, a fault every {every_s:g} s ({told})", figures)


def _weigh(weights: Sequence[Weight]) -> None:
    for weight in weights:
        weight.take()


async def _suffer(
    parts: Parts, at_work: Crowd, fault: str, victim: Victim | None, chance: Random
) -> None:
    if victim is None:
        await at_work.part()
    elif fault == "kill":
        await parts.kill(victim)
    else:
        await parts.freeze(victim, chance.uniform(*FROZEN_S))

"""A soak: one random fault a second that nobody has to be started again for; then count and weigh.

Brokers die, everything freezes for a moment, the listener is cut off. Nothing acknowledged may be
lost or doubled, and actors and gateway may not grow: neither in memory nor in open files.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from pathlib import Path
from random import Random

from gateway.bench.chaos import counted, inhabited
from gateway.bench.crowd import Crowd
from gateway.bench.parts import Part, Parts, Unfound, Victim
from gateway.bench.report import Figure, Report

PAUSE_S = 0.05
WARM_S = 3.0
EVERY_S = 1.0
FROZEN_S = (0.1, 0.6)
"""Seconds that a frozen process stands still: least and most."""
WEIGHED: tuple[Part, ...] = ("actors", "gateway")
FAULTS: tuple[tuple[str, Victim | None], ...] = (
    ("kill", "broker"),
    ("freeze", "broker"),
    ("freeze", "actors"),
    ("freeze", "gateway"),
    ("part", None),
)
GROWN_MIB_MAX = 64.0
GROWN_FILES_MAX = 8.0


async def soak(directory: Path, seconds: float = 20.0, seed: int = 1) -> Report:
    """*seconds* of load with one fault each second. Raises `Unfound` when the node does not
    recover."""
    chance = Random(seed)
    faults: Counter[str] = Counter()
    async with inhabited(directory, PAUSE_S) as (parts, at_work):
        await asyncio.sleep(WARM_S)
        before = {part: _weight(parts, part) for part in WEIGHED}
        for _ in range(int(seconds / EVERY_S)):
            fault, victim = chance.choice(FAULTS)
            faults[f"{fault} {victim or 'listener'}"] += 1
            async with asyncio.TaskGroup() as group:
                group.create_task(asyncio.sleep(EVERY_S))
                group.create_task(_suffer(parts, at_work, fault, victim, chance))
        acked = await at_work.recovered("a soak")
        grown = {part: _grown(before[part], _weight(parts, part)) for part in WEIGHED}
        lost, doubled = len(at_work.journal.lost(acked)), len(at_work.journal.doubled())
        difference = await at_work.verified()
        undone = len(await at_work.undone())
    told = ", ".join(f"{times} × {fault}" for fault, times in sorted(faults.items()))
    figures = (
        Figure("acknowledged and lost", lost, "posts", 0.0),
        Figure("doubled", doubled, "posts", 0.0),
        Figure("verify found a difference", float(difference is not None), "times", 0.0),
        *(Figure(f"{part} has grown", grown[part][0], "MiB", GROWN_MIB_MAX) for part in WEIGHED),
        *(
            Figure(f"{part} has more open", grown[part][1], "files", GROWN_FILES_MAX)
            for part in WEIGHED
        ),
        *counted(parts, at_work, undone),
    )
    return Report("soak", f"{seconds:g} s, a fault each second ({told})", figures)


async def _suffer(
    parts: Parts, at_work: Crowd, fault: str, victim: Victim | None, chance: Random
) -> None:
    if victim is None:
        await at_work.part()
    elif fault == "kill":
        await parts.kill(victim)
    else:
        await parts.freeze(victim, chance.uniform(*FROZEN_S))


def _weight(parts: Parts, part: Part) -> tuple[float, float]:
    """MiB in memory and open files of *part*. Raises `Unfound` when it has ended."""
    process = parts.process(part)
    if process is None:
        raise Unfound(f"{part} has ended")
    return process.memory_info().rss / (1 << 20), float(process.num_fds())


def _grown(before: tuple[float, float], after: tuple[float, float]) -> tuple[float, float]:
    return after[0] - before[0], after[1] - before[1]

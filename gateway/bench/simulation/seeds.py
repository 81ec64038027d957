"""Many seeds, one after the other, and what they came to."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterable

from gateway.bench.report import Figure, Report
from gateway.bench.simulation.simulate import Outcome, simulate

YOUNG = 1
"""The generations in which the remains of a world are: nothing was collected while it lasted."""
COLLECT_EVERY = 25
"""Seeds between two collections of what their worlds leave behind."""


def lived(seeds: Iterable[int], hear: Callable[[Outcome], None]) -> Report:
    """Live through *seeds*; *hear* is told of each. The bars are no violation, and 50 × the
    time that a processor is busy."""
    seeds_lived, broken = 0, 0
    virtual_s = busy_s = 0.0
    commits = answers = steps = 0
    simulate(0)  # What the first world of a process pays for all: imports, schemas, caches.
    gc.collect()
    gc.freeze()
    try:
        for nth, seed in enumerate(seeds, 1):
            outcome = simulate(seed)
            hear(outcome)
            seeds_lived, broken = nth, broken + bool(outcome.violations)
            virtual_s, busy_s = virtual_s + outcome.virtual_s, busy_s + outcome.busy_s
            commits, answers = commits + outcome.commits, answers + outcome.answers
            steps += outcome.steps
            if nth % COLLECT_EVERY == 0:
                gc.collect(YOUNG)
    finally:
        gc.unfreeze()
    return Report(
        "simulation",
        f"{seeds_lived} seeds, {virtual_s:,.0f} virtual seconds, {steps:,} steps",
        (
            Figure("seeds with a broken promise", broken, "seeds", bar=0),
            Figure("virtual over processor time", virtual_s / busy_s, "×", bar=50, rising=True),
            Figure("seeds each second of a processor", seeds_lived / busy_s, "seeds/s"),
            Figure("commits", commits, "commits"),
            Figure("answers", answers, "answers"),
        ),
    )

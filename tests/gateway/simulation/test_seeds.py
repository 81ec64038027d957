"""A thousand worlds in which nothing may go wrong, and that a world can be seen again."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from pathlib import Path
from random import Random

import pytest

from gateway.bench.simulation import fate
from gateway.bench.simulation.seeds import lived
from gateway.bench.simulation.simulate import Outcome, simulate

SEEDS = 1000
CHUNKS = 20
"""The tests of one file run on one core unless they are several."""
ROOT = Path(__file__).parents[3]
TELL = (
    "from gateway.bench.simulation.simulate import simulate\n"
    "print(*(simulate(seed).digest for seed in range({first}, {last})))"
)


@pytest.mark.slow
@pytest.mark.no_cover  # It would take twice as long; the tests below are counted.
@pytest.mark.parametrize("chunk", range(CHUNKS))
def test_nothing_goes_wrong_in_a_thousand_worlds(chunk: int) -> None:
    """Whoever reads this in red: the story names the seed, and how to see it again."""
    stories: list[str] = []

    def hear(outcome: Outcome) -> None:
        if outcome.violations:
            stories.append(outcome.story(40))

    size = SEEDS // CHUNKS
    lived(range(chunk * size, (chunk + 1) * size), hear)

    assert not stories, "\n\n".join(stories[:3])


def test_a_seed_is_one_world_in_every_process() -> None:
    """Whatever Python's hashes and addresses are, and whatever was lived through before."""
    first, last = 20, 32

    def told(salt: str) -> list[str]:
        words = [sys.executable, "-c", TELL.format(first=first, last=last)]
        environ = os.environ | {"PYTHONHASHSEED": salt}
        ran = subprocess.run(
            words, cwd=ROOT, env=environ, capture_output=True, text=True, timeout=60, check=True
        )
        return ran.stdout.split()

    here = [simulate(seed).digest for seed in range(first, last)]

    assert told("1") == here
    assert told("2") == here


def test_seeds_are_different_worlds() -> None:
    assert len({simulate(seed).digest for seed in range(10)}) == 10


def test_most_worlds_have_several_who_decide() -> None:
    """Two worlds in three, and two whole nodes' worth in one of six."""
    crowds = [fate.shape(Random(seed)).processes for seed in range(SEEDS)]
    deciding = Counter(sum(one.startswith(("node", "actors")) for one in who) for who in crowds)
    whole = Counter(sum(one.startswith("node") for one in who) for who in crowds)

    assert deciding[2] + deciding[3] > SEEDS * 0.6
    assert deciding[3] > SEEDS * 0.12
    assert whole[2] > SEEDS * 0.12


def test_virtual_time_is_much_faster_than_time() -> None:
    """By the processor's account: the machine may have other things to do."""
    report = lived(range(40, 60), lambda _: None)
    faster = next(one for one in report.figures if one.name == "virtual over processor time")

    assert faster.held

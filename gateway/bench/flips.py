"""Damage of every kind to a node that lies still; then see whether it notices.

A small node is written once, with all that a node keeps, and left in three ways (`resting`). Each
round takes a copy of it, damages one thing in it at random (`damage`) and starts a whole node on it
(`looking`). What was damaged must be reported, or have changed nothing: everything is there, and
what it was. And whatever can be read must be what was written; of a log that has lost something,
and says so, what stood before that.
"""

from __future__ import annotations

import shutil
from collections import Counter
from pathlib import Path
from random import Random
from typing import Any, Literal

from gateway.bench.damage import FILES, damaged
from gateway.bench.looking import Seen, looked
from gateway.bench.report import Figure, Report
from gateway.bench.resting import LEFT, Rest, Said, written

Verdict = Literal["reported", "harmless", "unnoticed"]
CACHED = "snapshot "
"""What may be missing: the log gives it back."""


async def flips(directory: Path, count: int = 1000, seed: int = 1) -> Report:
    """*count* damages to a node that is written for it: what came of them, as `counted` tells."""
    return await counted(await written(directory / "rest"), directory / "round", count, seed)


async def counted(rest: Rest, place: Path, count: int, seed: int) -> Report:
    """*count* damages to copies of *rest* in *place*; of each thing that is kept how many were
    reported, how many had changed nothing, and how many of the others were not noticed, or were
    served."""
    outcomes: Counter[tuple[str, str]] = Counter()
    rounds: list[dict[str, Any]] = []
    for nth in range(count):
        chance = Random(f"{seed}.{nth}")
        name = chance.choice(LEFT)
        shutil.copytree(rest.left[name].directory, place)
        target, done = damaged(place, rest.older, chance)
        seen = await looked(place, rest.owner)
        shutil.rmtree(place)
        verdict, wrong = judged(seen, rest.left[name].said)
        outcomes[target, verdict] += 1
        outcomes[target, "wrong"] += len(wrong)
        if verdict == "unnoticed" or wrong:
            told = {"round": nth, "base": name, "damage": done, "wrong": wrong, "fell": seen.fell}
            rounds.append(told)
    reported, unnoticed = (
        sum(outcomes[one, verdict] for one in FILES) for verdict in ("reported", "unnoticed")
    )
    share = 100 * reported / max(reported + unnoticed, 1)
    figures = (
        Figure("reported, of what was changed", share, "%", 100.0, rising=True),
        *(figure for target in FILES for figure in _figures(target, outcomes)),
    )
    what = f"{count} damages to a node at rest, seed {seed}"
    return Report("flips", what, figures, tuple(rounds))


def _figures(target: str, outcomes: Counter[tuple[str, str]]) -> tuple[Figure, ...]:
    return (
        Figure(f"{target}: reported", outcomes[target, "reported"], "damages"),
        Figure(f"{target}: had changed nothing", outcomes[target, "harmless"], "damages"),
        Figure(f"{target}: unnoticed", outcomes[target, "unnoticed"], "damages", 0.0),
        Figure(f"{target}: wrong, and served", outcomes[target, "wrong"], "answers", 0.0),
    )


def judged(seen: Seen, said: Said) -> tuple[Verdict, tuple[str, ...]]:
    """Whether the damage was reported, and the names of what was read that was never written."""
    wrong = tuple(name for name, one in seen.read.items() if one not in said.get(name, ()))
    if seen.reported:
        return "reported", wrong
    changed = [name for name, one in seen.read.items() if one != said.get(name, (None,))[-1]]
    lacking = [
        name
        for name, (*_, now) in said.items()
        if now is not None and name not in seen.read and not name.startswith(CACHED)
    ]
    return ("unnoticed" if changed or lacking or seen.fell else "harmless"), wrong

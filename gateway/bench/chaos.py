"""Kill -9 of broker, actors or gateway at random moments under load; then count.

After each kill what died is started again, and then: everything acknowledged is heard at the
position that was answered, nothing is heard twice, and the node's own `verify` finds the tables to
be what the log says. `gateway.bench.kills` kills at chosen places instead.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random

from gateway.bench.crowd import AGAIN_S, PAUSE_S, RECOVERY_S, WRITERS, Crowd, crowd
from gateway.bench.node import NoStart, credentials
from gateway.bench.parts import VICTIMS, Parts, Unfound, Victim
from gateway.bench.report import Figure, Report

ROUND_S = (0.1, 1.5)
"""Seconds of load before a kill: least and most."""


@asynccontextmanager
async def in_parts(
    directory: Path, **settings: object
) -> AsyncIterator[tuple[Parts, dict[str, str]]]:
    """A node in parts on *directory*, and the headers of its owner; all parts are stopped in the
    end."""
    parts = Parts(directory, settings)
    try:
        await parts.start("nats")
        await parts.start("actors")
        yield parts, await credentials(directory, parts.url, await parts.start("gateway"))
    finally:
        await parts.stop()


@asynccontextmanager
async def inhabited(
    directory: Path, pause_s: float = PAUSE_S, *, keyed: bool = True, **settings: object
) -> AsyncIterator[tuple[Parts, Crowd]]:
    """Such a node with a crowd at work."""
    async with (
        in_parts(directory, **settings) as (parts, headers),
        crowd((parts.url,), headers, pause_s, keyed=keyed) as at_work,
    ):
        yield parts, at_work


async def chaos(directory: Path, rounds: int = 200, seed: int = 1) -> Report:
    """*rounds* kills, each followed by a count. Raises `Unfound` when the node does not recover."""
    chance = Random(seed)
    kills: Counter[str] = Counter()
    lost, doubled, differences = 0, 0, 0
    async with inhabited(directory) as (parts, at_work):
        for _ in range(rounds):
            await asyncio.sleep(chance.uniform(*ROUND_S))
            victim = chance.choice(VICTIMS)
            kills[victim] += 1
            acked = await _killed(parts, victim, at_work)
            lost += len(at_work.journal.lost(acked))
            doubled += len(at_work.journal.doubled())
            differences += await at_work.verified() is not None
        undone = len(await at_work.undone())
    told = ", ".join(f"{times} × {victim}" for victim, times in sorted(kills.items()))
    figures = (
        Figure("acknowledged and lost", lost, "posts", 0.0),
        Figure("doubled", doubled, "posts", 0.0),
        Figure("verify found a difference", differences, "times", 0.0),
        *counted(parts, at_work, undone),
    )
    return Report("chaos", f"{rounds} × kill -9 under load ({told})", figures)


def counted(parts: Parts, at_work: Crowd, undone: int) -> tuple[Figure, ...]:
    """What every experiment with a crowd tells."""
    journal = at_work.journal
    return (
        Figure("acknowledged", len(journal.acked), "posts"),
        Figure("changed or taken back", len(journal.changed) + len(journal.taken_back), "posts"),
        Figure("changes and removals undone", undone, "posts", 0.0),
        Figure("heard out of order", journal.backwards, "commits", 0.0),
        Figure("parts that ended unkilled", parts.deserted, "times", 0.0),
    )


async def _killed(parts: Parts, victim: Victim, at_work: Crowd) -> dict[str, int]:
    """What was acknowledged until the node, bereft of *victim*, answers and is heard again."""
    journal = at_work.journal
    await parts.kill(victim)
    before = len(journal.acked)
    try:
        async with asyncio.timeout(RECOVERY_S):
            while len(journal.acked) < before + 2 * WRITERS:
                await parts.revive()
                await asyncio.sleep(AGAIN_S)
            acked = dict(journal.acked)
            await at_work.heard(max(acked.values()))
    except (TimeoutError, NoStart) as error:
        raise Unfound(f"no recovery in {RECOVERY_S:g} s after kill -9 of {victim}") from error
    return acked

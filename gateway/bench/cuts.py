"""Power cuts: the disk under a whole node loses its power under load, again and again; then count.

Log, vault and tables lie on one volume (`gateway.bench.volume`). Only what was acknowledged before
the instant of the cut counts; everything runs on for a moment and is then killed, the disk comes
back, the node starts, and what was acknowledged is read again from the first position on.
"""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from random import Random
from time import perf_counter

from gateway.bench.chaos import counted, inhabited
from gateway.bench.crowd import Crowd
from gateway.bench.parts import Parts
from gateway.bench.report import Figure, Report
from gateway.bench.volume import Volume, volume
from schemas.settings import GIB

PAUSE_S = 0.05
ROUND_S = (0.2, 1.5)
"""Seconds of load before a cut: least and most."""
VOLUME_BYTES = 2 * GIB


async def cuts(directory: Path, count: int = 50, seed: int = 1) -> Report:
    """*count* cuts. Raises `gateway.bench.volume.NoVolume` where there can be no volume, and
    `gateway.bench.parts.Unfound` when the node does not recover: its directory is kept then."""
    chance = Random(seed)
    lost, doubled, differences, slowest_s = 0, 0, 0, 0.0
    with volume(directory, VOLUME_BYTES) as disk, kept_when_failed(disk.path, directory / "kept"):
        async with inhabited(disk.path / "node", PAUSE_S) as (parts, at_work):
            for nth in range(1, count + 1):
                await asyncio.sleep(chance.uniform(*ROUND_S))
                began_s = perf_counter()
                acked = await _cut(disk, parts, at_work, nth)
                slowest_s = max(slowest_s, perf_counter() - began_s)
                lost += len(at_work.journal.lost(acked))
                doubled += len(at_work.journal.doubled())
                differences += await at_work.verified() is not None
            undone = len(await at_work.undone())
            figures = (
                Figure("acknowledged before a cut and lost", lost, "posts", 0.0),
                Figure("doubled", doubled, "posts", 0.0),
                Figure("verify found a difference", differences, "times", 0.0),
                Figure("slowest recovery", slowest_s, "s"),
                *counted(parts, at_work, undone),
            )
    return Report("cuts", f"{count} × power cut under load", figures)


async def _cut(disk: Volume, parts: Parts, at_work: Crowd, nth: int) -> dict[str, int]:
    """What was acknowledged before the cut, and until the node had recovered from it."""
    at_work.dark = True  # From this instant on nobody takes an answer for an answer.
    disk.cut()
    await parts.kill_all()
    await asyncio.to_thread(disk.remount)
    at_work.journal = at_work.journal.cut()
    at_work.dark = False
    await parts.revive()
    return await at_work.recovered(f"power cut {nth}")


@contextmanager
def kept_when_failed(path: Path, kept: Path) -> Iterator[None]:
    """What lies at *path* is copied to *kept* when the block fails: somebody has to look at it."""
    try:
        yield
    except BaseException:
        with suppress(shutil.Error):  # Of a disk that is still dark nothing can be kept.
            shutil.copytree(path, kept, dirs_exist_ok=True)
        raise

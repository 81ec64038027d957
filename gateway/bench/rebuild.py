"""The tables from nothing: how fast a long log is folded, and how much memory that takes.

python -m gateway.bench.rebuild <directory>     folds the log there into fresh tables, once
"""

from __future__ import annotations

import asyncio
import json
import resource
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from time import perf_counter
from typing import Any

import uvloop

from actors.__main__ import durables
from actors.rooms import statements
from bus.attachment import attached, prepared
from bus.holding import hold
from bus.identity_file import identify
from bus.log import Stored
from bus.server import broker
from bus.telemetry import Telemetry
from gateway.bench.node import NoStart, process, ready
from gateway.bench.report import Figure, Report, middle
from gateway.bench.seed import EVENTS, seeded
from gateway.reads import Reads
from schemas.settings import Settings

FOLDED_S = 300.0


async def rebuild(directory: Path, events: int = EVENTS, rounds: int = 3) -> Report:
    """Events a second from the log into empty tables, and the folding process's peak memory."""
    await seeded(directory, events)
    measured = [await folded(directory) for _ in range(rounds)]
    figures = (
        Figure("folded", middle(measured, "events_per_s"), "events/s", 45_000, rising=True),
        Figure("peak of the folding process", middle(measured, "peak_mib"), "MiB"),
    )
    conditions = f"{measured[0]['events']:,} events, median of {rounds} rounds"
    return Report("rebuild", conditions, figures, tuple(measured))


async def folded(directory: Path) -> dict[str, Any]:
    """What one process makes of the log in *directory*: its speed, its peak, its tables."""
    words = [sys.executable, "-m", "gateway.bench.rebuild", str(directory)]
    async with process(words) as running:
        try:
            return await ready(running)
        except TimeoutError as error:
            raise NoStart("the log was not folded in time") from error


async def _fold(directory: Path) -> dict[str, Any]:
    settings = Settings(data_directory=directory)
    identity, telemetry = identify(directory, None), Telemetry()
    async with broker(settings) as running:
        await prepared(running.endpoint, settings, durables())
        async with attached(running.endpoint, "gateway", identity, settings, telemetry) as bus:
            with tempfile.TemporaryDirectory(dir=directory) as folder:
                reads = Reads(Path(folder), statements(), bus.log, settings, telemetry)
                await reads.open()
                head = await bus.log.head()
                took_s = await _until(reads, head)
                tables = {name: str(sum_) for name, (_, sum_) in reads.file.hashes(head).items()}
                reads.close()
    peak_mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    rate = reads.position / took_s
    return {"events": head, "events_per_s": rate, "peak_mib": peak_mib, "tables": tables}


async def _until(reads: Reads, head: int) -> float:
    """Seconds until the tables know the position *head*."""
    done = asyncio.Event()

    def heard(_: list[Stored]) -> None:
        if reads.position >= head:
            done.set()

    reads.heard.append(heard)
    began_s = perf_counter()
    folding = asyncio.create_task(reads.run())
    async with asyncio.timeout(FOLDED_S):
        await done.wait()
    took_s = perf_counter() - began_s
    folding.cancel()
    await asyncio.wait([folding])
    return took_s


def _main(directory: Path) -> None:
    with hold(directory, datetime.now(UTC).isoformat()):
        result = uvloop.run(_fold(directory))
    sys.stdout.write(json.dumps(result) + "\n")


if __name__ == "__main__":
    _main(Path(sys.argv[1]))

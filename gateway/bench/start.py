"""How long a node takes to answer, empty and with a long log, and what it holds in memory then."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from gateway.bench.node import node
from gateway.bench.page import asked
from gateway.bench.report import Figure, Report, middle
from gateway.bench.seed import EVENTS, seeded


async def start(directory: Path, events: int = EVENTS, rounds: int = 3) -> Report:
    """Seconds from the command to the first answer, and resident memory of all processes."""
    await seeded(directory, events)
    await _started(directory)  # Its tables are folded, as after any ordinary stop.
    empty, full = [], []
    for _ in range(rounds):
        with tempfile.TemporaryDirectory() as fresh:
            empty.append(await _started(Path(fresh)))
        full.append(await _started(directory))
    figures = (
        Figure("empty node", middle(empty, "ready_s"), "s", 2.0),
        Figure("empty node, resident", middle(empty, "resident_mib"), "MiB", 200.0),
        Figure(f"node of {events:,} events", middle(full, "ready_s"), "s", 3.0),
        Figure(f"node of {events:,} events, resident", middle(full, "resident_mib"), "MiB"),
    )
    conditions = f"from the command to the first answer, median of {rounds}; all processes"
    return Report("start", conditions, figures)


async def _started(directory: Path) -> dict[str, Any]:
    async with node(directory) as ours:
        await asked(ours, "/readyz", 1)
        return {"ready_s": ours.ready_s, "resident_mib": ours.resident_mib()}

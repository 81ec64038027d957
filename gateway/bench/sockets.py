"""What an idle socket costs: the memory of a node before and after many have been opened."""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path

import orjson

from gateway.bench.hearing import Order
from gateway.bench.node import node, process, ready
from gateway.bench.report import Figure, Report

SOCKETS = 2000


async def sockets(directory: Path, count: int = SOCKETS) -> Report:
    """Resident KiB of each of *count* idle WebSockets."""
    async with node(directory) as ours:
        before_mib = ours.resident_mib()
        async with process([sys.executable, "-m", "gateway.bench.hearing"]) as hearing:
            assert hearing.stdin is not None  # noqa: S101 - it was started with a pipe
            order = Order(ours.host, ours.port, ours.headers, count)
            hearing.stdin.write(orjson.dumps(asdict(order)) + b"\n")
            await ready(hearing)
            after_mib = ours.resident_mib()
    figures = (
        Figure("each socket", (after_mib - before_mib) * 1024 / count, "KiB", 40.0),
        Figure("node before", before_mib, "MiB"),
        Figure("node with all open", after_mib, "MiB"),
    )
    return Report("sockets", f"{count} idle WebSockets of one account", figures)

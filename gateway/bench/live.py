"""How old news is when it is heard: from the moment a post was due to each of many sockets."""

from __future__ import annotations

from pathlib import Path

from gateway.bench.hearing import Order
from gateway.bench.node import node, ordered
from gateway.bench.report import Figure, Report, middle

SOCKETS = 100
POSTS_PER_S = 200.0


async def live(directory: Path, rounds: int = 3, seconds: float = 5.0) -> Report:
    """Post → seen on another socket, at 200 posts/s with 100 sockets."""
    async with node(directory) as ours:
        order = Order(ours.host, ours.port, ours.headers, SOCKETS, POSTS_PER_S, seconds)
        measured = [await ordered("hearing", order) for _ in range(rounds)]
    figures = (
        Figure("p50", middle(measured, "p50_ms"), "ms", 10.0),
        Figure("p99", middle(measured, "p99_ms"), "ms", 40.0),
        Figure("longest", max(one["max_ms"] for one in measured), "ms"),
        Figure("frames missed", sum(one["missed"] for one in measured), "", 0.0),
        Figure("posts refused", sum(one["refused"] for one in measured), "", 0.0),
    )
    conditions = (
        f"{SOCKETS} sockets, {POSTS_PER_S:g} posts/s; median of {rounds} rounds of {seconds:g} s"
    )
    return Report("live", conditions, figures, tuple(measured))

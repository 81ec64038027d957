"""Durable posts over HTTP, against a bare handler that awaits one publish.

Both run at the same time on brokers of the same configuration; the load goes to one and then to the
other, round by round, from the same lean client.
"""

from __future__ import annotations

import sys
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

from gateway.bench.node import Node, node, ordered, process, ready
from gateway.bench.posting import Order
from gateway.bench.report import Figure, Report, middle

CLIENTS = 64
PACED_PER_S = 500.0
BODY = {"channel_id": "general", "content": "What is said is kept, and can be heard by everybody."}


async def posts(directory: Path, rounds: int = 3, seconds: float = 5.0) -> Report:
    """Posts a second by 64 clients and their latency, the same for the baseline, and the ratio."""
    async with AsyncExitStack() as stack:
        words = [sys.executable, "-m", "gateway.bench.baseline", str(directory / "baseline")]
        told = await ready(await stack.enter_async_context(process(words)))
        ours = await stack.enter_async_context(node(directory / "node"))
        bare = Order(told["host"], told["port"], "/", {}, BODY, CLIENTS, seconds)
        measured = [await _round(ours, bare, seconds) for _ in range(rounds)]
    return _report(measured, seconds)


async def _round(ours: Node, bare: Order, seconds: float) -> dict[str, Any]:
    path = "/api/v1/channels/messages"
    full = Order(ours.host, ours.port, path, ours.headers, BODY, CLIENTS, seconds)
    paced = Order(ours.host, ours.port, path, ours.headers, BODY, CLIENTS, seconds, PACED_PER_S)
    ran = {
        "bare": await ordered("posting", bare),
        "ours": await ordered("posting", full),
        "paced": await ordered("posting", paced),
    }
    flat = {f"{who}_{name}": value for who, result in ran.items() for name, value in result.items()}
    return flat | {"ratio": flat["ours_rate"] / flat["bare_rate"]}


def _report(rounds: list[dict[str, Any]], seconds: float) -> Report:
    refused = sum(
        count
        for one in rounds
        for who in ("bare", "ours", "paced")
        for status, count in one[f"{who}_statuses"].items()
        if str(status) != "201"
    )
    figures = (
        Figure("posts, ours", middle(rounds, "ours_rate"), "/s"),
        Figure("posts, bare handler", middle(rounds, "bare_rate"), "/s"),
        Figure("ours ÷ bare", middle(rounds, "ratio"), "×", 1.0, rising=True),
        Figure("p50, ours", middle(rounds, "ours_p50_ms"), "ms"),
        Figure("p99, ours", middle(rounds, "ours_p99_ms"), "ms"),
        Figure("p50, bare handler", middle(rounds, "bare_p50_ms"), "ms"),
        Figure("p99, bare handler", middle(rounds, "bare_p99_ms"), "ms"),
        Figure("p50 at 500/s, ours", middle(rounds, "paced_p50_ms"), "ms"),
        Figure("p99 at 500/s, ours", middle(rounds, "paced_p99_ms"), "ms", 25.0),
        Figure("answers other than 201", refused, "", 0.0),
    )
    conditions = (
        f"{CLIENTS} keep-alive clients, fsynced before the answer; "
        f"median of {len(rounds)} interleaved rounds of {seconds:g} s"
    )
    return Report("posts", conditions, figures, tuple(rounds))

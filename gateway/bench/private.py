"""What privacy costs: durable posts in a private channel against posts in a public one, and against
posts in a public one of a node without marks.

The same clients and the same words; the load goes to one channel and then to the others, round by
round.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import aiohttp

from gateway.bench.node import Node, node, ordered
from gateway.bench.posting import Order
from gateway.bench.posts import BODY, CLIENTS, PACED_PER_S
from gateway.bench.report import Figure, Report, middle

POSTS = "/api/v1/channels/messages"
UNMARKED = (sys.executable, "-m", "gateway.bench.unmarked")
Body = Mapping[str, Any]


async def private(directory: Path, rounds: int = 3, seconds: float = 5.0) -> Report:
    """Posts a second of all kinds by 64 clients, the ratios, and latencies at a steady rate."""
    async with node(directory / "node") as ours, node(directory / "bare", UNMARKED) as bare:
        kinds: Mapping[str, tuple[Node, Body]] = {
            "bare": (bare, BODY),
            "public": (ours, BODY),
            "private": (ours, BODY | {"channel_id": await _channel(ours)}),
        }
        measured = [await _round(kinds, seconds) for _ in range(rounds)]
    refused = sum(
        count
        for one in measured
        for name, statuses in one.items()
        if name.endswith("_statuses")
        for status, count in statuses.items()
        if str(status) != "201"
    )
    figures = (
        Figure("posts, private", middle(measured, "private_rate"), "/s"),
        Figure("posts, public", middle(measured, "public_rate"), "/s"),
        Figure("posts, public and unmarked", middle(measured, "bare_rate"), "/s"),
        Figure("private ÷ public", middle(measured, "ratio"), "×", 0.85, rising=True),
        Figure("private ÷ unmarked", middle(measured, "whole_ratio"), "×", 0.85, rising=True),
        Figure("p99, private", middle(measured, "private_p99_ms"), "ms"),
        Figure("p99, public", middle(measured, "public_p99_ms"), "ms"),
        Figure("p50 at 500/s, private", middle(measured, "private_paced_p50_ms"), "ms"),
        Figure("p50 at 500/s, public", middle(measured, "public_paced_p50_ms"), "ms"),
        Figure("p99 at 500/s, private", middle(measured, "private_paced_p99_ms"), "ms"),
        Figure("p99 at 500/s, public", middle(measured, "public_paced_p99_ms"), "ms"),
        Figure("answers other than 201", refused, "", 0.0),
    )
    conditions = (
        f"{CLIENTS} keep-alive clients, key and commit fsynced before the answer; "
        f"median of {rounds} interleaved rounds of {seconds:g} s"
    )
    return Report("private", conditions, figures, tuple(measured))


async def _channel(ours: Node) -> str:
    """A private channel of the owner's."""
    draft = {"name": "measured", "type": "private"}
    async with (
        aiohttp.ClientSession(ours.url, headers=ours.headers) as http,
        http.post("/api/v1/channels", json=draft) as response,
    ):
        return str((await response.json())["channel"]["id"])


async def _round(kinds: Mapping[str, tuple[Node, Body]], seconds: float) -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for kind, (at, body) in kinds.items():
        for name, rate in ((kind, 0.0), (f"{kind}_paced", PACED_PER_S)):
            order = Order(at.host, at.port, POSTS, at.headers, dict(body), CLIENTS, seconds, rate)
            result = await ordered("posting", order)
            flat |= {f"{name}_{figure}": value for figure, value in result.items()}
    return flat | {
        "ratio": flat["private_rate"] / flat["public_rate"],
        "whole_ratio": flat["private_rate"] / flat["bare_rate"],
    }

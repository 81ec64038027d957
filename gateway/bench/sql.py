"""Questions in SQL over a long log: how long each takes, and what a heavy one does to posts."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

import aiohttp

from gateway.bench.node import Node, NoStart, node, ordered
from gateway.bench.page import CAUGHT_UP_S, asked
from gateway.bench.posting import Order
from gateway.bench.posts import BODY
from gateway.bench.report import Figure, Report, middle, quantile
from gateway.bench.seed import EVENTS, seeded

PATH = "/api/v1/sql"
CLIENTS = 64
PACED_PER_S = 500.0
BAR_MS = 3000.0
QUESTIONS: Mapping[str, str] = {
    "nothing": "SELECT 1",
    "messages by channel": "SELECT channel_id, count(*) FROM messages GROUP BY 1 ORDER BY 2 DESC",
    "who said how much": "SELECT a.username, count(*) FROM messages m "
    "JOIN accounts a ON a.id = m.user_id GROUP BY 1 ORDER BY 2 DESC LIMIT 10",
    "a word": "SELECT seq, content FROM messages WHERE content ILIKE '%review merge%' LIMIT 20",
    "reactions by day": "SELECT date_trunc('day', created_at), reaction, count(*) FROM reactions "
    "GROUP BY 1, 2",
    "commits by noun": "SELECT noun, count(*) FROM commits GROUP BY 1",
}
HEAVY = "SELECT count(*) FROM messages a JOIN messages b ON a.user_id = b.user_id AND a.seq < b.seq"


async def sql(
    directory: Path, events: int = EVENTS, rounds: int = 3, seconds: float = 5.0, asks: int = 10
) -> Report:
    """Milliseconds for questions over a log of *events*, and the ratio of the p99 of posts while a
    heavy one runs to that without any, both in each round.
    """
    await seeded(directory, events)
    figures: list[Figure] = []
    async with node(directory) as ours, aiohttp.ClientSession(headers=ours.headers) as http:
        async with asyncio.timeout(CAUGHT_UP_S):
            await asked(ours, "/readyz", 1)
        for name, query in QUESTIONS.items():
            took_s = sorted([await _seconds(http, ours, query) for _ in range(asks)])
            figures += [
                Figure(f"{name}, p50", quantile(took_s, 0.5) * 1000, "ms"),
                Figure(f"{name}, p95", quantile(took_s, 0.95) * 1000, "ms", BAR_MS),
            ]
        measured = [await _round(http, ours, seconds) for _ in range(rounds)]
    figures += [
        Figure("posts, p99 alone", middle(measured, "alone_p99_ms"), "ms"),
        Figure("posts, p99 beside a heavy question", middle(measured, "beside_p99_ms"), "ms"),
        Figure("p99 beside ÷ alone", median(one["ratio"] for one in measured), "×"),
        Figure("answers other than 201", sum(one["refused"] for one in measured), "", 0.0),
    ]
    conditions = (
        f"a log of {events:,} events, {asks} questions of each; {PACED_PER_S:g} posts a second, "
        f"median of {rounds} rounds of {seconds:g} s"
    )
    return Report("sql", conditions, tuple(figures), tuple(measured))


async def _seconds(http: aiohttp.ClientSession, ours: Node, query: str) -> float:
    """How long an answer to *query* takes."""
    began_s = perf_counter()
    async with http.post(ours.url + PATH, json={"query": query}) as response:
        told = await response.read()
    if response.status != 200:
        raise NoStart(f"{query}: {response.status} {told[:200]!r}")
    return perf_counter() - began_s


async def _round(http: aiohttp.ClientSession, ours: Node, seconds: float) -> dict[str, Any]:
    path = "/api/v1/channels/messages"
    order = Order(ours.host, ours.port, path, ours.headers, BODY, CLIENTS, seconds, PACED_PER_S)
    alone = await ordered("posting", order)
    async with _heavy(http, ours):
        beside = await ordered("posting", order)
    refused = sum(
        count
        for one in (alone, beside)
        for status, count in one["statuses"].items()
        if str(status) != "201"
    )
    return {
        "alone_p99_ms": alone["p99_ms"],
        "beside_p99_ms": beside["p99_ms"],
        "ratio": beside["p99_ms"] / alone["p99_ms"],
        "refused": refused,
    }


@asynccontextmanager
async def _heavy(http: aiohttp.ClientSession, ours: Node) -> AsyncIterator[None]:
    """A heavy question after the other, for the length of the block."""

    async def ask() -> None:
        while True:
            async with http.post(ours.url + PATH, json={"query": HEAVY}) as response:
                await response.read()

    asking = asyncio.create_task(ask())
    try:
        yield
    finally:
        asking.cancel()
        await asyncio.wait({asking})

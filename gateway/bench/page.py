"""The newest page of a channel, when the log is long: what somebody waits for who opens it."""

from __future__ import annotations

import asyncio
from pathlib import Path
from time import perf_counter

from gateway.bench.node import Node, node
from gateway.bench.posting import times
from gateway.bench.report import Figure, Report
from gateway.bench.seed import EVENTS, seeded
from gateway.bench.wires import Asker, request_bytes

WARM = 20
CAUGHT_UP_S = 120.0


async def page(directory: Path, events: int = EVENTS, requests: int = 500) -> Report:
    """Milliseconds for the newest 50 messages of `general`, one client, one after the other."""
    await seeded(directory, events)
    async with node(directory) as ours:
        async with asyncio.timeout(CAUGHT_UP_S):
            await asked(ours, "/readyz", 1)
        await asked(ours, "/api/v1/channels/general/messages", WARM)
        took_s = await asked(ours, "/api/v1/channels/general/messages", requests)
    measured = times(took_s)
    figures = (
        Figure("p50", measured["p50_ms"], "ms", 5.0),
        Figure("p99", measured["p99_ms"], "ms", 25.0),
        Figure("longest", measured["max_ms"], "ms"),
    )
    return Report("page", f"a log of {events:,} events, one client, {requests} requests", figures)


async def asked(ours: Node, path: str, count: int) -> list[float]:
    """Seconds for each of *count* answers 200 to GET *path*; others are asked for again."""
    loop = asyncio.get_running_loop()
    answers: asyncio.Queue[int] = asyncio.Queue()
    headers = {"Host": f"{ours.host}:{ours.port}", **ours.headers}
    request = request_bytes("GET", path, headers)
    _, asker = await loop.create_connection(
        lambda: Asker(lambda _asker, status, _body: answers.put_nowait(status)),
        ours.host,
        ours.port,
    )
    took_s: list[float] = []
    while len(took_s) < count:
        began_s = perf_counter()
        asker.ask(request)
        if await answers.get() == 200:
            took_s.append(perf_counter() - began_s)
    asker.close()
    return took_s

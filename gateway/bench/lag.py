"""Tables a whole log behind: what a node tells those who come while it catches up.

First they are gone when it starts, so that nobody can be told anything but how far they are. Then
they are made anew beside those who read and write, which nobody may notice but by the clock.
"""

from __future__ import annotations

import asyncio
import shutil
from collections import Counter
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from time import perf_counter
from typing import Any

import aiohttp

from gateway.__main__ import PROJECTIONS
from gateway.bench.node import node
from gateway.bench.posting import times
from gateway.bench.report import Figure, Report
from gateway.bench.seed import EVENTS, seeded
from schemas.settings import Settings

PAGE = "/api/v1/channels/general/messages"
POST = "/api/v1/channels/messages"
PAUSE_S = 0.05
CAUGHT_UP_S = 900.0
MARGIN_MS = 1000.0
"""Allowed to an answer beyond the time that a read may wait: the cores are folding."""


@dataclass
class Visitor:
    """The owner, who writes and reads, one after the other."""

    http: aiohttp.ClientSession
    url: str
    took_s: dict[str, list[float]] = field(default_factory=lambda: {"GET": [], "POST": []})
    """Of what was answered."""
    put_off_s: list[float] = field(default_factory=list)
    """How long it took to be told to come again, with the position of the tables."""
    curt: Counter[str] = field(default_factory=Counter)
    """Other refusals."""
    position: int = 0
    backwards: int = 0
    """Answers with a position before one that had been told."""
    stale: int = 0
    """Reads that were answered without what had been written before."""
    _nth: Any = field(default_factory=count)

    async def come(self) -> bool:
        """Write and read; whether the read was answered."""
        said = f"Is this visit {next(self._nth)}?"
        written = await self._asked("POST", POST, {"channel_id": "general", "content": said})
        read = await self._asked("GET", PAGE)
        if written is not None and read is not None:
            self.stale += all(one["content"] != said for one in read["messages"])
        await asyncio.sleep(PAUSE_S)
        return read is not None

    async def _asked(self, method: str, path: str, body: Any = None) -> Any:
        """The answer; None for one that is to be asked for again."""
        began_s = perf_counter()
        async with self.http.request(method, self.url + path, json=body) as response:
            answer = await response.json()
        took_s = perf_counter() - began_s
        granted = response.status < 300
        told = int(response.headers["Canopy-Seq"]) if granted else answer.get("position")
        if told is None or not (granted or "Retry-After" in response.headers):
            self.curt[f"{method}: {response.status} {answer.get('code')}"] += 1
            return None
        self.backwards += told < self.position
        self.position = max(self.position, told if method == "GET" else 0)
        (self.took_s[method] if granted else self.put_off_s).append(took_s)
        return answer if granted else None


async def lag(directory: Path, events: int = EVENTS) -> Report:
    """What is told while tables that are *events* behind catch up, and while they are made anew."""
    await seeded(directory, events)
    await asyncio.to_thread(shutil.rmtree, directory / PROJECTIONS, ignore_errors=True)
    timeout = aiohttp.ClientTimeout(total=CAUGHT_UP_S)
    async with (
        node(directory) as ours,
        aiohttp.ClientSession(headers=ours.headers, timeout=timeout) as http,
        asyncio.timeout(2 * CAUGHT_UP_S),
    ):
        behind = Visitor(http, ours.url)
        began_s = perf_counter()
        while not await behind.come():
            pass
        caught_up_s = perf_counter() - began_s
        beside = Visitor(http, ours.url)
        began_s = perf_counter()
        rebuilding = asyncio.create_task(_rebuilt(http, ours.url))
        while not rebuilding.done():
            await beside.come()
        await rebuilding
        rebuilt_s = perf_counter() - began_s
    wait_ms = Settings().read_wait_s * 1000 + MARGIN_MS
    put_off, reads, writes = map(
        times, (behind.put_off_s, beside.took_s["GET"], beside.took_s["POST"])
    )
    visitors = (behind, beside)
    figures = (
        Figure("caught up", caught_up_s, "s"),
        Figure("told to come again", len(behind.put_off_s), "times"),
        Figure("to be told so, p50", put_off["p50_ms"], "ms"),
        Figure("to be told so, at most", put_off["max_ms"], "ms", wait_ms),
        Figure("made anew beside readers", rebuilt_s, "s"),
        Figure("reads meanwhile, p50", reads["p50_ms"], "ms"),
        Figure("reads meanwhile, p99", reads["p99_ms"], "ms", wait_ms),
        Figure("writes meanwhile, p50", writes["p50_ms"], "ms"),
        Figure("writes meanwhile, p99", writes["p99_ms"], "ms"),
        Figure("reads told to come again meanwhile", len(beside.put_off_s), "times"),
        Figure("reads without what was written", sum(one.stale for one in visitors), "", 0.0),
        Figure("positions that went back", sum(one.backwards for one in visitors), "", 0.0),
        Figure("other refusals", sum(one.curt.total() for one in visitors), "", 0.0),
    )
    return Report("lag", f"a log of {events:,} events, one who writes and reads", figures)


async def _rebuilt(http: aiohttp.ClientSession, url: str) -> None:
    """The tables have been made anew."""
    async with http.post(f"{url}/api/v1/node/rebuild") as response:
        response.raise_for_status()

"""The past of a long log: what somebody waits for who asks how it was, at positions by chance."""

from __future__ import annotations

import asyncio
from pathlib import Path
from random import Random
from time import perf_counter

import aiohttp

from gateway.bench.node import Node, NoStart, node
from gateway.bench.page import CAUGHT_UP_S, asked
from gateway.bench.report import Figure, Report, quantile
from gateway.bench.seed import EVENTS, seeded

BAR_MS = 1000.0
SETTLED = 200
"""Positions by which the people and channels of the log are there."""
PAGE = "/api/v1/channels/general/messages"
LOOKS = {
    "page of a channel": PAGE,
    "one message": PAGE + "/{message}",
    "channels of the caller": "/api/v1/channels",
    "accounts": "/api/v1/accounts",
    "search": "/api/v1/channels/general/search?q=review",
}


async def past(directory: Path, events: int = EVENTS, requests: int = 100) -> Report:
    """Milliseconds for reads with `?at=`, one client, each at a position of its own."""
    await seeded(directory, events)
    chance = Random(11)
    figures: list[Figure] = []
    async with node(directory) as ours, aiohttp.ClientSession(headers=ours.headers) as http:
        async with asyncio.timeout(CAUGHT_UP_S):
            await asked(ours, "/readyz", 1)
        for name, look in LOOKS.items():
            took_s = []
            for _ in range(requests):
                at = chance.randint(SETTLED, events)
                message = await _message(http, ours, chance, at) if "{message}" in look else ""
                path = look.replace("{message}", message)
                took_s.append(await _seconds(http, f"{ours.url}{path}", at))
            ordered = sorted(took_s)
            figures += [
                Figure(f"{name}, p50", quantile(ordered, 0.5) * 1000, "ms"),
                Figure(f"{name}, p95", quantile(ordered, 0.95) * 1000, "ms", BAR_MS),
            ]
    conditions = f"a log of {events:,} events, positions by chance, {requests} requests each"
    return Report("past", conditions, tuple(figures))


async def _seconds(http: aiohttp.ClientSession, url: str, at: int) -> float:
    """How long GET *url* takes at the position *at*."""
    began_s = perf_counter()
    async with http.get(url, params={"at": at}) as response:
        await response.read()
    if response.status != 200:
        raise NoStart(f"GET {url}?at={at}: {response.status}")
    return perf_counter() - began_s


async def _message(http: aiohttp.ClientSession, ours: Node, chance: Random, at: int) -> str:
    """The id of one of the messages that were the newest at a position."""
    async with http.get(f"{ours.url}{PAGE}", params={"at": at}) as response:
        found = (await response.json())["messages"]
    return str(chance.choice(found)["id"])

"""The past of a long log: what somebody waits for who asks how it was, at positions by chance."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from random import Random
from time import perf_counter

import aiohttp

from gateway.bench.node import Node, NoStart, node
from gateway.bench.page import CAUGHT_UP_S, asked
from gateway.bench.report import Figure, Report, quantile
from gateway.bench.seed import EVENTS, seeded
from gateway.bench.sql import PATH as SQL
from gateway.bench.sql import QUESTIONS as QUESTIONS_NOW

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
    "why a message": "/api/v1/why/{message}",
    "the log": "/api/v1/log",
}
QUESTIONS: Mapping[str, str] = {
    "messages by channel in SQL": QUESTIONS_NOW["messages by channel"],
    "a word in SQL": QUESTIONS_NOW["a word"],
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
                took_s.append(await _seconds(http.get(f"{ours.url}{path}", params={"at": at})))
            figures += _figures(name, took_s)
        for name, query in QUESTIONS.items():
            took_s = []
            for _ in range(requests):
                question = {"query": query, "at": chance.randint(SETTLED, events)}
                took_s.append(await _seconds(http.post(f"{ours.url}{SQL}", json=question)))
            figures += _figures(name, took_s)
    conditions = f"a log of {events:,} events, positions by chance, {requests} requests each"
    return Report("past", conditions, tuple(figures))


def _figures(name: str, took_s: list[float]) -> list[Figure]:
    ordered = sorted(took_s)
    return [
        Figure(f"{name}, p50", quantile(ordered, 0.5) * 1000, "ms"),
        Figure(f"{name}, p95", quantile(ordered, 0.95) * 1000, "ms", BAR_MS),
    ]


async def _seconds(
    request: AbstractAsyncContextManager[aiohttp.ClientResponse],
) -> float:
    """How long the answer to *request* takes."""
    began_s = perf_counter()
    async with request as response:
        told = await response.read()
    if response.status != 200:
        raise NoStart(f"{response.method} {response.url}: {response.status} {told[:200]!r}")
    return perf_counter() - began_s


async def _message(http: aiohttp.ClientSession, ours: Node, chance: Random, at: int) -> str:
    """The id of one of the messages that were the newest at a position."""
    async with http.get(f"{ours.url}{PAGE}", params={"at": at}) as response:
        found = (await response.json())["messages"]
    return str(chance.choice(found)["id"])

"""How posts and what the tables lag behind grow with processes: actors and gateways, on the node's
own broker and on a cluster of three.

Each crew is loaded through all of its gateways at once by posters in processes of their own. On a
machine of few cores all of them share these: read how the figures relate, and what each process
took of a core.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from time import perf_counter
from typing import Any

import aiohttp
import psutil
from yarl import URL

from gateway.bench.crew import Crew, crew
from gateway.bench.members import members
from gateway.bench.namespaces import NoNamespaces
from gateway.bench.node import ordered
from gateway.bench.posting import Order
from gateway.bench.report import Figure, Report

CLIENTS = 64
PATH = "/api/v1/channels/messages"
BODY = {"channel_id": "general", "content": "What is said is kept, and can be heard by everybody."}
CREWS = ((1, 1), (2, 1), (4, 1), (1, 2), (1, 4), (2, 2), (4, 4))
"""(actors, gateways) that are measured."""
CATCH_UP_S = 120.0


async def scale(
    directory: Path, seconds: float = 5.0, crews: tuple[tuple[int, int], ...] = CREWS
) -> Report:
    """Posts a second, their latency, and how long the tables need when the load ends.

    The cluster is left out, and that is said, where there can be no namespaces.
    """
    rounds: list[dict[str, Any]] = []
    told = ""
    for broker in ("own", "cluster"):
        for actors, gateways in crews:
            place = directory / f"{broker}-{actors}-{gateways}"
            try:
                async with _manned(broker, place, actors, gateways) as hands:
                    rounds.append(
                        {"broker": broker, "actors": actors, "gateways": gateways}
                        | await _loaded(hands, seconds)
                    )
            except NoNamespaces as error:
                told = f"; no cluster: {error}"
                break
    figures = tuple(figure for one in rounds for figure in _figures(one))
    conditions = (
        f"{CLIENTS} clients, {seconds:g} s each, {psutil.cpu_count()} cores for everything{told}"
    )
    return Report("scale", conditions, figures, tuple(rounds))


def _figures(one: dict[str, Any]) -> tuple[Figure, ...]:
    who = f"{one['actors']} actors, {one['gateways']} gateways, {one['broker']} broker"
    return (
        Figure(f"{who}: posts", one["rate"], "/s"),
        Figure(f"{who}: p99", one["p99_ms"], "ms"),
        Figure(f"{who}: tables behind at the end", one["lag_s"], "s"),
        Figure(f"{who}: cores used", one["cores"], ""),
        Figure(f"{who}: answers other than 201", one["refused"], "", 0.0),
    )


@asynccontextmanager
async def _manned(broker: str, directory: Path, actors: int, gateways: int) -> AsyncIterator[Crew]:
    async with AsyncExitStack() as stack:
        servers = None
        if broker == "cluster":
            servers = await stack.enter_async_context(members(directory / "servers"))
        told = servers.told if servers is not None else {}
        hands = crew(directory / "node", told, actors, gateways)
        at_work = await stack.enter_async_context(hands)
        if servers is not None:
            await servers.whole()
        yield at_work


async def _loaded(hands: Crew, seconds: float) -> dict[str, Any]:
    """What came of the load, spread evenly over the gateways."""
    urls = [URL(url) for url in hands.urls]
    share = CLIENTS // len(urls)
    orders = [
        Order(url.host or "", url.port or 0, PATH, hands.headers, BODY, share, seconds)
        for url in urls
    ]
    used_s, began_s = _processor_s(hands), perf_counter()
    results = await asyncio.gather(*(ordered("posting", order) for order in orders))
    took_s = perf_counter() - began_s
    cores = (_processor_s(hands) - used_s) / took_s
    statuses = [(str(s), n) for one in results for s, n in one["statuses"].items()]
    return {
        "rate": sum(one["rate"] for one in results),
        "p50_ms": max(one["p50_ms"] for one in results),
        "p99_ms": max(one["p99_ms"] for one in results),
        "refused": sum(n for status, n in statuses if status != "201"),
        "lag_s": await _lag_s(hands),
        "cores": cores,
    }


async def _lag_s(hands: Crew) -> float:
    """Seconds until every gateway's tables know all that was posted."""
    began_s = perf_counter()
    async with aiohttp.ClientSession(headers=hands.headers) as http, asyncio.timeout(CATCH_UP_S):
        for url in hands.urls:
            while await _behind(http, url):  # noqa: ASYNC110 - it is asked over HTTP
                await asyncio.sleep(0.01)
    return perf_counter() - began_s


async def _behind(http: aiohttp.ClientSession, url: str) -> bool:
    async with http.get(f"{url}/api/v1/node/status") as response:
        return response.status != 200 or bool((await response.json())["lag"])


def _processor_s(hands: Crew) -> float:
    """What the processes of the crew, their brokers included, have had of the processors."""
    total_s = 0.0
    for running in hands.running.values():
        first = psutil.Process(running.pid)
        for one in (first, *first.children(recursive=True)):
            times = one.cpu_times()
            total_s += times.user + times.system
    return total_s

"""A storm: the gateway dies under all who follow, and they come back to the next one at once.

The followers are in processes of their own (`gateway.bench.returning`), a thousand of one account;
all limits but that are those of any node. Somebody posts all the while, and in the end each
follower must have heard every post, once, in order.
"""

from __future__ import annotations

import asyncio
import sys
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from time import monotonic
from typing import Any, ClassVar

import aiohttp
import orjson
import psutil
from yarl import URL

from gateway.bench.crew import Crew, Post, crew
from gateway.bench.node import process, registered
from gateway.bench.parts import Unfound
from gateway.bench.report import Figure, Report
from gateway.bench.returning import CAUGHT_UP_S, OPENING_S, RETURNING_S, SPREAD_S, Order, Tally
from gateway.descriptors import granted
from schemas.settings import Settings

SOCKETS = 10_000
SOCKETS_PER_PROCESS = 5_000
FILES_SPARE = 200
"""More than the gateway has open besides its sockets."""
SOCKETS_PER_ACCOUNT = 1_000
LIMITS = ("requests_per_second_max", "requests_burst_max", "live_clients_max")
"""Those of any node hold here: who is told to wait is not back."""
POST_EVERY_S = 2.0
AGAIN_S = 0.1
MARGIN_S = 5.0
LULL_S = 3.0
"""Of posts before the storm, and after it."""
GATEWAY: Post = ("gateway", 0)
BACK_S = 30.0
SOCKETS_MIB = 200.0

Crowd = list[asyncio.subprocess.Process]


class NoFiles(Exception):
    """So many sockets cannot be open here; the text says how many can."""

    remedy: ClassVar[str] = "Raise the hard limit of open files: `ulimit -Hn 65536`, as root."


@dataclass
class Speaker:
    """Somebody who says one thing after the other, each until it is acknowledged."""

    url: str
    headers: dict[str, str]
    said: list[int] = field(default_factory=list)
    """The positions of what was acknowledged."""
    refused: Counter[str] = field(default_factory=Counter)
    """Status → how often it was answered instead."""
    enough: asyncio.Event = field(default_factory=asyncio.Event)

    async def speak(self) -> None:
        """Until it is enough."""
        async with aiohttp.ClientSession(headers=self.headers) as http:
            while not self.enough.is_set():
                await self._say(http, f"storm-{len(self.said)}")
                with suppress(TimeoutError):
                    async with asyncio.timeout(POST_EVERY_S):
                        await self.enough.wait()

    async def _say(self, http: aiohttp.ClientSession, once: str) -> None:
        body = {"channel_id": "general", "content": f"{once}: is anybody there?"}
        url, headers = f"{self.url}/api/v1/channels/messages", {"Idempotency-Key": once}
        while True:
            try:
                async with http.post(url, json=body, headers=headers) as response:
                    if response.status == 201:
                        self.said.append((await response.json())["seq"])
                        return
                    self.refused[str(response.status)] += 1
            except (aiohttp.ClientError, TimeoutError):
                pass  # The gateway is dead, or was before it had answered.
            await asyncio.sleep(AGAIN_S)


async def storm(
    directory: Path, count: int = SOCKETS, lull_s: float = LULL_S, spread_s: float = SPREAD_S
) -> Report:
    """*count* WebSockets that are cut off at once: when the last is back, and what each missed.

    Each comes back within *spread_s*, and again while nobody answers; posts go on for *lull_s*
    before and after. Raises `NoFiles` where so many cannot be open, `Unfound` when they stay away.
    """
    if granted() < count + FILES_SPARE:
        raise NoFiles(f"{count} sockets are wanted, and {granted()} files may be open at once")
    limits = {name: getattr(Settings(), name) for name in LIMITS}
    own = {"live_clients_per_account_max": SOCKETS_PER_ACCOUNT}
    async with crew(directory, limits | own) as node:
        keys = await _keys(node, -(-count // SOCKETS_PER_ACCOUNT))
        idle_mib = _resident_mib(node)
        async with _crowd(node.urls[0], keys, count, spread_s) as crowd:
            await _told(crowd, OPENING_S, "in")
            open_mib = _resident_mib(node)
            async with _speaking(node.urls[0], node.headers) as speaker:
                await asyncio.sleep(lull_s)
                cut_s = monotonic()
                await _again(node)
                away_s = monotonic() - cut_s
                await _told(crowd, RETURNING_S, "back")
                back_mib = _resident_mib(node)
                await asyncio.sleep(lull_s)
            for one in crowd:
                assert one.stdin is not None  # noqa: S101 - it was started with a pipe
                one.stdin.write(orjson.dumps(speaker.said) + b"\n")
            tallies = [Tally(**one) for one in await _told(crowd, CAUGHT_UP_S, "of one mind")]
    refused = sum((Counter(one.turned_away) for one in tallies), speaker.refused)
    figures = (
        Figure("the last is back", max(one.last_s for one in tallies) - cut_s, "s", BACK_S),
        Figure("half are back", max(one.half_s for one in tallies) - cut_s, "s"),
        Figure("the next gateway answers", away_s, "s"),
        Figure("missed", sum(one.missed for one in tallies), "commits", 0.0),
        Figure("doubled", sum(one.doubled for one in tallies), "commits", 0.0),
        Figure(
            "followers that heard out of order", sum(one.disordered for one in tallies), "", 0.0
        ),
        Figure("answers 5xx", sum(refused[one] for one in refused if one >= "500"), "", 0.0),
        Figure("other refusals", sum(refused[one] for one in refused if one < "500"), "", 0.0),
        Figure("attempts at a closed door", sum(one.unanswered for one in tallies), ""),
        Figure("sockets, before", open_mib - idle_mib, "MiB", SOCKETS_MIB * count / SOCKETS),
        Figure("sockets, after", back_mib - idle_mib, "MiB", SOCKETS_MIB * count / SOCKETS),
        Figure("gateway without any", idle_mib, "MiB"),
        Figure("commits that each was to hear", len(speaker.said), ""),
    )
    conditions = f"{count} WebSockets of {len(keys)} accounts, a post each {POST_EVERY_S:g} s"
    return Report("storm", conditions, figures)


async def _keys(node: Crew, count: int) -> list[str]:
    """Of so many new accounts."""
    url = node.urls[0]
    return [await registered(url, f"follower-{nth}", headers=node.headers) for nth in range(count)]


async def _again(node: Crew) -> None:
    """The gateway has died without a word, and the next one answers in its place."""
    await node.kill(GATEWAY)
    await node.launch(GATEWAY)


def _resident_mib(node: Crew) -> float:
    """What the gateway holds in memory."""
    return float(psutil.Process(node.running[GATEWAY].pid).memory_info().rss) / (1 << 20)


@asynccontextmanager
async def _crowd(url: str, keys: list[str], count: int, spread_s: float) -> AsyncIterator[Crowd]:
    """*count* followers in processes of their own, on their way in."""
    place = URL(url)
    crowd: Crowd = []
    async with AsyncExitStack() as stack:
        for start in range(0, count, SOCKETS_PER_PROCESS):
            words = [sys.executable, "-m", "gateway.bench.returning"]
            crowd.append(one := await stack.enter_async_context(process(words)))
            sockets = min(SOCKETS_PER_PROCESS, count - start)
            order = Order(place.host or "", place.port or 0, keys, sockets, spread_s, start)
            assert one.stdin is not None  # noqa: S101 - it was started with a pipe
            one.stdin.write(orjson.dumps(asdict(order)) + b"\n")
        yield crowd


async def _told(crowd: Crowd, within_s: float, what: str) -> list[Any]:
    """The next line of each process. Raises `Unfound` when one of them has none."""
    try:
        async with asyncio.timeout(within_s + MARGIN_S):
            return list(await asyncio.gather(*(_line(one) for one in crowd)))
    except (EOFError, TimeoutError) as error:
        raise Unfound(f"not all followers were {what} in {within_s:g} s") from error


async def _line(one: asyncio.subprocess.Process) -> Any:
    """What a process says next. Raises EOFError when it has ended."""
    assert one.stdout is not None  # noqa: S101 - it was started with a pipe
    line = await one.stdout.readline()
    if not line:
        raise EOFError
    return orjson.loads(line)


@asynccontextmanager
async def _speaking(url: str, headers: dict[str, str]) -> AsyncIterator[Speaker]:
    """Somebody speaks until the block ends; what he was saying then is acknowledged."""
    speaker = Speaker(url, headers)
    speaking = asyncio.create_task(speaker.speak())
    try:
        yield speaker
        speaker.enough.set()
        await speaking
    finally:
        speaking.cancel()

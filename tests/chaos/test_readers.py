"""Tables that lag, readers that do not read, and many who come back at once."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import random
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import pytest

from actors.projector import Projector
from bus.log import Stored
from bus.roles import Endpoint
from gateway.bench.chaos import in_parts
from gateway.seen import Seen
from schemas.settings import KIB
from tests.canopy import Caller, Canopy, running
from tests.gateway.test_broker_troubles import broker_pid
from tests.gateway.test_live_node import LIVE, say
from tests.logs import DEADLINE_S, bus_on, fresh_broker, listened, settings

CROWD = 100
READ_WAIT_S = 1.0
"""Long enough that who has registered is known before nothing is folded any more."""
KEPT_S = 3.0
RETURN_S = 60.0
LARGE = bytes(900 * KIB)
LARGE_COMMITS = 40
"""More than the kernel keeps for one who does not read."""

Strike = Callable[[], Awaitable[None]]
AtStake = AbstractAsyncContextManager[tuple[Caller, Strike]]
Step = Callable[[Projector, list[Stored], Any], Awaitable[float]]


def held_back(monkeypatch: pytest.MonkeyPatch) -> asyncio.Event:
    """Nothing is folded in this process unless the event is set."""
    gate, step = asyncio.Event(), Projector._step
    gate.set()

    async def wait(self: Projector, stored: list[Stored], folded: Any) -> float:
        await gate.wait()
        return await step(self, stored, folded)

    monkeypatch.setattr(Projector, "_step", wait)
    return gate


async def said_and_read(canopy: Canopy, gate: asyncio.Event) -> tuple[int, Any, int]:
    """Status and body of a read that follows a post while nothing is folded, and the position of
    the post."""
    ann = await canopy.register("ann")
    gate.clear()
    seq = await say(ann, "Hi.")
    status, _, answer = await ann.call("GET", "/channels/general/messages")
    gate.set()
    return status, answer, seq


async def test_who_has_written_reads_it_or_is_told_that_tables_lag(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Never an answer without it; the position says how far the tables are."""
    gate = held_back(monkeypatch)
    async with running(tmp_path, read_wait_s=READ_WAIT_S) as canopy:
        status, answer, seq = await said_and_read(canopy, gate)

    assert (status, answer["code"]) == (503, "behind")
    assert answer["position"] < seq


async def test_without_remembering_what_he_wrote_a_writer_reads_the_past(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The proof that the test before this one can fail."""
    gate = held_back(monkeypatch)
    monkeypatch.setattr(Seen, "of", lambda *_: 0)
    async with running(tmp_path, read_wait_s=READ_WAIT_S) as canopy:
        status, answer, _ = await said_and_read(canopy, gate)

    assert (status, answer["messages"]) == (200, [])


async def subscribed(endpoint: Endpoint) -> asyncio.StreamWriter:
    """One who asked for every commit, and reads nothing of it."""
    parts = urlsplit(endpoint.url)
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port, limit=KIB)
    user, password = endpoint.login("tap")
    login = json.dumps({"user": user, "pass": password, "verbose": False})
    writer.write(f"CONNECT {login}\r\nSUB evt.> 1\r\nPING\r\n".encode())
    while not (await reader.readline()).startswith(b"PONG"):
        continue
    return writer


async def deserted(directory: Path, write_deadline_s: int, within_s: float) -> bool:
    """Whether the broker cuts off one who reads nothing of a long log, while others read all."""
    knobs = settings(directory, nats_write_deadline_s=write_deadline_s, duplicate_window_s=1)
    async with fresh_broker(knobs) as running, bus_on(running.endpoint, knobs) as bus:
        writer = await subscribed(running.endpoint)
        async with asyncio.timeout(DEADLINE_S):
            for nth in range(LARGE_COMMITS):
                await bus.wire.ask(f"evt.message.general.M{nth}", LARGE, DEADLINE_S)
        assert len(await listened(bus.log, LARGE_COMMITS)) == LARGE_COMMITS
        try:
            async with asyncio.timeout(within_s):
                await closed(writer)
                return True
        except TimeoutError:
            return False
        finally:
            writer.transport.abort()


async def closed(writer: asyncio.StreamWriter) -> None:
    """Returns when the other side has gone, which is told without reading what it sent."""
    while True:
        writer.write(b"PING\r\n")
        try:
            await writer.drain()
        except ConnectionError:
            return
        await asyncio.sleep(0.05)


async def test_the_broker_cuts_off_who_does_not_read(tmp_path: Path) -> None:
    """After its deadline, and nobody else hears of it."""
    assert await deserted(tmp_path, write_deadline_s=1, within_s=DEADLINE_S)


async def test_without_a_deadline_who_does_not_read_is_kept(tmp_path: Path) -> None:
    """The proof that the test before this one can fail."""
    assert not await deserted(tmp_path, write_deadline_s=3600, within_s=KEPT_S)


@dataclass
class Follower:
    """One who follows the live page, and comes back whenever it breaks off."""

    http: aiohttp.ClientSession
    url: str
    key: str
    resumes: bool = True
    cursor: int = 0
    heard: list[int] = field(default_factory=list)
    refused: list[int] = field(default_factory=list)
    news: asyncio.Event = field(default_factory=asyncio.Event)
    free: asyncio.Event = field(default_factory=asyncio.Event)
    """Whether he may come back."""

    async def follow(self) -> None:
        while True:
            after = f"?after={self.cursor}" if self.resumes or not self.cursor else ""
            try:
                async with self.http.ws_connect(
                    self.url + LIVE + after, headers={"X-API-Key": self.key}
                ) as page:
                    async for message in page:
                        self._hear(json.loads(message.data))
            except aiohttp.WSServerHandshakeError as error:
                self.refused.append(error.status)
            except (aiohttp.ClientError, OSError):
                pass  # The door is closed for a moment.
            await asyncio.sleep(0.3 * random())  # They do not come back all at once.
            await self.free.wait()

    def _hear(self, frame: dict[str, Any]) -> None:
        if frame["type"] == "commit":
            self.heard.append(frame["seq"])
        else_at = 0 if self.resumes else frame.get("head", 0)
        self.cursor = max(self.cursor, frame.get("seq", else_at))
        self.news.set()

    async def reached(self, seq: int) -> None:
        while self.cursor < seq:
            self.news.clear()
            await self.news.wait()


@asynccontextmanager
async def broker_at_stake(directory: Path) -> AsyncIterator[tuple[Caller, Strike]]:
    """The owner of a node, and what kills its broker, which is started again by itself."""
    async with running(directory, live_clients_per_account_max=CROWD) as canopy:

        async def strike() -> None:
            os.kill(broker_pid(directory), signal.SIGKILL)

        yield await canopy.owner(), strike


@asynccontextmanager
async def gateway_at_stake(directory: Path) -> AsyncIterator[tuple[Caller, Strike]]:
    """The owner of a node, and what kills its gateway and starts another in its place."""
    async with in_parts(directory) as (parts, headers), aiohttp.ClientSession() as http:

        async def strike() -> None:
            await parts.kill("gateway")
            await parts.revive()

        yield Caller(http, parts.url, key=headers["X-API-Key"]), strike


async def stormed(at_stake: AtStake, *, resumes: bool) -> tuple[list[Follower], list[int]]:
    """Followers who were all cut off at once and stayed away while things were said, and where
    these were said."""
    async with at_stake as (ann, strike):
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as http:
            crowd = [Follower(http, ann.base, ann.key, resumes) for _ in range(CROWD)]
            tasks = [asyncio.create_task(one.follow()) for one in crowd]
            async with asyncio.timeout(RETURN_S):
                first = await say(ann, "before")
                await asyncio.gather(*(one.reached(first) for one in crowd))
                await strike()
                later = await insisted(ann, 5)
                for one in crowd:
                    one.free.set()
                await asyncio.gather(*(one.reached(later[-1]) for one in crowd))
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
        await asyncio.sleep(0.1)  # aiohttp closes its sockets in a later turn.
    for one in crowd:
        one.heard = [seq for seq in one.heard if seq >= first]
    return crowd, [first, *later]


async def insisted(ann: Any, count: int) -> list[int]:
    """The positions of *count* posts, each said until it is acknowledged."""
    acked: list[int] = []
    while len(acked) < count:
        body = {"channel_id": "general", "content": f"{len(acked)}"}
        once = {"Idempotency-Key": f"storm-{len(acked)}"}
        try:
            status, _, answer = await ann.call("POST", "/channels/messages", body, once)
        except (aiohttp.ClientError, OSError):
            continue  # The door is closed for a moment.
        acked += [answer["seq"]] if status == 201 else []
        await asyncio.sleep(0.05)
    return acked


@pytest.mark.slow
async def test_all_who_were_cut_off_come_back_and_have_missed_nothing(tmp_path: Path) -> None:
    """At once, and none is turned away with an error of the node."""
    crowd, said = await stormed(broker_at_stake(tmp_path), resumes=True)

    assert [one.heard for one in crowd] == [said] * CROWD
    assert {status for one in crowd for status in one.refused} <= {503}


@pytest.mark.slow
async def test_who_comes_back_without_his_position_misses_something(tmp_path: Path) -> None:
    """The proof that the test before this one can fail."""
    crowd, said = await stormed(broker_at_stake(tmp_path), resumes=False)

    assert [one.heard for one in crowd] != [said] * CROWD


@pytest.mark.slow
@pytest.mark.timeout(180)
async def test_who_follows_a_gateway_that_is_killed_goes_on_with_the_next(tmp_path: Path) -> None:
    """Nothing is missed and nothing heard twice, however old the position is."""
    crowd, said = await stormed(gateway_at_stake(tmp_path), resumes=True)

    assert [one.heard for one in crowd] == [said] * CROWD
    assert {status for one in crowd for status in one.refused} <= {503}


@pytest.mark.slow
@pytest.mark.timeout(180)
async def test_who_tells_the_next_gateway_no_position_misses_something(tmp_path: Path) -> None:
    """The proof that the test before this one can fail."""
    crowd, said = await stormed(gateway_at_stake(tmp_path), resumes=False)

    assert [one.heard for one in crowd] != [said] * CROWD

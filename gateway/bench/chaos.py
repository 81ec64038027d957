"""Kill -9 of broker, actors or gateway at random moments under load; then count.

The parts run as separate processes, as the Procfile has them. Posters say numbered things and say
them again, with the same Idempotency-Key, until they are acknowledged; a listener follows the live
page and resumes where it was. After each kill what died is started again, and then: everything
acknowledged is heard at the position that was answered, nothing is heard twice, and the node's own
`verify` finds the tables to be what the log says.
"""

from __future__ import annotations

import asyncio
import json
import socket
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any, Literal

import aiohttp
import psutil

from gateway.bench.node import NoStart, command, credentials, ended, environment, ready
from gateway.bench.report import Figure, Report

POSTERS = 8
PAUSE_S = 0.005
AGAIN_S = 0.02
ROUND_S = (0.1, 1.5)
"""Seconds of load before a kill: least and most."""
RECOVERY_S = 60.0
ANSWER_S = 10.0
Part = Literal["nats", "actors", "gateway"]
Victim = Literal["broker", "nats", "actors", "gateway"]
"""`broker` is the nats-server itself; `nats` the process that started it."""
PARTS: tuple[Part, ...] = ("nats", "actors", "gateway")
VICTIMS: tuple[Victim, ...] = ("broker", "nats", "actors", "gateway")
RESTARTS = {"restarts_max": 1000}
"""A supervisor gives up after a few restarts a minute; here there are more by design."""


class Unfound(Exception):
    """What must be true was not, in time; the text says what."""


class Parts:
    """The processes of one node, each of which may die at any time."""

    def __init__(self, directory: Path) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            self._port = free.getsockname()[1]
        self.url = f"http://127.0.0.1:{self._port}"
        self._directory = directory
        self._running: dict[Part, asyncio.subprocess.Process] = {}
        self._killed: set[Part] = set()
        self.deserted = 0
        """How many parts ended that nobody had killed."""

    async def start(self, part: Part) -> str:
        """Start one part; for the gateway, the setup code once it answers."""
        words = command("run", part, "--json", "--data", str(self._directory))
        words += ["--port", str(self._port)] if part == "gateway" else []
        self._running[part] = running = await asyncio.create_subprocess_exec(
            *words,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            env=environment(self._directory, RESTARTS),
        )
        return str((await ready(running))["setup_code"]) if part == "gateway" else ""

    async def kill(self, victim: Victim) -> None:
        """*victim* has ended as a power cut would end it: without a word.

        The broker outlives its keeper by a moment in which it still answers: a death that is not
        waited for would be taken for a recovery.
        """
        if victim != "broker":
            self._killed.add(victim)
            self._running[victim].kill()
            await self._running[victim].wait()
            return
        for child in psutil.Process(self._running["nats"].pid).children():
            child.kill()

    async def revive(self) -> None:
        """Start again whatever has died."""
        for part in PARTS:
            if self._running[part].returncode is not None:
                self.deserted += part not in self._killed
                self._killed.discard(part)
                await self.start(part)

    async def stop(self) -> None:
        """All parts have ended, the broker last."""
        for part in reversed(PARTS):
            running = self._running.get(part)
            if running is not None and running.returncode is None:
                running.terminate()
                await ended(running)


@dataclass
class Journal:
    """What was acknowledged, and what was heard."""

    acked: dict[str, int] = field(default_factory=dict)
    """What was said → the position that was answered."""
    heard: dict[int, str] = field(default_factory=dict)
    """Position → what was said there."""
    cursor: int = 0
    backwards: int = 0
    """Commits heard that did not follow the one before."""

    def lost(self, acked: dict[str, int]) -> list[str]:
        """What of *acked* is not heard where it was answered to be."""
        return [said for said, seq in acked.items() if self.heard.get(seq) != said]

    def doubled(self) -> list[str]:
        """What is heard more than once."""
        return [said for said, count in Counter(self.heard.values()).items() if count > 1]


@dataclass(frozen=True)
class Crowd:
    """Those who post and the one who listens, on one node."""

    http: aiohttp.ClientSession
    url: str
    journal: Journal
    news: asyncio.Event
    """Set whenever something has been heard."""

    async def heard(self, seq: int) -> None:
        """Returns once the listener has come as far as *seq*."""
        while self.journal.cursor < seq:
            self.news.clear()
            await self.news.wait()

    async def post(self, poster: int) -> None:
        """Say one thing after the other, each until it is acknowledged, for ever."""
        nth = 0
        while True:
            nth += 1
            said = f"poster {poster} says {nth}"
            while said not in self.journal.acked:
                await self._say(said)
            await asyncio.sleep(PAUSE_S)

    async def _say(self, said: str) -> None:
        body = {"channel_id": "general", "content": said}
        headers = {"Idempotency-Key": said.replace(" ", "-")}
        url = f"{self.url}/api/v1/channels/messages"
        try:
            async with self.http.post(url, json=body, headers=headers) as response:
                answer = await response.json()
            if response.status == 201:
                self.journal.acked[said] = answer["seq"]
                return
            if response.status < 500:
                raise Unfound(f"{said!r} was answered {response.status}: {answer}")
        except (aiohttp.ClientError, TimeoutError, json.JSONDecodeError):
            pass  # Not acknowledged: it may be stored or not, and is said again.
        await asyncio.sleep(AGAIN_S)

    async def listen(self) -> None:
        """Follow the live page from the beginning, over every break of it, for ever."""
        while True:
            try:
                url = f"{self.url}/api/v1/live?after={self.journal.cursor}"
                async with self.http.ws_connect(url, heartbeat=5.0) as page:
                    async for message in page:
                        self._hear(json.loads(message.data))
            except (aiohttp.ClientError, TimeoutError):
                pass
            await asyncio.sleep(AGAIN_S)

    def _hear(self, frame: dict[str, object]) -> None:
        journal, seq = self.journal, frame.get("seq")
        if not isinstance(seq, int):
            return
        journal.backwards += seq <= journal.cursor
        journal.cursor = max(journal.cursor, seq)
        events = frame.get("events")
        if isinstance(events, list):
            for event in events:
                if event["kind"] == "message_posted":
                    journal.heard[seq] = event["data"]["content"]
        self.news.set()

    async def verified(self) -> dict[str, object] | None:
        """The first difference between tables and log, by the node's own account."""
        async with asyncio.timeout(RECOVERY_S):
            while True:
                status, answer = await self._verify()
                if status == 200:
                    difference: dict[str, object] | None = answer["difference"]
                    return difference
                if status != 503:
                    raise Unfound(f"verify was answered {status}: {answer}")
                await asyncio.sleep(AGAIN_S)

    async def _verify(self) -> tuple[int, dict[str, Any]]:
        """Status and body; 503 as well when the gateway has not noticed yet what was killed."""
        timeout = aiohttp.ClientTimeout(total=RECOVERY_S)
        url = f"{self.url}/api/v1/node/verify"
        try:
            async with self.http.post(url, timeout=timeout) as response:
                return response.status, await response.json()
        except aiohttp.ClientConnectionError:
            return 503, {}


@asynccontextmanager
async def crowd(parts: Parts, headers: dict[str, str]) -> AsyncIterator[Crowd]:
    """Posters and a listener at work on *parts*."""
    timeout = aiohttp.ClientTimeout(total=ANSWER_S)
    async with aiohttp.ClientSession(headers=headers, timeout=timeout) as http:
        at_work = Crowd(http, parts.url, Journal(), asyncio.Event())
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(at_work.post(nth)) for nth in range(POSTERS)]
            tasks.append(group.create_task(at_work.listen()))
            yield at_work
            for task in tasks:
                task.cancel()


async def chaos(directory: Path, rounds: int = 200, seed: int = 1) -> Report:
    """*rounds* kills, each followed by a count. Raises `Unfound` when the node does not recover."""
    chance = Random(seed)
    kills: Counter[str] = Counter()
    lost, doubled, differences = 0, 0, 0
    parts = Parts(directory)
    try:
        await parts.start("nats")
        await parts.start("actors")
        headers = await credentials(directory, parts.url, await parts.start("gateway"))
        async with crowd(parts, headers) as at_work:
            for _ in range(rounds):
                await asyncio.sleep(chance.uniform(*ROUND_S))
                victim = chance.choice(VICTIMS)
                kills[victim] += 1
                acked = await _killed(parts, victim, at_work)
                lost += len(at_work.journal.lost(acked))
                doubled += len(at_work.journal.doubled())
                differences += await at_work.verified() is not None
            journal = at_work.journal
    finally:
        await parts.stop()
    figures = (
        Figure("acknowledged", len(journal.acked), "posts"),
        Figure("acknowledged and lost", lost, "posts", 0.0),
        Figure("doubled", doubled, "posts", 0.0),
        Figure("heard out of order", journal.backwards, "commits", 0.0),
        Figure("parts that ended unkilled", parts.deserted, "times", 0.0),
        Figure("verify found a difference", differences, "times", 0.0),
    )
    told = ", ".join(f"{count} × {victim}" for victim, count in sorted(kills.items()))
    return Report("chaos", f"{rounds} × kill -9 under load ({told})", figures)


async def _killed(parts: Parts, victim: Victim, at_work: Crowd) -> dict[str, int]:
    """What was acknowledged until the node, bereft of *victim*, answers and is heard again."""
    journal = at_work.journal
    await parts.kill(victim)
    before = len(journal.acked)
    try:
        async with asyncio.timeout(RECOVERY_S):
            while len(journal.acked) < before + 2 * POSTERS:
                await parts.revive()
                await asyncio.sleep(AGAIN_S)
            acked = dict(journal.acked)
            await at_work.heard(max(acked.values()))
    except (TimeoutError, NoStart) as error:
        raise Unfound(f"no recovery in {RECOVERY_S:g} s after kill -9 of {victim}") from error
    return acked

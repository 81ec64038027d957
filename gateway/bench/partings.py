"""Clients of live pages that vanish at random moments and come back: nothing missed, nothing twice.

Each client hears a few frames, drops its connection without a word, and resumes after the last
position it knows. In the end each must have heard exactly what one heard who stayed.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from random import Random

import orjson

from gateway.bench.node import Node, node, ordered
from gateway.bench.posting import Order
from gateway.bench.posts import BODY
from gateway.bench.report import Figure, Report
from gateway.bench.wires import Ear

CLIENTS = 20
PATIENCE = 12
"""Frames that a client hears at most before it goes."""
POSTS_PER_S = 300.0
LINGER_S = 0.02
STAY = 1 << 30
STAY_S = 30.0


class Client:
    """One client: the positions it has heard, in order."""

    def __init__(self, ours: Node, chance: Random) -> None:
        self.heard: list[int] = []
        self.cursor = 0
        self.head = 0
        """How far the node was when the client last came."""
        self.partings = 0
        self._node = ours
        self._chance = chance
        self._left = 0
        self._satisfied = asyncio.Event()

    async def visit(self, patience: int, wait_s: float) -> None:
        """Hear up to *patience* frames, at most for *wait_s*, and be gone."""
        self._left = patience
        self._satisfied.clear()
        host = {"Host": f"{self._node.host}:{self._node.port}"}
        path = f"/api/v1/live?after={self.cursor}"
        _, ear = await asyncio.get_running_loop().create_connection(
            lambda: Ear(path, host | self._node.headers, self._hear),
            self._node.host,
            self._node.port,
        )
        try:
            async with asyncio.timeout(wait_s):
                await ear.open
                await self._satisfied.wait()
        except TimeoutError:
            pass  # There was less to hear than it had patience for.
        self._left = 0  # What is still on its way is for nobody.
        ear.abort()
        await ear.closed
        self.partings += 1

    async def come_and_go(self, count: int) -> None:
        """*count* visits."""
        for _ in range(count):
            await self.visit(self._chance.randint(1, PATIENCE), LINGER_S)

    async def catch_up(self) -> None:
        """Hear all there is."""
        self.head = self.cursor + 1
        while self.cursor < self.head:
            await self.visit(STAY, STAY_S)

    def _hear(self, _ear: Ear, payload: bytes) -> None:
        if not self._left:
            return
        frame = orjson.loads(payload)
        if frame["type"] == "hello":
            self.head = frame["head"]
        elif "seq" in frame:
            self.cursor = frame["seq"]
            if frame["type"] == "commit":
                self.heard.append(frame["seq"])
        self._left -= 1
        if not self._left or (self._left > PATIENCE and self.cursor >= self.head):
            self._satisfied.set()


async def partings(directory: Path, count: int = 10_000, seed: int = 1) -> Report:
    """*count* random disconnects of 20 clients under a load of posts; what each has heard."""
    chance = Random(seed)
    async with node(directory) as ours:
        clients = [Client(ours, Random(chance.random())) for _ in range(CLIENTS)]
        visits = asyncio.gather(*(one.come_and_go(count // CLIENTS) for one in clients))
        while not visits.done():
            order = Order(
                ours.host, ours.port, "/api/v1/channels/messages", ours.headers, BODY,
                clients=8, seconds=2.0, rate=POSTS_PER_S, warm_s=0.0,
            )  # fmt: skip
            await ordered("posting", order)
        await visits
        witness = Client(ours, chance)
        await asyncio.gather(*(one.catch_up() for one in [witness, *clients]))
    missed = sum(len(set(witness.heard) - set(one.heard)) for one in clients)
    doubled = sum(len(one.heard) - len(set(one.heard)) for one in clients)
    disordered = sum(one.heard != sorted(one.heard) for one in clients)
    figures = (
        Figure("commits", len(witness.heard), ""),
        Figure("disconnects", sum(one.partings for one in clients), ""),
        Figure("missed", missed, "commits", 0.0),
        Figure("doubled", doubled, "commits", 0.0),
        Figure("clients that heard out of order", disordered, "", 0.0),
    )
    return Report("partings", f"{CLIENTS} clients, {POSTS_PER_S:g} posts/s", figures)

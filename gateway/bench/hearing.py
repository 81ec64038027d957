"""A process that listens: many WebSockets, and somebody who posts what they are to hear.

    python -m gateway.bench.hearing < order.json > result.json

Each post carries the time at which it was due, so that whoever hears it knows how old it is. With
a rate of 0 nobody posts: the sockets are held, idle, until a second line comes on standard input.
"""

from __future__ import annotations

import asyncio
import sys
from collections import deque
from dataclasses import dataclass
from time import perf_counter
from typing import Any

import orjson
import uvloop

from gateway.bench.posting import times
from gateway.bench.wires import Asker, Ear, request_bytes

POSTERS = 16
OPENING_MAX = 50
OPEN_S = 60.0
MARK = b'"content":"@'


@dataclass(frozen=True, slots=True)
class Order:
    """`rate` posts a second on *channel*, for *seconds*, heard by *sockets*."""

    host: str
    port: int
    headers: dict[str, str]
    sockets: int
    rate: float = 0.0
    seconds: float = 0.0
    warm_s: float = 0.5
    channel: str = "general"


class Hall:
    """The sockets, the posters, and how old the news was."""

    def __init__(self, order: Order) -> None:
        self._order = order
        self._headers = {"Host": f"{order.host}:{order.port}", **order.headers}
        self._loop = asyncio.get_running_loop()
        self._askers: list[Asker] = []
        self._idle: deque[Asker] = deque()
        self._due: deque[float] = deque()
        self._ears: list[Ear] = []
        self._ages_s: list[float] = []
        self._posted = 0
        self._refused = 0
        self._from_s = float("inf")

    async def open(self) -> None:
        """All sockets are open."""
        places = asyncio.Semaphore(OPENING_MAX)
        async with asyncio.timeout(OPEN_S), asyncio.TaskGroup() as group:
            for _ in range(self._order.sockets):
                group.create_task(self._open_one(places))

    async def _open_one(self, places: asyncio.Semaphore) -> None:
        async with places:
            _, ear = await self._loop.create_connection(
                lambda: Ear("/api/v1/live", self._headers, self._heard),
                self._order.host,
                self._order.port,
            )
            await ear.open
            self._ears.append(ear)

    async def post(self) -> dict[str, Any]:
        """Post at the rate ordered; how old the posts were when they were heard."""
        order = self._order
        for _ in range(POSTERS):
            _, asker = await self._loop.create_connection(
                lambda: Asker(self._answered), order.host, order.port
            )
            self._idle.append(asker)
            self._askers.append(asker)
        start_s = perf_counter()
        self._from_s = start_s + order.warm_s
        for nth in range(int(order.rate * (order.warm_s + order.seconds))):
            due_s = start_s + nth / order.rate
            if (ahead_s := due_s - perf_counter()) > 0:
                await asyncio.sleep(ahead_s)
            self._posted += due_s >= self._from_s
            self._post(due_s)
        await self._all_heard()
        return {
            "posted": self._posted,
            "refused": self._refused,
            "missed": self._posted * order.sockets - len(self._ages_s),
            **times(self._ages_s),
        }

    def _post(self, due_s: float) -> None:
        body = {"channel_id": self._order.channel, "content": f"@{due_s!r}@ says the clock."}
        path = "/api/v1/channels/messages"
        if self._idle:
            request = request_bytes("POST", path, self._headers, orjson.dumps(body))
            self._idle.popleft().ask(request)
        else:
            self._due.append(due_s)

    def _answered(self, asker: Asker, status: int, _body: bytes) -> None:
        self._refused += status != 201
        self._idle.append(asker)
        if self._due:
            self._post(self._due.popleft())

    async def _all_heard(self) -> None:
        """Returns when every socket has heard every post, or after two seconds."""
        for _ in range(200):
            if len(self._ages_s) >= self._posted * self._order.sockets:
                return
            await asyncio.sleep(0.01)

    def _heard(self, _ear: Ear, payload: bytes) -> None:
        start = payload.find(MARK)
        if start < 0:
            return
        start += len(MARK)
        due_s = float(payload[start : payload.index(b"@", start)])
        if due_s >= self._from_s:
            self._ages_s.append(perf_counter() - due_s)

    async def close(self) -> None:
        """All sockets are closed."""
        for asker in self._askers:
            asker.close()
        for ear in self._ears:
            ear.abort()
        await asyncio.gather(*(ear.closed for ear in self._ears))


async def _main() -> None:
    order = Order(**orjson.loads(sys.stdin.buffer.readline()))
    hall = Hall(order)
    await hall.open()
    if order.rate:
        result = await hall.post()
    else:
        result = {"open": order.sockets}
    sys.stdout.buffer.write(orjson.dumps(result) + b"\n")
    sys.stdout.buffer.flush()
    if not order.rate:
        await asyncio.get_running_loop().run_in_executor(None, sys.stdin.buffer.readline)
    await hall.close()


if __name__ == "__main__":
    uvloop.run(_main())

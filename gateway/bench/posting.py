"""A process that posts: *clients* connections, as fast as they are answered or at a steady rate.

    python -m gateway.bench.posting < order.json > result.json

At a steady rate a post is timed from when it was due, so a stall counts for all that it delays.
"""

from __future__ import annotations

import asyncio
import sys
from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import Any

import orjson
import uvloop

from gateway.bench.report import quantile
from gateway.bench.wires import Asker, request_bytes

MARGIN_S = 5.0


@dataclass(frozen=True, slots=True)
class Order:
    """What to post: `rate` 0 means as fast as possible; `warm_s` at the start is not counted."""

    host: str
    port: int
    path: str
    headers: dict[str, str]
    body: dict[str, Any]
    clients: int
    seconds: float
    rate: float = 0.0
    warm_s: float = 0.5


class Load:
    """The connections and what they have seen."""

    def __init__(self, order: Order) -> None:
        self._order = order
        headers = {"Host": f"{order.host}:{order.port}", **order.headers}
        self._request = request_bytes("POST", order.path, headers, orjson.dumps(order.body))
        self._loop = asyncio.get_running_loop()
        self._askers: list[Asker] = []
        self._idle: deque[Asker] = deque()
        self._due: deque[float] = deque()
        self._took_s: list[float] = []
        self._statuses: Counter[int] = Counter()
        self._from_s = 0.0
        self._until_s = float("inf")

    async def run(self) -> dict[str, Any]:
        """Post for the time ordered; what came of it, times in milliseconds."""
        order = self._order
        for _ in range(order.clients):
            _, asker = await self._loop.create_connection(
                lambda: Asker(self._answered), order.host, order.port
            )
            self._idle.append(asker)
            self._askers.append(asker)
        start_s = perf_counter()
        self._from_s = start_s + order.warm_s
        self._until_s = self._from_s + order.seconds
        if order.rate:
            await self._steadily(start_s)
        else:
            while self._idle:
                self._post(self._idle.popleft(), perf_counter())
        await asyncio.sleep(self._until_s - perf_counter() + 0.05)
        for asker in self._askers:
            asker.close()
        return self._result()

    async def _steadily(self, start_s: float) -> None:
        count = int(self._order.rate * (self._order.warm_s + self._order.seconds))
        for nth in range(count):
            due_s = start_s + nth / self._order.rate
            if (ahead_s := due_s - perf_counter()) > 0:
                await asyncio.sleep(ahead_s)
            if self._idle:
                self._post(self._idle.popleft(), due_s)
            else:
                self._due.append(due_s)

    def _post(self, asker: Asker, due_s: float) -> None:
        asker.sent_s = due_s
        asker.ask(self._request)

    def _answered(self, asker: Asker, status: int, _body: bytes) -> None:
        now_s = perf_counter()
        if self._from_s <= now_s <= self._until_s:
            self._took_s.append(now_s - asker.sent_s)
            self._statuses[status] += 1
        if now_s > self._until_s:
            return  # What was due and is not posted yet has waited long enough to be seen.
        if self._due:
            self._post(asker, self._due.popleft())
        elif self._order.rate:
            self._idle.append(asker)
        else:
            self._post(asker, now_s)

    def _result(self) -> dict[str, Any]:
        return {
            "statuses": dict(self._statuses),
            "rate": len(self._took_s) / self._order.seconds,
            **times(self._took_s),
        }


def times(took_s: Sequence[float]) -> dict[str, float]:
    """The usual quantiles in milliseconds; of nothing, endless ones."""
    ordered = sorted(took_s) or [float("inf")]
    shares = {"p50_ms": 0.5, "p99_ms": 0.99, "max_ms": 1.0}
    return {name: quantile(ordered, share) * 1000 for name, share in shares.items()}


async def _main() -> None:
    order = Order(**orjson.loads(sys.stdin.buffer.read()))
    async with asyncio.timeout(order.warm_s + order.seconds + MARGIN_S):
        result = await Load(order).run()
    sys.stdout.buffer.write(orjson.dumps(result, option=orjson.OPT_NON_STR_KEYS))


if __name__ == "__main__":
    uvloop.run(_main())

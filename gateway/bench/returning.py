"""A process that follows: many WebSockets, each of which comes back whenever it is cut off.

    python -m gateway.bench.returning < orders.json > results.json

The first line on standard input is an `Order`, the second the positions of all that was said. The
first line on standard output tells that all are in, the second that all were cut off and are back,
the third a `Tally`.
"""

from __future__ import annotations

import asyncio
import sys
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from random import Random
from time import monotonic
from typing import Any

import orjson
import uvloop

from gateway.bench.report import quantile
from gateway.bench.wires import Ear
from gateway.descriptors import ask_for_all

OPENING_MAX = 50
OPENING_S = 120.0
SPREAD_S = 5.0
"""Who was cut off comes after a moment drawn from so many seconds, from twice and four times as
many when he found nobody: those who come by a clock that all go by come together again."""
SPREADS = (1, 2, 4)
ATTEMPT_S = 30.0
RETURNING_S = 120.0
CAUGHT_UP_S = 30.0
LOOK_S = 0.1


@dataclass(frozen=True, slots=True)
class Order:
    """So many `sockets`, of the holders of `keys` in turn."""

    host: str
    port: int
    keys: list[str]
    sockets: int
    spread_s: float
    seed: int


@dataclass
class Tally:
    """What became of the followers of one process. Times are those of this machine's clock."""

    half_s: float = 0.0
    """When half of them had been greeted again."""
    last_s: float = 0.0
    turned_away: dict[str, int] = field(default_factory=dict)
    """Status → how often it was answered."""
    unanswered: int = 0
    """Attempts that nobody answered."""
    missed: int = 0
    doubled: int = 0
    disordered: int = 0


class Follower:
    """One who follows, and remembers his position."""

    def __init__(self, house: House, key: str) -> None:
        self.heard: list[int] = []
        self.cursor = 0
        self.back_s = 0.0
        self.visits = 0
        self._house = house
        self._key = key

    async def follow(self, places: asyncio.Semaphore) -> None:
        """Come in when there is a place, and again whenever it ends, for ever."""
        async with places:
            ear = await self._visit()
        house, failures = self._house, 0
        while True:
            if ear is not None:
                await ear.closed
                failures = 0
            spread_s = house.order.spread_s * SPREADS[min(failures, len(SPREADS) - 1)]
            await asyncio.sleep(house.chance.uniform(0, spread_s))
            ear = await self._visit()
            failures += 1

    async def _visit(self) -> Ear | None:
        """An open page; None when there was none."""
        house, order = self._house, self._house.order
        after = f"&after={self.cursor}" if self.visits else ""
        headers = {"Host": f"{order.host}:{order.port}", "X-API-Key": self._key}
        ear = Ear(f"/api/v1/live?channel=general{after}", headers, self._hear)
        try:
            async with asyncio.timeout(ATTEMPT_S):
                await asyncio.get_running_loop().create_connection(
                    lambda: ear, order.host, order.port
                )
                await ear.open
        except (OSError, TimeoutError) as error:
            house.told_off(error)
            ear.abort()
            return None
        return ear

    def _hear(self, _ear: Ear, payload: bytes) -> None:
        frame = orjson.loads(payload)
        match frame["type"]:
            case "hello":
                self.cursor = self.cursor if self.visits else frame["head"]
                self.back_s = monotonic()
                self.visits += 1
            case "commit":
                self.heard.append(frame["seq"])
                self.cursor = frame["seq"]
            case "snapshot":
                self.cursor = frame["head"]
            case "position":
                self.cursor = frame["seq"]


class House:
    """All followers of one process."""

    def __init__(self, order: Order) -> None:
        self.order = order
        self.chance = Random(order.seed)
        self._refusals: Counter[str] = Counter()
        self._unanswered = 0
        keys = order.keys
        self._followers = [Follower(self, keys[nth % len(keys)]) for nth in range(order.sockets)]

    def told_off(self, error: Exception) -> None:
        """An attempt has failed: with an answer, or without one."""
        head = str(error)
        if head.startswith("HTTP/1.1 "):
            self._refusals[head[9:12]] += 1
        else:
            self._unanswered += 1

    async def stay(self, tell: Callable[[object], None]) -> None:
        """Follow until the second line comes, and tell what is to be told."""
        places = asyncio.Semaphore(OPENING_MAX)
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(one.follow(places)) for one in self._followers]
            await self._until(lambda one: one.visits >= 1, OPENING_S)
            tell({"open": len(tasks)})
            await self._until(lambda one: one.visits >= 2, RETURNING_S)
            tell({"back": len(tasks)})
            said = orjson.loads(await asyncio.to_thread(sys.stdin.buffer.readline))
            tell(asdict(await self._tally(said)))
            for task in tasks:
                task.cancel()

    async def _until(self, done: Callable[[Follower], bool], within_s: float) -> None:
        """It is so for each follower. Raises TimeoutError when that takes too long."""
        async with asyncio.timeout(within_s):
            while not all(map(done, self._followers)):  # noqa: ASYNC110 - of thousands
                await asyncio.sleep(LOOK_S)

    async def _tally(self, said: list[int]) -> Tally:
        """How what was heard differs from what was *said*, once all have come so far."""
        with suppress(TimeoutError):  # Then it is missed.
            await self._until(lambda one: one.cursor >= said[-1], CAUGHT_UP_S)
        tally = Tally(turned_away=dict(self._refusals), unanswered=self._unanswered)
        back_s = sorted(one.back_s for one in self._followers)
        tally.half_s, tally.last_s = quantile(back_s, 0.5), back_s[-1]
        for one in self._followers:
            heard = set(one.heard)
            tally.missed += len(set(said) - heard)
            tally.doubled += len(one.heard) - len(heard)
            tally.disordered += one.heard != sorted(one.heard)
        return tally


def _tell(what: Any) -> None:
    sys.stdout.buffer.write(orjson.dumps(what) + b"\n")
    sys.stdout.buffer.flush()


async def _main() -> None:
    ask_for_all()
    await House(Order(**orjson.loads(sys.stdin.buffer.readline()))).stay(_tell)


if __name__ == "__main__":
    uvloop.run(_main())

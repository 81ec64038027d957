"""Those who use a simulated world: clients who ask until they are answered, and listeners.

A client sends a wish with the same id, over one gateway or another, until it has an answer that is
final. What it was answered lies in a `Journal` that outlives every process.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial

from actors.supervisor import supervise
from bus.attachment import Bus
from bus.commands import Unavailable
from bus.log import Missing
from bus.wire import BrokerLost
from gateway.bench.simulation.expiring import Expiring
from gateway.bench.simulation.loop import Process
from gateway.bench.simulation.workload import Wish
from gateway.bench.simulation.world import World
from gateway.expiry import expire
from schemas.envelope import Answer, Refusal, Refused, Request

AGAIN_S = 0.3
"""Until a client that was not answered asks again."""
PATIENCE_S = 8.0
"""Until a client asks again although its gateway has not said no."""
PASSING = frozenset({"unacknowledged", "contended", "log_full"})
"""Refusals after which a client asks again."""


@dataclass(frozen=True)
class Told:
    """What one client was answered in the end, and when it first asked."""

    request: Request
    asked_s: float
    told_s: float
    answer: Answer


@dataclass
class Journal:
    """What clients and listeners know."""

    told: list[Told] = field(default_factory=list)
    asked: dict[tuple[str, str], float] = field(default_factory=dict)
    """(command id, fingerprint) → when it was first sent."""
    heard: dict[str, list[bytes]] = field(default_factory=dict)
    """Gateway → the payloads it has heard, from position 1 on."""
    unanswered: int = 0


class People:
    """The clients and listeners of one world."""

    def __init__(self, world: World) -> None:
        self.journal = Journal()
        self._world = world
        self._open: dict[str, tuple[Process, Bus]] = {}
        self._gateways = [
            one for one in world.shape.processes if one.startswith(("gateway", "node"))
        ]
        self.gateways = len(self._gateways)
        wait_s = world.settings.read_wait_s
        self._tables = {name: Expiring(wait_s) for name in self._gateways}
        world.rooms = self.rooms

    async def rooms(self, name: str, bus: Bus) -> None:
        """What lives in the gateway *name*, for ever."""
        self._open[name] = (self._world.running[name], bus)
        async with asyncio.TaskGroup() as group:
            group.create_task(bus.gone())
            group.create_task(self._listen(name, bus))
            tables = self._tables[name]
            looking = partial(expire, tables, bus.commands, bus.settings, bus.clock.believed_ms)
            group.create_task(supervise("expiry", looking, bus.settings, bus.telemetry))

    async def live(self, wishes: Sequence[Sequence[Wish]]) -> None:
        """Every client has been answered everything."""
        async with asyncio.TaskGroup() as group:
            for mine in wishes:
                self.journal.unanswered += len(mine)
                group.create_task(self._client(mine))

    def heard(self, seq: int) -> bool:
        """Whether every listener has come as far as *seq*."""
        return all(len(self.journal.heard.get(name, ())) >= seq for name in self._gateways)

    @property
    def overdue(self) -> bool:
        """Whether something is still there that expired before the time of the clock that is the
        furthest behind."""
        now = self._world.clocks.late()
        return any(tables.expired(now) for tables in self._tables.values())

    async def _client(self, wishes: Sequence[Wish]) -> None:
        for wish in wishes:
            await asyncio.sleep(wish.pause_s)
            async with asyncio.TaskGroup() as group:
                group.create_task(self._ask(wish.request, wish.over))
                if wish.also >= 0:
                    group.create_task(self._ask(wish.request, wish.also))
            self.journal.unanswered -= 1

    async def _ask(self, request: Request, over: int) -> None:
        """Ask until there is an answer that is final."""
        world, trace = self._world, self._world.trace
        wish = (request.id, request.fingerprint)
        asked_s = self.journal.asked.setdefault(wish, world.loop.time())
        while True:
            name = self._gateways[over % len(self._gateways)]
            answer = await self._attempt(name, request)
            if answer is not None and not _passing(answer):
                break
            over += 1
            await asyncio.sleep(AGAIN_S)
        told = answer.refused.code if answer.refused else f"seq {answer.seq}"
        what = f"{request.command.kind} {request.noun}.{request.key}"
        trace.note(f"{request.id} {what} → {told}{' replayed' * answer.replayed}", name)
        if world.marked() < answer.seq:
            trace.violated(f"{request.id} was acknowledged at {answer.seq}, which is not marked")
        self.journal.told.append(Told(request, asked_s, world.loop.time(), answer))

    async def _attempt(self, name: str, request: Request) -> Answer | None:
        """The answer that the gateway *name* gives, None when it gives none in time."""
        world = self._world
        process, bus = self._open.get(name, (None, None))
        if process is None or bus is None or not process.alive:
            return None
        answered: asyncio.Future[Answer | None] = world.loop.create_future()

        async def send() -> None:
            try:
                answer: Answer | None = await bus.commands.send(request)
            except Refused as refused:
                answer = Answer(
                    seq=0, refused=Refusal(code=refused.code, message="", detail=refused.detail)
                )
            except Unavailable:
                answer = None
            world.loop.call_soon(_tell, answered, answer, context=world.process.context)

        world.loop.begin(process, send())
        try:
            async with asyncio.timeout(PATIENCE_S):
                return await answered
        except TimeoutError:
            return None

    async def _listen(self, name: str, bus: Bus) -> None:
        """Hear the log from where this gateway was when it died."""
        heard = self.journal.heard.setdefault(name, [])
        try:
            async for page in bus.log.tail(len(heard)):
                for one in page:
                    if one.seq != len(heard) + 1:
                        self._world.trace.violated(f"{name} heard {one.seq} after {len(heard)}")
                    heard.append(one.payload)
                self._tables[name].hear(page)
        except Missing as error:
            self._world.trace.violated(f"{name}: {error}")
            raise BrokerLost(str(error)) from error


def _passing(answer: Answer) -> bool:
    return answer.refused is not None and answer.refused.code in PASSING


def _tell(answered: asyncio.Future[Answer | None], answer: Answer | None) -> None:
    if not answered.done():
        answered.set_result(answer)

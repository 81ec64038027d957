"""One simulated world: a broker, several actor processes and gateways, and what befalls them.

Everything between the lines is the product's own: processes are run by `gateway.node.renewed`,
attach with `bus.attachment.attached` and live in `actors.__main__.act`.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine
from contextlib import AsyncExitStack, closing
from dataclasses import dataclass, field, replace
from functools import cache
from hashlib import blake2b
from pathlib import Path
from random import Random
from tempfile import gettempdir
from typing import Any

from actors.__main__ import act, durables
from bus.attachment import Bus, attached, notarize, prepared
from bus.commands import LocalCommands
from bus.crypto.identity import SECRET_BYTES, Identity, Secrets, identity
from bus.key_table import KeyTable
from bus.marks import MarksDamaged, highest, storage
from bus.roles import Endpoint, Role
from bus.server import HEADERS_BYTES
from bus.storage import storage_at
from bus.telemetry import Telemetry
from bus.vault import Vault
from gateway.bench.simulation.broker import Behaviour, Broker, Disk
from gateway.bench.simulation.clocks import Clocks
from gateway.bench.simulation.disk import SimulatedDisk
from gateway.bench.simulation.loop import PROCESS, Killed, Process, SimulatedLoop
from gateway.bench.simulation.network import Network
from gateway.bench.simulation.stream import Stream
from gateway.bench.simulation.trace import Trace, passing
from gateway.node import renewed
from schemas.settings import MIB, Settings

BROKER = ("broker", 4222)
URL = "nats://broker:4222"
LOG = "EVT"
DATA = Path(gettempdir())
"""Only looked at, for the room that it has: what is kept there lies on the simulated disk."""
VAULT = DATA / "vault"
DISK_LOOK_S = 60.0
"""The disk of this machine is no part of a world: one look a minute is enough."""
PRIVATE_END = b'"message_deleted","data":{"private":true'
ERASURE = b'"content_erased"'
RESPAWN_S = 1.0
"""Until a process that has given up is started again by whoever runs it."""


@dataclass(frozen=True)
class Shape:
    """How large a world is, and how its disk and its settings are."""

    processes: tuple[str, ...]
    """`keeper`, which prepares the broker and attests the log; `actors-<n>`, `gateway-<n>`, or
    `node-<n>` for both in one process. All are of one node."""
    clients: int
    wishes: int
    """Of each client."""
    busy_s: float
    """In which clients act and faults happen; after it everything heals."""
    sync_s: tuple[float, float]
    knobs: dict[str, Any] = field(default_factory=dict)


Rooms = Callable[[str, Bus], Coroutine[Any, Any, None]]
"""What lives in a gateway (its name, its bus), for ever."""


class World:
    """Who takes part, and how each of them can be hurt."""

    def __init__(self, loop: SimulatedLoop, chance: Random, shape: Shape, *, lazy: bool) -> None:
        self.loop = loop
        self.chance = chance
        self.shape = shape
        self.trace = Trace(loop.time)
        self.clocks = Clocks(loop)
        self.network = Network(loop, chance)
        self.disk = Disk()
        self.files = SimulatedDisk(chance, self._comes_to)
        self.process = Process("world")
        self.rooms: Rooms
        self.dead: list[Process] = []
        self.running: dict[str, Process] = {}
        self.attached: set[str] = set()
        self.losing = 0.0
        """The chance that a message gets lost on its way from the broker."""
        self.doubling = 0.0
        self.slowness = 1.0
        """How many times slower than usual the disk is."""
        self.armed: dict[str, int] = {}
        """Process → at which of the next kill points it dies."""
        self._lazy = lazy
        self.broker: Broker | None = None
        self.settings = Settings(
            nats_url=URL,  # So that nobody looks for the broker's disk on this machine.
            data_directory=DATA,
            disk_reserve_bytes=0,
            disk_spare_bytes=0,
            disk_look_every_s=DISK_LOOK_S,
            log_bytes_max=64 * MIB,
            **shape.knobs,
        )
        self.acked: dict[tuple[str, int], int] = {}
        """(reactor, position) → the head of the log when it was first acknowledged."""
        self._behaviour = Behaviour(
            wall_s=self.clocks.now_s,
            max_payload=self.settings.payload_bytes_max + HEADERS_BYTES,
            sync_s=self._sync_s,
            loses=lambda _subject: chance.random() < self.losing,
            doubles=lambda subject: subject.startswith("cmd.") and chance.random() < self.doubling,
            acked=self._dealt_with,
            lazy=lazy,
        )

    def _sync_s(self, messages: int) -> float:
        least, most = self.shape.sync_s
        return (least + (most - least) * self.chance.random()) * self.slowness + 1e-5 * messages

    def _dealt_with(self, reactor: str, seq: int) -> None:
        self.acked.setdefault((reactor, seq), self.log.head)

    # The broker.

    def furnish(self) -> None:
        """There is a vault; the streams are made by whoever prepares the broker."""
        KeyTable(storage_at(VAULT), node(), VAULT.name, str(VAULT)).create()

    @property
    def log(self) -> Stream:
        """The event log as it lies on the broker's disk."""
        return self.disk.streams.get(LOG) or Stream({}, "")

    @property
    def payloads(self) -> list[bytes]:
        """What the log holds, position after position."""
        return [one.payload for one in self.log.kept if one is not None]

    def vault(self) -> Vault:
        """The node's vault, as the process that asks sees it."""
        return Vault(storage_at(VAULT), node(), VAULT.name, str(VAULT))

    def marked(self) -> int:
        """The highest position that is known outside of the log; 0 when that cannot be read."""
        try:
            return int(self.process.context.run(lambda: highest(storage(self.settings))))
        except MarksDamaged:
            return 0

    @property
    def idle(self) -> bool:
        """Whether everybody is there, reactors have dealt with everything, and what was deleted is
        erased."""
        if len(self.attached) < len(self.shape.processes):
            return False
        payloads = self.payloads
        deleted = sum(PRIVATE_END in one for one in payloads)
        if deleted > sum(ERASURE in one for one in payloads):
            return False
        return self.broker is not None and all(one.idle for one in self.broker.consumers.values())

    def start_broker(self) -> None:
        """The broker listens."""
        if self.broker is not None:
            return
        process = self.running["broker"] = Process("broker")

        def start() -> Broker:
            return Broker(self.disk, self._behaviour, self.chance)

        self.broker = process.context.run(start)
        self.network.listening[BROKER] = (process, self.broker.session)
        self.trace.note(f"starts at position {self.log.head}", "broker")

    def stop_broker(self, *, power_cut: bool) -> None:
        """The broker dies, and its machine with it when the power is cut."""
        broker, self.broker = self.broker, None
        if broker is None:
            return
        del self.network.listening[BROKER]
        self._die("broker")
        if broker.writing is not None and self.chance.random() < 0.5:
            stream, batch = broker.writing  # It had reached the disk, and nobody knows.
            stream.store(batch, self.clocks.now_s())
            if not self._lazy:
                stream.sync()
        lost = 0
        for stream in self.disk.streams.values() if power_cut else ():
            unsynced = stream.head - stream.synced
            lost += len(stream.cut(self.chance.randint(0, unsynced)))
        for name, (config, history) in self.disk.places.items():
            place = self.chance.choice(list(history)).copy()
            place.floor = min(place.floor, self.log.head)
            self.disk.places[name] = (config, deque([place]))
        how = f"loses its power, and {lost} unsynced messages" if power_cut else "is killed"
        self.trace.note(f"{how}, at position {self.log.head}", "broker")

    # Processes.

    def start(self, name: str) -> None:
        """The process *name* runs: an actor process or a gateway."""
        if name in self.running:
            return
        process = self.running[name] = Process(name)
        self.clocks.starts(process, blank=not self.log.head)
        self.trace.note("starts", name)
        task = self.loop.begin(process, self._renewed(name))
        task.add_done_callback(lambda done: self._exited(process, done), context=process.context)

    def kill(self, name: str) -> None:
        """The process *name* is killed."""
        if name in self.running:
            self.trace.note("is killed", name)
            self._die(name)

    def skew(self, name: str, by_s: float) -> None:
        """The wall clock of *name* is set, now and after each start."""
        self.clocks.set(name, self.running.get(name), by_s)

    def passed(self, point: str) -> None:
        """A process comes to a kill point."""
        if self._comes_to(point):
            raise Killed(point)

    def _comes_to(self, place: str) -> bool:
        """Whether the process that comes to *place*, or is about to write to it, dies there."""
        process = PROCESS.get()
        left = self.armed.get(process.name)
        if left is None or not process.alive:
            return False
        self.armed[process.name] = left - 1
        if left > 1:
            return False
        del self.armed[process.name]
        self.trace.note(f"is killed at {place}")
        self._die(process.name)
        return True

    def _die(self, name: str) -> None:
        process = self.running.pop(name)
        self.attached.discard(name)
        self.loop.kill(process)
        self.network.bury(process)
        self.files.bury(process)
        self.dead.append(process)

    def _exited(self, process: Process, task: asyncio.Task[None]) -> None:
        """A process that gives up ends; whoever runs it will start it again."""
        error = None if task.cancelled() else task.exception()
        if process.alive and self.running.get(process.name) is process:
            self.trace.note(f"gives up: {error!r}")
            if not passing(error):
                self.trace.violated(f"{process.name} ended with {error!r}")
            self._die(process.name)
            again = self.process.context
            self.loop.call_later(RESPAWN_S, self.start, process.name, context=again)

    async def _renewed(self, name: str) -> None:
        kind, _, _ = name.partition("-")
        telemetry, steady = Telemetry(name), self.clocks.steady(self.settings)
        endpoint = Endpoint(URL, {}, self.settings.log_bytes_max)

        async def once() -> None:
            async with AsyncExitStack() as stack:

                async def attach(role: Role) -> Bus:
                    one = attached(endpoint, role, node(), self.settings, telemetry, steady)
                    return await stack.enter_async_context(one)

                match kind:
                    case "keeper":
                        await prepared(endpoint, self.settings, durables())
                        bus = await attach("notary")
                        rooms = [bus.gone(), notarize(bus)]
                    case "actors":
                        rooms = [
                            act(await attach("actors"), stack.enter_context(closing(self.vault())))
                        ]
                    case "gateway":
                        rooms = [self.rooms(name, await attach("gateway"))]
                    case _:  # As `canopy up` has it: both in one process.
                        actors, bus = await attach("actors"), await attach("gateway")
                        actors.log.share(bus.log)
                        here = LocalCommands(self.settings.command_timeout_s)
                        people = self.rooms(name, replace(bus, commands=here))
                        rooms = [
                            act(actors, stack.enter_context(closing(self.vault())), here),
                            people,
                        ]
                self.trace.note("is attached")
                self.attached.add(name)
                self.clocks.attached(name, self.payloads, self.settings)
                try:
                    async with asyncio.TaskGroup() as group:
                        for room in rooms:
                            group.create_task(room)
                finally:
                    self.attached.discard(name)

        await renewed(name, once, self.settings, telemetry)


@cache
def node() -> Identity:
    """The node that all processes are of: the same in every world."""
    seeds = (blake2b(b"%d" % nth, digest_size=SECRET_BYTES) for nth in range(3))
    return identity(Secrets(*(one.digest() for one in seeds)))

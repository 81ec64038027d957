"""What one process holds of the bus: its connections, the log, and where commands are sent.

Attached once in a root and handed to the rooms. When the broker goes, `gone` raises, the rooms end,
and the root attaches anew.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import TypeVar

import orjson
import structlog
from nats.aio.client import Client
from nats.errors import Error as NatsError

from bus.alarm import Alarm
from bus.clock import Clock
from bus.commands import Commands, WireCommands
from bus.connection import RETRY_S, Connection, connected, wired
from bus.consumer import Delivery, deliveries
from bus.copies import COPIES, counted
from bus.crypto.identity import Identity
from bus.inspection import inspected
from bus.jetstream import APPENDED, JetStreamLog, epoch_of
from bus.log import Leaderless
from bus.lookout import look_out, settle
from bus.marking import look, marked, never_begun
from bus.marks import storage
from bus.notary import Notary
from bus.roles import Endpoint, Role
from bus.signs import NatsSigns
from bus.snapshots import BUCKET, BucketSnapshots
from bus.steady import Steady
from bus.telemetry import Telemetry
from bus.topology import UNSEEN, Durable, Unfit, check, check_servers, ensure, present
from bus.wire import BrokerLost, Wire
from schemas.settings import Settings

CLOCK = re.compile("[0-9a-f]{16}")

Found = TypeVar("Found")

journal = structlog.get_logger()


@dataclass(frozen=True)
class Bus:
    """The bus as one role sees it."""

    endpoint: Endpoint
    role: Role
    settings: Settings
    identity: Identity
    telemetry: Telemetry
    log: JetStreamLog
    commands: Commands
    clock: Clock
    wire: Wire
    connection: Connection

    async def gone(self) -> None:
        """Waits until the broker goes, then raises `bus.wire.BrokerLost`."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self.connection.watch())
            if self.endpoint.external:
                group.create_task(look_out(self.wire, self.endpoint, self.role, self.settings))
            await asyncio.shield(self.wire.lost)

    def deliveries(self, durable: str) -> AsyncGenerator[Delivery]:
        """What the reactor *durable* has still to work on. For the role `actors`."""
        return deliveries(self._client, durable, clustered=self.endpoint.external)

    async def snapshots(self) -> BucketSnapshots:
        """The bucket of snapshots. For the role `actors`. Raises `bus.wire.BrokerLost`."""

        async def bucket() -> BucketSnapshots:
            return BucketSnapshots(await self._client.jetstream().key_value(BUCKET))

        return await _awaited(bucket, self.wire, self.settings)

    @property
    def signs(self) -> NatsSigns:
        """Where typing and presence are shown."""
        return NatsSigns(self._client)

    @property
    def _client(self) -> Client:
        return self.connection.client


@asynccontextmanager
async def attached(
    endpoint: Endpoint,
    role: Role,
    identity: Identity,
    settings: Settings,
    telemetry: Telemetry,
    steady: Steady | None = None,
) -> AsyncIterator[Bus]:
    """The bus as *role* sees it, as long as the block lasts. Raises `bus.wire.BrokerLost`.

    *steady* is what this process believes of the wall clock; it outlives what is attached.
    """
    if endpoint.external:
        await settle(endpoint, role, settings)
    async with (
        connected(endpoint, role, settings) as connection,
        wired(endpoint, role, settings) as wire,
        AsyncExitStack() as stack,
    ):
        stream = await _awaited(lambda: JetStreamLog.info(wire, settings), wire, settings)
        epoch, mark, damaged = epoch_of(stream["created"]), None, ""
        if role == "actors":
            mark, damaged = await stack.enter_async_context(marked(settings, epoch, wire))
        log = JetStreamLog(wire, settings, epoch, mark, clustered=endpoint.external)
        log.writer.damaged = damaged
        log.writer.observe = telemetry.stored
        wire.subscribe(APPENDED, lambda _reply, _header, data: log.nudge(data))
        steady = steady or Steady(settings)
        clock = Clock(believed_ms=steady.now_ms)
        await _catch_up(clock, log, stream["state"]["last_seq"])
        steady.begin(clock.ms)
        commands = WireCommands(wire, settings.command_timeout_s)
        yield Bus(
            endpoint, role, settings, identity, telemetry, log, commands, clock, wire, connection
        )


async def prepared(endpoint: Endpoint, settings: Settings, durables: Iterable[Durable]) -> None:
    """The streams and consumers are there, the broker keeps what it acknowledges, and has kept it.

    A log that has lost or changed something sounds the alarm, and is read all the same. Raises
    `bus.topology.Unfit` or `TopologyRefused` when there is none that could be read, or trusted.
    """
    try:
        await _prepared(endpoint, settings, durables)
    except Leaderless as error:
        raise BrokerLost(str(error)) from error
    except Unfit as unfit:
        servers = endpoint.servers
        if unfit.fault in UNSEEN and servers is not None and servers.proved:
            raise BrokerLost(str(unfit)) from unfit  # They were fit, and will be seen again.
        raise
    if endpoint.servers is not None:
        endpoint.servers.proved = True


async def _prepared(endpoint: Endpoint, settings: Settings, durables: Iterable[Durable]) -> None:
    copies = 1
    if endpoint.external:
        await settle(endpoint, "supervisor", settings)
        copies = COPIES if await check_servers(endpoint, settings) >= COPIES else 1
    kept = await asyncio.to_thread(storage, settings)
    try:
        async with connected(endpoint, "supervisor", settings) as supervisor:
            if not await present(supervisor.client, settings):
                await never_begun(kept)
            await ensure(supervisor.client, endpoint, settings, durables, copies)
            state = await check(supervisor.client, endpoint, settings)
        async with wired(endpoint, "notary", settings) as wire:
            epoch = epoch_of(state.created)
            log = JetStreamLog(wire, settings, epoch, clustered=endpoint.external)
            # Others may have begun a log that is kept elsewhere: the first look at it is trusted.
            fault = await inspected(log, kept, look(wire, settings), trust=endpoint.external)
            if warning := await counted(endpoint, wire, settings):
                journal.critical("log_copies", warning=warning)
        if fault is not None:
            await asyncio.to_thread(Alarm(kept).sound, fault)
    finally:
        kept.close()


async def notarize(bus: Bus) -> None:
    """Attest the log of *bus*, for ever (`bus.notary`)."""
    await Notary(bus.log, bus.settings, look(bus.wire, bus.settings)).run()


async def _awaited(seek: Callable[[], Awaitable[Found]], wire: Wire, settings: Settings) -> Found:
    """What *seek* finds, once it is there: a process may start before the broker is `prepared`.

    Raises `bus.wire.BrokerLost` when it is not there in `nats_silence_s`, or the broker goes.
    """
    try:
        async with asyncio.timeout(settings.nats_silence_s):
            while True:
                try:
                    return await seek()
                except (BrokerLost, Leaderless, NatsError):
                    if wire.lost.done():
                        raise
                    await asyncio.sleep(RETRY_S)
    except (TimeoutError, NatsError) as error:
        raise BrokerLost(f"the broker has no log to attach to: {error}") from error


async def _catch_up(clock: Clock, log: JetStreamLog, head: int) -> None:
    """No reading of *clock* is earlier than the last commit, whatever the wall clock says now.

    A commit that cannot be read is told of and passed by: the tables say where they stop.
    """
    for stored in await log.page(head - 1, 1) if head else []:
        try:
            clock.observe(_clock_of(stored.payload))
        except (ValueError, KeyError, TypeError) as error:
            journal.critical("head_unreadable", seq=stored.seq, reason=repr(error))


def _clock_of(payload: bytes) -> str:
    """The clock of a commit. Raises ValueError, KeyError or TypeError when there is none."""
    reading = orjson.loads(payload)["header"]["clock"]
    if not CLOCK.fullmatch(reading):
        raise ValueError(f"{reading!r} is no clock")
    return str(reading)

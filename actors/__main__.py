"""The root of the actors: settings → bus → rooms in one task group."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextlib import closing
from functools import partial

from actors.eraser import NAME, Eraser
from actors.host import PASSING, Host
from actors.reactor import RETRY_S, Reactor, react
from actors.rooms import AGGREGATES, REACTORS
from actors.supervisor import supervise
from bus.alarm import heed
from bus.attachment import Bus
from bus.commands import LocalCommands, serve
from bus.disk import keep_reserve
from bus.lookout import keep_checking
from bus.recall import attend
from bus.rivals import Rivals, rivals_on
from bus.storage import storage_at
from bus.topology import Durable
from bus.vault import Vault
from bus.vault_file import DIRECTORY
from schemas.channel import GENERAL, OpenChannel
from schemas.envelope import SYSTEM, Refused, Request


async def act(bus: Bus, vault: Vault, here: LocalCommands | None = None) -> None:
    """Run every actor on *bus*, for ever. Raises when one fails too often, or the broker goes.

    Commands sent *here*, in this process, reach the actors without the broker.
    """
    host = await host_on(bus, vault, rivals_on(bus.wire))
    if here is not None:
        here.attend(host.handle)
    in_flight_max = bus.settings.host_commands_in_flight_max
    rooms: dict[str, Callable[[], Awaitable[None]]] = {
        "log": bus.log.flush,
        "alarm": partial(heed, bus.log.writer, bus.settings),
        "disk": partial(keep_reserve, bus.log.writer, bus.settings),
        "host": partial(serve, bus.wire, host.handle, in_flight_max),
        "opening": partial(open_general, host),
        "recall": partial(attend, bus.wire, bus.telemetry.memory),
    }
    beside = storage_at(bus.settings.data_directory / DIRECTORY)
    rooms[NAME] = Eraser(vault, beside, bus.log, bus.commands, bus.settings).run
    for reactor in REACTORS:
        rooms[reactor.name] = partial(_react, bus, reactor)
    with closing(beside):
        await _run(bus, rooms)


async def host_on(bus: Bus, vault: Vault, rivals: Rivals) -> Host:
    """What answers the commands that reach an actor process on *bus*."""
    return Host(
        AGGREGATES,
        bus.log,
        await bus.snapshots(),
        bus.clock,
        bus.identity.node_id,
        bus.settings,
        bus.telemetry,
        vault,
        rivals=rivals,
    )


async def _run(bus: Bus, rooms: Mapping[str, Callable[[], Awaitable[None]]]) -> None:
    async with asyncio.TaskGroup() as group:
        group.create_task(bus.gone())
        if bus.endpoint.external:
            group.create_task(keep_checking(bus.endpoint, bus.settings))
        for name, room in rooms.items():
            group.create_task(supervise(name, room, bus.settings, bus.telemetry))


async def _react(bus: Bus, reactor: Reactor) -> None:
    await react(reactor, bus.deliveries(reactor.name), bus.commands)


def durables() -> list[Durable]:
    """The places in the log that the reactors need."""
    return [Durable(reactor.name, reactor.subjects) for reactor in REACTORS]


async def open_general(host: Host) -> None:
    """The channel `general` is there from the start."""
    command = OpenChannel(name="general", description="For everybody.", type="general")
    request = Request(
        id="open-general",
        noun="channel",
        key=GENERAL,
        author=SYSTEM,
        correlation="open-general",
        command=command,
    )
    while refused := (await host.handle(request)).refused:
        if refused.code == "channel_taken":
            return
        if refused.code not in PASSING:
            raise Refused(refused.code, refused.message)
        await asyncio.sleep(RETRY_S)

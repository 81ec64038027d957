"""A node and its parts as processes: `canopy up` runs them all in one, `canopy run` one alone.

Each is a loop around the same rooms: attach to the broker, run until it goes, attach again. What a
process has been told to keep is in the log by then, so beginning anew loses nothing.
"""

from __future__ import annotations

import asyncio
import gc
import secrets
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import structlog

from actors.__main__ import act, durables
from actors.supervisor import cancellable, supervise
from bus.attachment import Bus, attached, notarize, prepared
from bus.commands import LocalCommands
from bus.connection import located
from bus.crypto.identity import Identity
from bus.disk import UNWRITABLE, roomy
from bus.holding import hold
from bus.identity_file import FILE, IdentityUnusable, identify
from bus.log import Leaderless
from bus.lookout import begun
from bus.recall import Memory
from bus.roles import Endpoint, write_context
from bus.server import BrokerStopped, broker
from bus.steady import Steady
from bus.telemetry import Telemetry
from bus.vault import Vault
from bus.vault_file import vault_in
from bus.wire import BrokerLost
from gateway.__main__ import Door, Open, listening, serve, url
from gateway.closed import Threshold
from schemas.settings import Settings

CODE_ALPHABET = "ABCDEFGHJKMNPQRSTUVWXYZ23456789"
YOUNG_OBJECTS = 50_000
RARELY = 50

log = structlog.get_logger()


@dataclass(frozen=True)
class Up:
    """A node that answers; `setup_code` is empty once the workspace has an owner."""

    url: str
    setup_code: str
    data: Path
    node: str
    nats_url: str
    seq: int


Announce = Callable[[Up], None]


async def up(settings: Settings, announce: Announce, environ: Mapping[str, str]) -> None:
    """Run a whole node, for ever: broker, actors and gateway.

    *announce* hears of the first time that it answers. Raises `bus.holding.Held` when another
    process has the data directory; `BrokerUnusable`, `IdentityUnusable`, `Unfit` or OSError when
    it cannot start.
    """
    door = Door(setup_code(), first_start(settings))
    started = datetime.now(UTC).isoformat(timespec="seconds")
    with hold(settings.data_directory, started) as holding, closing(listening(settings)) as socket:
        holding.announce(url(settings, socket))
        known = await _external(settings)
        if known is not None:
            await _one_identity(known, settings)
        identity = identify(settings.data_directory, passphrase(settings))
        telemetry = _telemetry("canopy", settings)
        told, steady = _Once(announce), Steady(settings)

        async def once() -> None:
            with closing(vault_in(settings.data_directory, identity)) as vault:
                await around(vault)

        async def around(vault: Vault) -> None:
            async with _broker(settings, environ, known) as (endpoint, watch):
                await prepared(endpoint, settings, durables())
                opened = _opened(settings, identity, endpoint, door, told)
                here = LocalCommands(settings.command_timeout_s)
                async with (
                    attached(endpoint, "actors", identity, settings, telemetry, steady) as actors,
                    attached(endpoint, "gateway", identity, settings, telemetry, steady) as bus,
                    asyncio.TaskGroup() as group,
                ):
                    actors.log.share(bus.log)
                    group.create_task(watch())
                    group.create_task(act(actors, vault, here))
                    group.create_task(_notary(bus))
                    # In the body, not in the group: whoever stops us stops the gateway first,
                    # while the actors still answer what it has taken in.
                    await serve(replace(bus, commands=here), vault, door, socket, opened)

        await renewed("node", once, settings, telemetry)


async def run_broker(settings: Settings, environ: Mapping[str, str]) -> None:
    """Run the embedded broker alone, for ever, with everything in it that the others need."""
    started = datetime.now(UTC).isoformat(timespec="seconds")
    with hold(settings.data_directory, started):
        identity = identify(settings.data_directory, passphrase(settings))
        vault_in(settings.data_directory, identity).close()  # Whole, or there is no start.
        telemetry = Telemetry("canopy-nats")
        known = await _external(settings)

        async def once() -> None:
            async with _broker(settings, environ, known) as (endpoint, watch):
                await prepared(endpoint, settings, durables())
                async with (
                    attached(endpoint, "notary", identity, settings, telemetry) as bus,
                    asyncio.TaskGroup() as group,
                ):
                    group.create_task(watch())
                    group.create_task(bus.gone())
                    group.create_task(_notary(bus))
                    log.info("broker_ready", url=endpoint.url)

        await renewed("nats", once, settings, telemetry)


async def run_actors(settings: Settings) -> None:
    """Run the actors alone, for ever; as many such processes as are wanted share the work."""
    telemetry, steady = _telemetry("canopy-actors", settings), Steady(settings)
    known = await _external(settings)

    async def once() -> None:
        endpoint, identity = await _found(settings, known)
        if endpoint.external:
            await prepared(endpoint, settings, durables())
        with closing(vault_in(settings.data_directory, identity)) as vault:
            async with (
                attached(endpoint, "actors", identity, settings, telemetry, steady) as bus,
                asyncio.TaskGroup() as group,
            ):
                log.info("actors_ready", url=endpoint.url)
                group.create_task(act(bus, vault))
                if endpoint.external:  # Nobody on this data directory runs the broker.
                    group.create_task(_notary(bus))

    await renewed("actors", once, settings, telemetry)


async def run_gateway(settings: Settings, announce: Announce) -> None:
    """Run a gateway alone, for ever. *announce* hears of the first time that it answers."""
    telemetry, steady = _telemetry("canopy-gateway", settings), Steady(settings)
    door = Door(setup_code(), first_start=False)
    told = _Once(announce)
    known = await _external(settings)
    with closing(listening(settings)) as socket:
        threshold = Threshold(socket, settings)

        async def once() -> None:
            endpoint, identity = await _found(settings, known)
            opened = _opened(settings, identity, endpoint, door, told)

            def open_(gateway: Open) -> None:
                threshold.open()
                opened(gateway)

            with closing(vault_in(settings.data_directory, identity)) as vault:
                async with attached(
                    endpoint, "gateway", identity, settings, telemetry, steady
                ) as bus:
                    try:
                        await serve(bus, vault, door, socket, open_)
                    finally:
                        threshold.close()

        async with asyncio.TaskGroup() as group:
            group.create_task(threshold.attend())
            await renewed("gateway", once, settings, telemetry)


async def _notary(bus: Bus) -> None:
    """Attest the log, for ever; of the processes of one node, one does it."""
    await supervise("notary", partial(notarize, bus), bus.settings, bus.telemetry)


def setup_code() -> str:
    """A fresh one-time code, easy to read out: three times four letters and digits, 59 bits."""
    return "-".join("".join(secrets.choice(CODE_ALPHABET) for _ in range(4)) for _ in range(3))


def first_start(settings: Settings) -> bool:
    """Whether this data directory has never been used."""
    return not (settings.data_directory / FILE).exists()


def passphrase(settings: Settings) -> str | None:
    """What seals the identity, in clear, or None."""
    return settings.passphrase.get_secret_value() if settings.passphrase else None


@asynccontextmanager
async def _broker(
    settings: Settings, environ: Mapping[str, str], known: Endpoint | None
) -> AsyncIterator[tuple[Endpoint, Callable[[], Coroutine[Any, Any, None]]]]:
    """The broker of this node, and what raises when it ends: ours, or the configured one."""
    if known is not None:
        yield known, _for_ever
        return
    async with broker(settings) as running:
        write_context(running.endpoint, environ)

        async def watch() -> None:
            await running.watch(settings)

        yield running.endpoint, watch


async def _for_ever() -> None:
    await asyncio.get_running_loop().create_future()


async def _external(settings: Settings) -> Endpoint | None:
    """The external broker, which one endpoint stands for as long as the process lives: what it
    learns of the servers is not to be learnt again. None when the broker is ours."""
    return await located(settings) if settings.nats_url else None


async def _found(settings: Settings, known: Endpoint | None) -> tuple[Endpoint, Identity]:
    """The broker that somebody else runs, and this node's identity, once both are there."""
    endpoint = known or await located(settings)
    await _one_identity(endpoint, settings)
    return endpoint, identify(settings.data_directory, passphrase(settings))


async def _one_identity(endpoint: Endpoint, settings: Settings) -> None:
    """Raises `IdentityUnusable` where a second identity would be made beside an external log."""
    fresh = endpoint.external and first_start(settings) and await begun(endpoint, settings)
    if fresh and first_start(settings):  # Another process may have made both in the meantime.
        raise IdentityUnusable(
            f"the log at {endpoint.url} has begun and {settings.data_directory} holds no {FILE}: "
            "put the node's own there; every process of a node has the same one"
        )


def _telemetry(process: str, settings: Settings) -> Telemetry:
    memory = Memory(process, settings.spans_kept_max, settings.refusals_kept_max)
    return Telemetry(process, settings.otlp_endpoint or "", memory=memory)


class _Once:
    """Tells of the first `Up` and of no later one."""

    def __init__(self, announce: Announce) -> None:
        self._announce: Announce | None = announce

    def __call__(self, told: Up) -> None:
        announce, self._announce = self._announce, None
        if announce is not None:
            announce(told)


def _opened(
    settings: Settings, identity: Identity, endpoint: Endpoint, door: Door, told: _Once
) -> Callable[[Open], None]:
    def opened(gateway: Open) -> None:
        settle_down()
        # Tables that are far behind may not know the owner yet.
        unowned = gateway.reads.directory.owner_id is None and not gateway.reads.catching_up
        told(
            Up(
                url=gateway.url,
                setup_code=door.setup_code if unowned else "",
                data=settings.data_directory,
                node=identity.node_id,
                nats_url=endpoint.url,
                seq=gateway.reads.position,
            )
        )

    return opened


def settle_down() -> None:
    """Keep the collector from looking at everything again and again.

    What a start leaves behind lives as long as the process; looking through it stopped the loop
    for 35 ms now and then (docs/explanation/performance.md). What an earlier start left behind,
    before the broker went, is thawed first: of what is frozen nothing is ever collected.
    """
    gc.unfreeze()
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG_OBJECTS, RARELY, RARELY)


async def renewed(
    name: str, once: Callable[[], Awaitable[None]], settings: Settings, telemetry: Telemetry
) -> None:
    """Run *once* anew each time the broker goes. Raises when that happens too often in a row;
    a disk that takes nothing is no reason to end, nor is a broker of others that is away: they are
    waited for."""
    failures: deque[float] = deque(maxlen=settings.restarts_max)
    try:
        while True:
            try:
                await cancellable(once())
            except* (BrokerLost, BrokerStopped, Leaderless, OSError) as lost:
                leaves = _leaves(lost)
                if not any(_is_of_the_disk(error) for error in leaves):
                    failures.append(asyncio.get_running_loop().time())
                reasons = [str(error) for error in leaves]
                log.warning("broker_gone", process=name, reasons=reasons, failures=len(failures))
                ours = not settings.nats_url
                full = ours and len(failures) == settings.restarts_max
                if full and failures[-1] - failures[0] < settings.restarts_window_s:
                    raise
                telemetry.restarts.labels(name).inc()
            await asyncio.sleep(settings.restart_backoff_s)
            await roomy(settings)
    finally:
        telemetry.close()
        gc.unfreeze()  # What is frozen is never collected, and DuckDB complains of it at exit.


def _is_of_the_disk(error: BaseException) -> bool:
    return isinstance(error, OSError) and error.errno in UNWRITABLE


def _leaves(group: BaseExceptionGroup[BaseException]) -> list[BaseException]:
    """The exceptions in *group*, however deep."""
    leaves: list[BaseException] = []
    for error in group.exceptions:
        leaves += _leaves(error) if isinstance(error, BaseExceptionGroup) else [error]
    return leaves

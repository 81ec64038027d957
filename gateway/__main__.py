"""The root of the gateway: bus → tables → web application.

`serve` is used unchanged by `canopy up` (with the actors in the same process), by the gateway on
its own, and by the end-to-end tests.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from time import monotonic

from aiohttp import web
from aiohttp.web_app import _cached_build_middleware as applications

from actors.projection_folder import Locked
from actors.rooms import statements
from actors.supervisor import supervise
from bus.attachment import Bus
from bus.clock import wall_ms
from bus.copies import counted
from bus.holding import Held, hold
from bus.recall import WireRecall, attend
from bus.vault import Vault
from gateway.app import build
from gateway.asking import Asking
from gateway.auth import Credentials, Doors, Passwords
from gateway.call import Gateway, Throttles
from gateway.expiry import expire
from gateway.feed import Feed
from gateway.limits import Allowance, Buckets
from gateway.live import Live
from gateway.pages import Cursors
from gateway.past import Past
from gateway.protocol import BACKLOG, answering
from gateway.reads import Reads
from gateway.redaction import shown
from gateway.routes import ROUTES
from gateway.seen import Seen
from gateway.tickets import Tickets
from schemas.settings import Settings

CLOSE_S = 0.5
TICKETS_MAX = 10_000
PROJECTIONS = "projection"


@dataclass(frozen=True)
class Door:
    """How people first come in: the code shown in the terminal, and whether this start is the
    first one of the data directory."""

    setup_code: str
    first_start: bool


@dataclass(frozen=True)
class Open:
    """A gateway that answers: where, and what it reads from."""

    url: str
    reads: Reads


async def serve(
    bus: Bus, vault: Vault, door: Door, listener: socket.socket, opened: Callable[[Open], None]
) -> None:
    """Answer requests on *listener*, for ever; *opened* is called once they are answered.

    Raises when the tables cannot be opened, or the broker goes.
    """
    with own_folder(bus.settings) as folder:
        await _serve(bus, vault, door, listener, opened, folder)


async def _serve(
    bus: Bus,
    vault: Vault,
    door: Door,
    listener: socket.socket,
    opened: Callable[[Open], None],
    folder: Path,
) -> None:
    reads = Reads(folder, statements(), bus.log, bus.settings, bus.telemetry)
    try:
        await reads.open()
        feed = Feed(bus.log, partial(shown, vault), bus.settings, reads.position)
        reads.sighted = feed.sight
        reads.heard.append(feed.publish)
        gateway = _gateway(bus, vault, door, reads, feed)
        async with asyncio.TaskGroup() as group:
            group.create_task(bus.gone())
            group.create_task(attend(bus.wire, bus.telemetry.memory))
            group.create_task(supervise("reads", reads.run, bus.settings, bus.telemetry))
            looking = partial(expire, reads, bus.commands, bus.settings, bus.clock.believed_ms)
            group.create_task(supervise("expiry", looking, bus.settings, bus.telemetry))
            group.create_task(supervise("live", gateway.live.run, bus.settings, bus.telemetry))
            await _answer(gateway, listener, opened)
    finally:
        reads.close()


async def _answer(
    gateway: Gateway, listener: socket.socket, opened: Callable[[Open], None]
) -> None:
    settings = gateway.settings
    runner = web.AppRunner(
        build(gateway, ROUTES), access_log=None, shutdown_timeout=settings.shutdown_timeout_s
    )
    await runner.setup()
    # A copy of the socket: requests that arrive while the gateway is renewed wait in its queue.
    site = answering(runner, listener.dup())
    try:
        opened(Open(url(settings, listener), gateway.reads))
        await asyncio.get_running_loop().create_future()
    finally:
        site.close()
        gateway.live.stop()
        await _cleared(runner, settings.shutdown_timeout_s + CLOSE_S)
        applications.cache_clear()  # aiohttp keeps those that have ended, with all they hold.


async def _cleared(runner: web.AppRunner, timeout_s: float) -> None:
    """Every connection is closed, however often we are told to stop meanwhile.

    A broker that goes is told of twice: by the bus and by its watch. The second would cut this
    short, and a connection left open would be answered by this gateway, without a log, for ever.
    *timeout_s* is longer than aiohttp itself waits for open requests.
    """

    async def clear() -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                await runner.cleanup()

    async with asyncio.TaskGroup() as group:
        clearing = group.create_task(clear())
        while not clearing.done():
            with suppress(asyncio.CancelledError):  # What made us stop first is on its way.
                await asyncio.wait((clearing,))


def _gateway(bus: Bus, vault: Vault, door: Door, reads: Reads, feed: Feed) -> Gateway:
    settings, directory = bus.settings, reads.directory
    credentials = Credentials(directory, bus.identity, wall_ms)
    live = Live(
        feed, directory, bus.signs, settings, bus.telemetry, reads.reached, credentials.renew
    )
    return Gateway(
        commands=bus.commands,
        reads=reads,
        past=Past(reads, settings.past_directories_max),
        identity=bus.identity,
        vault=vault,
        settings=settings,
        telemetry=bus.telemetry,
        recall=WireRecall(bus.wire, bus.telemetry.memory, settings.recall_wait_s),
        credentials=credentials,
        passwords=Passwords(bus.identity, settings.password_hashes_in_flight_max),
        doors=Doors(directory, door.setup_code, door.first_start, wall_ms, asyncio.Lock()),
        throttles=throttles(settings),
        cursors=Cursors(bus.identity),
        seen=Seen(lambda: reads.position, lambda: reads.forgone),
        live=live,
        asking=Asking(reads, settings),
        tickets=Tickets(settings.live_ticket_ttl_s, TICKETS_MAX, monotonic),
        wall_ms=wall_ms,
        started_ms=wall_ms(),
        warning=partial(counted, bus.endpoint, bus.wire, settings),
    )


def throttles(settings: Settings) -> Throttles:
    """The buckets that *settings* ask for, all full."""
    logins = settings.logins_per_minute_max
    registrations = settings.registrations_per_minute_max
    return Throttles(
        requests=Buckets(
            Allowance("requests", settings.requests_per_second_max, settings.requests_burst_max)
        ),
        logins=Buckets(Allowance("logins", logins / 60, logins)),
        registrations=Buckets(Allowance("registrations", registrations / 60, registrations)),
    )


@contextmanager
def own_folder(settings: Settings) -> Iterator[Path]:
    """Where this gateway keeps its tables: the first of the places in the data directory that no
    other gateway holds. Raises `Locked` when all `gateways_max` are taken."""
    with ExitStack() as stack:
        yield _held(stack, settings)


def _held(stack: ExitStack, settings: Settings) -> Path:
    started = datetime.now(UTC).isoformat(timespec="seconds")
    for nth in range(1, settings.gateways_max + 1):
        folder = settings.data_directory / (f"{PROJECTIONS}-{nth}" if nth > 1 else PROJECTIONS)
        with suppress(Held):
            stack.enter_context(hold(folder, started))
            return folder
    raise Locked(f"{settings.gateways_max} gateways read {settings.data_directory}: enough.")


def listening(settings: Settings) -> socket.socket:
    """The socket that the gateway answers on. Raises OSError when the address is taken."""
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((settings.host, settings.port))
        listener.listen(BACKLOG)
        listener.setblocking(False)
    except OSError:
        listener.close()
        raise
    return listener


def url(settings: Settings, listener: socket.socket) -> str:
    """Where a browser on this machine finds the gateway."""
    host = settings.host if settings.host not in ("0.0.0.0", "::") else "127.0.0.1"  # noqa: S104
    port = listener.getsockname()[1]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"

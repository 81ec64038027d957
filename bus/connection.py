"""A role's connection to the broker, and the end of it: lost means raised.

nats-py runs its own tasks outside every task group and would go on reconnecting in silence. Here a
connection that is lost, or refused something, is an exception in the group of whoever holds it;
the supervisor starts the room again, and the room connects afresh.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from nats.aio.client import Client
from nats.errors import Error as NatsError
from nats.errors import SlowConsumerError

from bus.roles import Endpoint, Role
from bus.server import kept_endpoint
from bus.wire import BrokerLost, Wire, dial
from schemas.settings import Settings

RETRY_S = 0.05


class Connection:
    """A live connection of one role.

    `lost` is done, with `BrokerLost`, when the connection ends without our wish; `slow` counts the
    messages dropped because we were slow.
    """

    def __init__(self, client: Client, lost: asyncio.Future[None]) -> None:
        self.client = client
        self.lost = lost
        self.slow = 0

    async def watch(self) -> None:
        """Never returns while the connection is good. Raises `BrokerLost` when it is not."""
        await asyncio.shield(self.lost)


@asynccontextmanager
async def connected(
    endpoint: Endpoint, role: Role, settings: Settings
) -> AsyncIterator[Connection]:
    """The connection of *role*, drained when the block ends.

    Waits up to `nats_silence_s` for the broker to be there. Raises `BrokerLost`, also when the
    broker refuses the role.
    """
    lost: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    try:
        async with asyncio.timeout(settings.nats_silence_s):
            connection = await _connected(endpoint, role, settings, lost)
    except TimeoutError as error:
        raise BrokerLost(f"no broker at {endpoint.url} in {settings.nats_silence_s} s") from error
    try:
        yield connection
    finally:
        _settle(lost)
        await _drained(connection.client, settings.shutdown_timeout_s)


@asynccontextmanager
async def wired(endpoint: Endpoint, role: Role) -> AsyncIterator[Wire]:
    """The fast connection of *role* that a log wants (`bus.wire`). Raises `BrokerLost`."""
    user, password = endpoint.login(role)
    wire = await dial(endpoint.url, user, password)
    try:
        yield wire
    finally:
        wire.close()


async def located(settings: Settings) -> Endpoint:
    """Where this node's broker is: the one in the settings, else that of the data directory.

    Waits up to `nats_silence_s` for its first start. Raises `BrokerLost`.
    """
    if settings.nats_url:
        return Endpoint(settings.nats_url, {}, settings.log_bytes_max, settings.nats_system_url)
    try:
        async with asyncio.timeout(settings.nats_silence_s):
            while True:
                endpoint = await asyncio.to_thread(kept_endpoint, settings.data_directory)
                if endpoint is not None:
                    return endpoint
                await asyncio.sleep(RETRY_S)
    except TimeoutError as error:
        raise BrokerLost(
            f"No broker has ever run on {settings.data_directory}: start `canopy run nats`."
        ) from error


async def _connected(
    endpoint: Endpoint, role: Role, settings: Settings, lost: asyncio.Future[None]
) -> Connection:
    connection = Connection(Client(), lost)

    async def on_error(error: Exception) -> None:
        if isinstance(error, SlowConsumerError):
            connection.slow += 1  # What it carried is asked for again; the connection is good.
        elif connection.client.is_connected:
            _fail(lost, f"the broker complains: {error}")

    async def on_closed() -> None:
        _fail(lost, "the connection to the broker was closed")

    user, password = endpoint.login(role)
    while True:
        try:
            await connection.client.connect(
                endpoint.address(role),
                user=user or None,
                password=password or None,
                name=f"canopy-{role}",
                inbox_prefix=endpoint.inbox(role),
                allow_reconnect=False,
                connect_timeout=max(1, round(settings.nats_connect_timeout_s)),
                error_cb=on_error,
                closed_cb=on_closed,
            )
        except (ConnectionRefusedError, TimeoutError):
            await asyncio.sleep(RETRY_S)  # It is starting; the deadline is the caller's.
        except (NatsError, OSError) as error:
            raise BrokerLost(f"the broker at {endpoint.url} refused {role}: {error}") from error
        else:
            return connection


async def _drained(client: Client, timeout_s: float) -> None:
    """What was published has left, and the connection is closed."""
    with suppress(NatsError, OSError, TimeoutError):
        async with asyncio.timeout(timeout_s):
            if client.is_connected:
                await client.drain()
    await client.close()


def _fail(lost: asyncio.Future[None], reason: str) -> None:
    if not lost.done():
        lost.set_exception(BrokerLost(reason))
        lost.exception()  # Whoever watches still gets it; nobody is warned about it at exit.


def _settle(lost: asyncio.Future[None]) -> None:
    """Closing on purpose loses nothing."""
    if not lost.done():
        lost.cancel()

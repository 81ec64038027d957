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
from nats.errors import NoServersError, SlowConsumerError

from bus.health import one_attempt
from bus.roles import Endpoint, Role
from bus.server import kept_endpoint
from bus.wire import BrokerLost, Wire, dial
from schemas.settings import Settings

RETRY_S = 0.05
GONE = (NatsError, OSError, TimeoutError, RuntimeError)
"""What leaving a broker may end with that is there no more; RuntimeError is what uvloop says of a
transport that has been closed under nats-py."""
CLOSE_TIMEOUT_S = 0.5


class Connection:
    """A live connection of one role.

    `lost` is done, with `BrokerLost`, when the connection ends without our wish; `slow` counts the
    messages dropped because we were slow.
    """

    def __init__(self, client: Client) -> None:
        self.client = client
        self.lost: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.slow = 0

    async def watch(self) -> None:
        """Never returns while the connection is good. Raises `BrokerLost` when it is not."""
        await asyncio.shield(self.lost)

    def leave(self) -> None:
        """From here on, closing is our wish and loses nothing."""
        if not self.lost.done():
            self.lost.cancel()

    # What nats-py calls.

    async def complain(self, error: Exception) -> None:
        if isinstance(error, SlowConsumerError):
            self.slow += 1  # What it carried is asked for again; the connection is good.
        elif self.client.is_connected:
            self._fail(f"the broker complains: {error}")

    async def closed(self) -> None:
        self._fail("the connection to the broker was closed")

    def _fail(self, reason: str) -> None:
        if not self.lost.done():
            self.lost.set_exception(BrokerLost(reason))
            self.lost.exception()  # Whoever watches still gets it; nobody is warned at exit.


@asynccontextmanager
async def connected(
    endpoint: Endpoint, role: Role, settings: Settings
) -> AsyncIterator[Connection]:
    """The connection of *role*, drained when the block ends.

    Waits up to `nats_silence_s` for the broker to be there. Raises `BrokerLost`, also when the
    broker refuses the role.
    """
    try:
        async with asyncio.timeout(settings.nats_silence_s):
            connection = await _connected(endpoint, role, settings)
    except TimeoutError as error:
        raise BrokerLost(f"no broker at {endpoint.url} in {settings.nats_silence_s} s") from error
    try:
        yield connection
    finally:
        if connection.lost.done():
            await _closed(connection.client)  # Nobody is left to drain to.
        else:
            connection.leave()
            await _drained(connection.client, min(settings.shutdown_timeout_s, CLOSE_TIMEOUT_S))


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


async def _connected(endpoint: Endpoint, role: Role, settings: Settings) -> Connection:
    """A connection, as soon as somebody listens. Raises `BrokerLost` when the role is refused."""
    user, password = endpoint.login(role)
    while True:
        connection = Connection(Client())
        try:
            await connection.client.connect(
                endpoint.address(role),
                user=user or None,
                password=password or None,
                name=f"canopy-{role}",
                inbox_prefix=endpoint.inbox(role),
                error_cb=connection.complain,
                closed_cb=connection.closed,
                **one_attempt(settings.nats_connect_timeout_s),
            )
        except (NoServersError, OSError, TimeoutError):
            await _closed(connection.client)
            await asyncio.sleep(RETRY_S)  # It is starting; the deadline is the caller's.
        except NatsError as error:
            await _closed(connection.client)
            raise BrokerLost(f"the broker at {endpoint.url} refused {role}: {error}") from error
        else:
            return connection


async def _drained(client: Client, timeout_s: float) -> None:
    """What was published has left, and the connection is closed.

    Nothing is taken in any more, so nats-py's own `drain`, which asks the broker about each
    subscription and leaves tasks behind when it is silent, would wait for nothing.
    """
    with suppress(*GONE):
        async with asyncio.timeout(timeout_s):
            if client.is_connected:
                await client.flush()
    await _closed(client)


async def _closed(client: Client) -> None:
    """The connection is closed, or let go: a frozen broker takes nothing more, not even that."""
    with suppress(*GONE):
        async with asyncio.timeout(CLOSE_TIMEOUT_S):
            await client.close()

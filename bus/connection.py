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

from bus.client import heeding, one_attempt, place, signed_in
from bus.external import external_endpoint
from bus.roles import Endpoint, Role
from bus.server import kept_endpoint
from bus.wire import CONNECT_TIMEOUT_S, BrokerLost, Wire, dial
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
    faults: dict[str, str] = {}
    try:
        async with asyncio.timeout(settings.nats_silence_s):
            connection = await _connected(endpoint, role, settings, faults)
    except TimeoutError as error:
        reasons = "; ".join(faults.values())
        silence = f"no broker at {endpoint.url} in {settings.nats_silence_s} s"
        raise BrokerLost(f"{silence} ({reasons})" if reasons else silence) from error
    try:
        yield connection
    finally:
        if connection.lost.done():
            await _closed(connection.client)  # Nobody is left to drain to.
        else:
            connection.leave()
            await _drained(connection.client, min(settings.shutdown_timeout_s, CLOSE_TIMEOUT_S))


@asynccontextmanager
async def wired(endpoint: Endpoint, role: Role, settings: Settings) -> AsyncIterator[Wire]:
    """The fast connection of *role* that a log wants (`bus.wire`), to the first server that takes
    it. Raises `BrokerLost`."""
    wire = await _dialled_in_turn(endpoint, role, settings)
    try:
        yield wire
    finally:
        wire.close()


async def dialled(endpoint: Endpoint, role: Role, address: str, settings: Settings) -> Wire:
    """The fast connection of *role* to the server at *address*. Raises as `bus.wire.dial` does."""
    servers = endpoint.servers_of(role)

    def told(places: list[str]) -> None:
        if servers is not None:
            servers.learn(places, address)

    return await dial(
        address,
        login=endpoint.sign_in(role, address),
        tls=endpoint.tls,
        timeout_s=settings.nats_dial_timeout_s if endpoint.external else CONNECT_TIMEOUT_S,
        told=told,
    )


async def _dialled_in_turn(endpoint: Endpoint, role: Role, settings: Settings) -> Wire:
    faults: list[str] = []
    for address in endpoint.addresses(role):
        try:
            return await dialled(endpoint, role, address, settings)
        except (OSError, TimeoutError) as error:
            faults.append(f"{place(address)}: {str(error) or 'silent'}")
            put_off(endpoint, role, address)
    raise BrokerLost(f"no server takes {role}: {'; '.join(faults)}")


def put_off(endpoint: Endpoint, role: Role, address: str) -> None:
    """The server at *address* has failed *role*: it is tried last from now on."""
    if (servers := endpoint.servers_of(role)) is not None:
        servers.put_off(address)


async def located(settings: Settings) -> Endpoint:
    """Where this node's broker is: the one in the settings, else that of the data directory.

    Waits up to `nats_silence_s` for its first start. Raises `BrokerLost`, or
    `bus.logins.LoginUnusable` for an external one that we cannot sign in to.
    """
    if settings.nats_url:
        return await asyncio.to_thread(external_endpoint, settings)
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
    endpoint: Endpoint, role: Role, settings: Settings, faults: dict[str, str]
) -> Connection:
    """A connection, as soon as somebody listens; *faults* tells why each server is none.

    Raises `BrokerLost` when the role is refused.
    """
    while True:
        for address in endpoint.addresses(role):
            connection = Connection(Client())
            try:
                connecting = connection.client.connect(
                    address,
                    name=f"canopy-{role}",
                    inbox_prefix=endpoint.inbox(role),
                    error_cb=connection.complain,
                    closed_cb=connection.closed,
                    **signed_in(connection.client, endpoint, role, address),
                    **one_attempt(_patience_s(endpoint, settings)),
                )
                await heeding(connecting)
            except (NoServersError, OSError, TimeoutError) as error:
                faults[address] = f"{place(address)}: {str(error) or 'silent'}"
                put_off(endpoint, role, address)
                await _closed(connection.client)
            except NatsError as error:
                await _closed(connection.client)
                where = place(address)
                raise BrokerLost(f"the broker at {where} refused {role}: {error}") from error
            except BaseException:  # It may be there by now, and nobody else knows of it.
                await _closed(connection.client)
                raise
            else:
                return connection
        await asyncio.sleep(RETRY_S)  # It is starting; the deadline is the caller's.


def _patience_s(endpoint: Endpoint, settings: Settings) -> float:
    """How long one server may take: less where another can be tried."""
    many = len(endpoint.addresses("gateway")) > 1
    return settings.nats_dial_timeout_s if many else settings.nats_connect_timeout_s


async def _drained(client: Client, timeout_s: float) -> None:
    """What was published has left, and the connection is closed.

    Nothing is taken in any more, so nats-py's own `drain`, which asks the broker about each
    subscription and leaves tasks behind when it is silent, would wait for nothing.
    """
    with suppress(*GONE):
        async with asyncio.timeout(timeout_s):
            if client.is_connected:
                await heeding(client.flush())
    await _closed(client)


async def _closed(client: Client) -> None:
    """The connection is closed, or let go: a frozen broker takes nothing more, not even that."""
    with suppress(*GONE):
        async with asyncio.timeout(CLOSE_TIMEOUT_S):
            await heeding(client.close())
    _heard_out(client)


def _heard_out(client: Client) -> None:
    """How *client* ended to read has been asked for: nats-py does not, and asyncio would complain
    of that whenever the client is collected."""
    reading = client._reading_task  # noqa: SLF001  # no other way
    if reading is not None and reading.done() and not reading.cancelled():
        reading.exception()

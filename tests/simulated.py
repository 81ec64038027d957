"""The simulated broker behind a real socket, so that what is proven of nats-server is proven of it.

The simulator is worth as much as its broker is like the real one.
"""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from random import Random
from typing import Protocol, get_args

from bus.roles import Endpoint, Role
from bus.server import HEADERS_BYTES, broker
from gateway.bench.simulation.broker import Behaviour, Broker, Disk
from schemas.settings import Settings

SETTLE_S = 0.02
"""In which bytes that have been sent arrive, on one machine."""


class Running(Protocol):
    """What tests know of a running broker, real or simulated."""

    endpoint: Endpoint
    pid: int

    async def stop(self, timeout_s: float) -> None:
        """It has ended, politely."""


class Served:
    """A simulated broker that listens on a port of this machine."""

    pid = 0

    def __init__(self, endpoint: Endpoint, broker: Broker, server: asyncio.Server) -> None:
        self.endpoint = endpoint
        self._broker = broker
        self._server = server

    async def stop(self, timeout_s: float) -> None:
        """It has ended, politely: what it has been told by now it answers."""
        self._server.close()
        await asyncio.sleep(SETTLE_S)
        self._broker.stop()

    def kill(self) -> None:
        """It has ended without a word."""
        self._server.close()
        self._broker.vanish()


class Kind:
    """Which broker tests start: fixtures choose, the real one unless they do."""

    chosen = "nats-server"
    disks: dict[Path, Disk] = {}  # noqa: RUF012  # What outlives a broker, like a directory.


@asynccontextmanager
async def simulated(knobs: Settings) -> AsyncIterator[Running]:
    """A simulated broker on the disk that belongs to the settings' directory."""
    disk = Kind.disks.setdefault(knobs.data_directory, Disk())
    passwords = {role: f"pass-{role}" for role in get_args(Role)}
    behaviour = Behaviour(time.time, knobs.payload_bytes_max + HEADERS_BYTES, passwords)
    made = Broker(disk, behaviour, Random(1))
    server = await asyncio.get_running_loop().create_server(made.session, "127.0.0.1", 0)
    url = f"nats://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    running = Served(Endpoint(url, passwords, knobs.log_bytes_max), made, server)
    try:
        yield running
    finally:
        await running.stop(0)


BROKERS: dict[str, Callable[[Settings], AbstractAsyncContextManager[Running]]] = {
    "nats-server": broker,
    "simulated": simulated,
}


def started(knobs: Settings) -> AbstractAsyncContextManager[Running]:
    """A broker of the chosen kind."""
    return BROKERS[Kind.chosen](knobs)


def killed(running: Running) -> None:
    """*running* ends without a word."""
    if isinstance(running, Served):
        running.kill()
    else:
        os.kill(running.pid, signal.SIGKILL)

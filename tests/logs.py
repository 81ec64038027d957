"""Logs for tests: on a real broker of one's own, behind a line that can be cut, or in memory."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from bus.attachment import Bus, attached, prepared
from bus.identity_file import identify
from bus.log import Log, Stored
from bus.roles import Endpoint
from bus.telemetry import Telemetry
from bus.topology import Durable
from schemas.envelope import Event, Id, Key
from schemas.settings import MIB, Settings
from tests.examples import header
from tests.simulated import Running, started

DEADLINE_S = 10.0


def settings(directory: Path, **knobs: Any) -> Settings:
    """Settings of a small node in *directory*."""
    knobs.setdefault("log_bytes_max", 64 * MIB)
    knobs.setdefault("disk_spare_bytes", 0)
    return Settings(data_directory=directory, **knobs)


@asynccontextmanager
async def bus_on(
    endpoint: Endpoint, knobs: Settings, telemetry: Telemetry | None = None
) -> AsyncIterator[Bus]:
    """The bus as actors have it, commits being sent."""
    identity = identify(knobs.data_directory)
    async with attached(endpoint, "actors", identity, knobs, telemetry or Telemetry()) as bus:
        flushing = asyncio.create_task(bus.log.flush())
        try:
            yield bus
        finally:
            flushing.cancel()
            await asyncio.wait([flushing])
            with suppress(asyncio.CancelledError):
                flushing.exception()  # A log whose broker was killed has told its callers.


@asynccontextmanager
async def fresh_broker(knobs: Settings, *durables: Durable) -> AsyncIterator[Running]:
    """A broker in the settings' directory, with all that must exist in it."""
    identify(knobs.data_directory)
    async with started(knobs) as running:
        await prepared(running.endpoint, knobs, durables)
        yield running


@asynccontextmanager
async def fresh_bus(knobs: Settings, *durables: Durable) -> AsyncIterator[Bus]:
    """The bus of such a broker."""
    async with fresh_broker(knobs, *durables) as running, bus_on(running.endpoint, knobs) as bus:
        yield bus


async def told(
    log: Log, event: Event, key: Key = "general.M1", expected: int = 0, noun: Id = "message"
) -> int:
    """The position of one new commit."""
    return await log.append(header(noun, key), [event], expected)


async def listened(log: Log, count: int, after: int = 0) -> list[Stored]:
    """The next *count* commits of a tail. Raises TimeoutError when they do not come."""
    heard: list[Stored] = []
    async with asyncio.timeout(DEADLINE_S):
        async for page in log.tail(after, after + count):
            heard += page
    return heard


@dataclass
class Line:
    """A line to the broker that loses what the broker says while `cut`."""

    url: str
    cut: bool = False
    writers: list[asyncio.StreamWriter] = field(default_factory=list)


@asynccontextmanager
async def line(url: str) -> AsyncIterator[Line]:
    """A line to the broker at *url*."""
    parts = urlsplit(url)

    async def call(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        inner, outer = await asyncio.open_connection(parts.hostname, parts.port)
        between.writers += [writer, outer]

        async def forth() -> None:
            while data := await reader.read(65536):
                outer.write(data)

        async def back() -> None:
            while data := await inner.read(65536):
                if not between.cut:
                    writer.write(data)

        with suppress(ConnectionError):
            async with asyncio.TaskGroup() as group:
                group.create_task(forth())
                group.create_task(back())

    server = await asyncio.start_server(call, "127.0.0.1", 0)
    between = Line(f"nats://127.0.0.1:{server.sockets[0].getsockname()[1]}")
    try:
        yield between
    finally:
        server.close()
        for writer in between.writers:
            writer.close()
            with suppress(ConnectionError):
                await writer.wait_closed()


@asynccontextmanager
async def behind_a_line(knobs: Settings) -> AsyncIterator[tuple[Bus, Bus, Line]]:
    """One log seen directly, and seen over a line that can be cut."""
    async with (
        fresh_broker(knobs) as running,
        bus_on(running.endpoint, knobs) as near,
        line(running.endpoint.url) as between,
        bus_on(replace(running.endpoint, url=between.url), knobs) as far,
    ):
        try:
            yield near, far, between
        finally:
            between.cut = False

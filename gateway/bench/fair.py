"""Many hosts at one aggregate, one of them farther from the broker: whose turn is it?

Each writer is a host as an actor process has it, on a connection of its own, and asks for the next
change of one and the same message as soon as it has made the last.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager, closing, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from time import perf_counter
from urllib.parse import urlsplit

from actors.__main__ import host_on
from bus.attachment import attached, prepared
from bus.clock import new_id
from bus.crypto.identity import Identity
from bus.identity_file import identify
from bus.rivals import Rivals, rivals_on
from bus.roles import Endpoint
from bus.server import broker
from bus.telemetry import Telemetry
from bus.vault import Vault
from bus.vault_file import vault_in
from bus.wire import Wire
from gateway.bench.parts import Unfound
from gateway.bench.report import Figure, Report
from schemas.envelope import Answer, Command, Request
from schemas.message import PostMessage, ToggleReaction
from schemas.settings import Settings

WRITERS = 16
FAR_S = 0.005
"""What a round trip takes the far one longer."""
SHARE_MIN = 0.3
"""Of the mean number of turns, what the one with the fewest must have had."""
KEY = "general.M1"
LIKE = ToggleReaction(reaction="like")
AGAIN = ("contended", "unacknowledged")
"""Refusals upon which a writer asks again."""
FEWEST = "fewest turns of one ÷ mean"


@dataclass
class Writer:
    """A host, and what it has won."""

    handle: Callable[[Request], Awaitable[Answer]]
    telemetry: Telemetry
    seqs: list[int] = field(default_factory=list)
    refused: int = 0
    longest_s: float = 0.0

    async def write(self, seconds: float) -> None:
        """Change the message again and again, for *seconds*. Raises `Unfound` if it may not."""
        until_s = perf_counter() + seconds
        while (began_s := perf_counter()) < until_s:
            while (answer := await self.asked(LIKE)).refused is not None:
                if answer.refused.code not in AGAIN:
                    raise Unfound(f"a change was refused: {answer.refused.message}")
                self.refused += 1
                if perf_counter() > until_s:
                    return
            self.seqs.append(answer.seq)
            self.longest_s = max(self.longest_s, perf_counter() - began_s)

    async def asked(self, command: Command) -> Answer:
        """What came of *command*."""
        name = new_id()
        request = Request(
            id=name, noun="message", key=KEY, author="ann", correlation=name, command=command
        )
        return await self.handle(request)


async def fair(
    directory: Path,
    seconds: float = 600.0,
    writers: int = WRITERS,
    far_s: float = FAR_S,
    *,
    silent: bool = False,
) -> Report:
    """How many turns each of *writers* has in *seconds*; *silent* hosts do not say that they have
    lost one, as hosts once were."""
    settings = Settings(data_directory=directory)
    identity = identify(directory)
    async with AsyncExitStack() as stack:
        vault = stack.enter_context(closing(vault_in(directory, identity)))
        running = await stack.enter_async_context(broker(settings))
        await prepared(running.endpoint, settings, ())
        far = await stack.enter_async_context(_far(running.endpoint, far_s / 2))
        crew = [
            await stack.enter_async_context(
                _writer(place, settings, identity, vault, _nobody if silent else rivals_on)
            )
            for place in (far, *[running.endpoint] * (writers - 1))
        ]
        await crew[0].asked(PostMessage(content="Who is next?"))
        await asyncio.gather(*(one.write(seconds) for one in crew))
    return Report(
        "fair",
        f"{writers} hosts at one message for {seconds:g} s, "
        f"one of them {far_s * 1000:g} ms farther from the broker",
        _figures(crew, seconds),
        tuple({"won": len(one.seqs), "longest_s": one.longest_s} for one in crew),
    )


def _figures(crew: list[Writer], seconds: float) -> tuple[Figure, ...]:
    won = [len(one.seqs) for one in crew]
    mean = max(1, sum(won)) / len(won)
    conflicts = sum(one.telemetry.conflicts._value.get() for one in crew)  # noqa: SLF001
    return (
        Figure("turns", sum(won) / seconds, "/s"),
        Figure("turns that two were told to have had",
               sum(won) - len({seq for one in crew for seq in one.seqs}), "", 0.0),
        Figure(FEWEST, min(won) / mean, "×", SHARE_MIN, rising=True),
        Figure("most turns of one ÷ mean", max(won) / mean, "×"),
        Figure("turns of the far one ÷ mean", won[0] / mean, "×"),
        Figure("conflicts", conflicts / max(1, sum(won)), "a turn"),
        Figure("told to come again", sum(one.refused for one in crew), "times"),
        Figure("longest wait for a turn", max(one.longest_s for one in crew), "s"),
    )  # fmt: skip


@asynccontextmanager
async def _writer(
    endpoint: Endpoint,
    settings: Settings,
    identity: Identity,
    vault: Vault,
    rivals: Callable[[Wire], Rivals],
) -> AsyncIterator[Writer]:
    telemetry = Telemetry()
    async with attached(endpoint, "actors", identity, settings, telemetry) as bus:
        flushing = asyncio.create_task(bus.log.flush())
        host = await host_on(bus, vault, rivals(bus.wire))
        yield Writer(host.handle, telemetry)
        flushing.cancel()
        await asyncio.gather(flushing, return_exceptions=True)


def _nobody(_wire: Wire) -> Rivals:
    """Who hears nobody and is heard by nobody."""
    return Rivals()


@asynccontextmanager
async def _far(endpoint: Endpoint, way_s: float) -> AsyncIterator[Endpoint]:
    """The broker at *endpoint* by a line on which everything takes *way_s* longer, either way."""
    parts = urlsplit(endpoint.url)
    loop = asyncio.get_running_loop()

    def written(writer: asyncio.StreamWriter, data: bytes) -> None:
        if not writer.is_closing():
            writer.write(data)

    async def carried(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):
            while data := await reader.read(1 << 16):
                loop.call_later(way_s, written, writer, data)
        loop.call_later(way_s, writer.close)

    async def call(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        inner, outer = await asyncio.open_connection(parts.hostname, parts.port)
        async with asyncio.TaskGroup() as group:
            group.create_task(carried(reader, outer))
            group.create_task(carried(inner, writer))

    server = await asyncio.start_server(call, "127.0.0.1", 0)
    try:
        yield replace(endpoint, url=f"nats://127.0.0.1:{server.sockets[0].getsockname()[1]}")
    finally:
        server.close()

"""Several processes of one node on one data directory: so many actors, so many gateways.

They run on a broker of others, or on the node's own, which is then one process more.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Literal

from gateway.bench.node import command, credentials, ended, environment, ready
from gateway.bench.parts import RESTARTS

Kind = Literal["nats", "actors", "gateway"]
Post = tuple[Kind, int]
"""Which of the processes: its kind and its number, from 0."""


class Crew:
    """The processes, each of which may be killed and started again."""

    def __init__(
        self, directory: Path, settings: Mapping[str, object], actors: int, gateways: int
    ) -> None:
        self._directory = directory
        self._settings = RESTARTS | dict(settings)
        self._ports = [_free_port() for _ in range(gateways)]
        broker: list[Post] = [] if "nats_url" in settings else [("nats", 0)]
        gates: list[Post] = [("gateway", nth) for nth in range(gateways)]
        self.posts: list[Post] = [*broker, *(("actors", nth) for nth in range(actors)), *gates]
        self.running: dict[Post, asyncio.subprocess.Process] = {}
        self.headers: dict[str, str] = {}

    @property
    def urls(self) -> tuple[str, ...]:
        """Of each gateway."""
        return tuple(f"http://127.0.0.1:{port}" for port in self._ports)

    async def start(self) -> None:
        """All of them run; the gateways answer, and the workspace has an owner."""
        for kind in ("nats", "actors"):
            await asyncio.gather(*(self.launch(post) for post in self.posts if post[0] == kind))
        gates = [post for post in self.posts if post[0] == "gateway"]
        codes = await asyncio.gather(*(self.launch(post) for post in gates))
        self.headers = await credentials(self._directory, self.urls[0], codes[0])

    async def launch(self, post: Post) -> str:
        """Start one; for a gateway, the setup code once it answers."""
        kind, nth = post
        words = command("run", kind, "--json", "--data", str(self._directory))
        words += ["--port", str(self._ports[nth])] if kind == "gateway" else []
        self.running[post] = running = await asyncio.create_subprocess_exec(
            *words,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            env=environment(self._directory, self._settings),
        )
        return str((await ready(running))["setup_code"]) if kind == "gateway" else ""

    async def kill(self, post: Post) -> None:
        """It has ended, without a word."""
        self.running[post].kill()
        await self.running[post].wait()

    @property
    def ended(self) -> list[Post]:
        """Those that run no more."""
        return [post for post, running in self.running.items() if running.returncode is not None]

    async def stop(self) -> None:
        """All have ended, the broker last."""
        for post in reversed(self.posts):
            running = self.running.get(post)
            if running is not None and running.returncode is None:
                running.terminate()
                await ended(running)


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port: int = free.getsockname()[1]
        return port


@asynccontextmanager
async def crew(
    directory: Path, settings: Mapping[str, object], actors: int = 1, gateways: int = 1
) -> AsyncIterator[Crew]:
    """A crew at work; all of it has ended when the block ends."""
    await asyncio.to_thread(directory.mkdir, parents=True, exist_ok=True)
    at_work = Crew(directory, settings, actors, gateways)
    try:
        await at_work.start()
        yield at_work
    finally:
        await at_work.stop()

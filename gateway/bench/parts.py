"""The parts of one node as processes of their own, as the Procfile has them, each of which may die.

A part can be armed (`bus.faults`): it then kills itself at a point between two durable steps.
"""

from __future__ import annotations

import asyncio
import signal
import socket
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Literal

import psutil

from bus.faults import VARIABLE, Point
from gateway.bench.node import NoStart, command, ended, environment, ready

Part = Literal["nats", "actors", "gateway"]
Victim = Literal["broker", "nats", "actors", "gateway"]
"""`broker` is the nats-server itself; `nats` the process that started it."""
PARTS: tuple[Part, ...] = ("nats", "actors", "gateway")
VICTIMS: tuple[Victim, ...] = ("broker", "nats", "actors", "gateway")
KILLED_S = 10.0
RESTARTS = {"restarts_max": 1000}
"""A supervisor gives up after a few restarts a minute; here there are more by design."""


class Unfound(Exception):
    """What must be true was not, in time; the text says what."""


class Parts:
    """The processes of one node, each of which may die at any time."""

    def __init__(self, directory: Path, settings: Mapping[str, object] | None = None) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            self._port = free.getsockname()[1]
        self.url = f"http://127.0.0.1:{self._port}"
        self._directory = directory
        self._settings = RESTARTS | dict(settings or {})
        self._running: dict[Part, asyncio.subprocess.Process] = {}
        self._killed: set[Part] = set()
        """Those of which it is no wonder that they have ended."""
        self.deserted = 0
        """How many parts ended that nobody had killed."""

    async def start(self, part: Part, fault: str = "") -> str:
        """Start one part, armed with *fault*; for the gateway, the setup code once it answers."""
        words = command("run", part, "--json", "--data", str(self._directory))
        words += ["--port", str(self._port)] if part == "gateway" else []
        self._running[part] = running = await asyncio.create_subprocess_exec(
            *words,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            env=environment(self._directory, self._settings) | ({VARIABLE: fault} if fault else {}),
        )
        return str((await ready(running))["setup_code"]) if part == "gateway" else ""

    async def kill(self, victim: Victim) -> None:
        """*victim* has ended as a power cut would end it: without a word.

        The broker outlives its keeper by a moment in which it still answers: a death that is not
        waited for would be taken for a recovery.
        """
        if victim != "broker":
            self._killed.add(victim)
            self._running[victim].kill()
            await self._running[victim].wait()
            return
        for child in psutil.Process(self._running["nats"].pid).children():
            child.kill()

    async def arm(self, part: Part, point: Point, nth: int) -> None:
        """*part* runs and will die at *point*, when it comes there for the *nth* time."""
        if self._running[part].returncode is None:
            await self.kill(part)
        self._killed.add(part)
        try:
            await self.start(part, f"{point}:{nth}")
        except NoStart:
            if self._running[part].returncode != -signal.SIGKILL:
                raise  # Else it has come there already.

    async def died(self, part: Part) -> None:
        """*part* has ended, by the hand of its kill point. Raises `Unfound` for another end."""
        code = await self._running[part].wait()
        if code != -signal.SIGKILL:
            raise Unfound(f"{part} ended with {code} and not at its kill point")

    async def freeze(self, victim: Victim, seconds: float) -> None:
        """*victim* stands still for so long, and then goes on as if nothing had been."""
        frozen = self.process(victim)
        if frozen is None:
            return
        with suppress(psutil.NoSuchProcess):
            frozen.suspend()
            await asyncio.sleep(seconds)
            frozen.resume()

    def process(self, victim: Victim) -> psutil.Process | None:
        """The process of *victim*; None while there is none."""
        try:
            part = psutil.Process(self._running["nats" if victim == "broker" else victim].pid)
            return next(iter(part.children()), None) if victim == "broker" else part
        except psutil.NoSuchProcess:
            return None

    async def kill_all(self) -> None:
        """The broker and all parts have ended, without a word."""
        for running in self._running.values():
            if running.returncode is None:
                running.kill()
        self._killed.update(PARTS)
        await asyncio.gather(*(running.wait() for running in self._running.values()))
        await asyncio.to_thread(self._kill_brokers)

    def _kill_brokers(self) -> None:
        """No broker runs on the directory, not even one that was being started."""
        told = str((self._directory / "nats" / "nats.conf").resolve())
        brokers = [one for one in psutil.process_iter(["cmdline"]) if told in _words(one)]
        for broker in brokers:
            with suppress(psutil.NoSuchProcess):
                broker.kill()
        psutil.wait_procs(brokers, KILLED_S)

    async def revive(self, but: Part | None = None) -> None:
        """Start again whatever has died, *but* that."""
        for part in PARTS:
            if part != but and self._running[part].returncode is not None:
                self.deserted += part not in self._killed
                self._killed.discard(part)
                await self.start(part)

    async def stop(self) -> None:
        """All parts have ended, the broker last."""
        for part in reversed(PARTS):
            running = self._running.get(part)
            if running is not None and running.returncode is None:
                running.terminate()
                await ended(running)


def _words(process: psutil.Process) -> list[str]:
    """The command line of *process*; that of one that has ended is empty."""
    return process.info["cmdline"] or []

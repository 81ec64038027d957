"""Three NATS servers, each in a machine of its own, and what can befall them."""

from __future__ import annotations

import asyncio
import json
import shutil
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bus.cluster import Member, member_configuration
from bus.connection import wired
from bus.external import external_endpoint
from bus.jetstream import JetStreamLog
from bus.leading import led
from bus.log import Leaderless
from bus.program import binary
from bus.wire import BrokerLost
from gateway.bench.namespaces import Machine, machines
from gateway.bench.parts import Unfound
from schemas.settings import Settings

COUNT = 3
WHOLE_S = 60.0
STOP_S = 10.0
LOOK_S = 0.1


@dataclass
class Server:
    """One nats-server. It may be down."""

    machine: Machine
    folder: Path
    process: subprocess.Popen[bytes] | None = None

    @property
    def name(self) -> str:
        return self.folder.name

    def start(self) -> None:
        if self.process is None:
            words = (binary(Settings()), "-c", str(self.folder / "nats.conf"))
            with (self.folder / "start.log").open("ab") as output:
                self.process = subprocess.Popen(  # noqa: S603 - the program that nodes run
                    self.machine.within(*words), stdout=output, stderr=output
                )

    def kill(self) -> None:
        """It has ended without a word."""
        self._end(kill=True)

    def stop(self) -> None:
        """It has ended politely."""
        self._end(kill=False)

    def wipe(self) -> None:
        """Its disk is empty. For one that is down."""
        shutil.rmtree(self.folder / "js", ignore_errors=True)

    def _end(self, *, kill: bool) -> None:
        process, self.process = self.process, None
        if process is None:
            return
        process.kill() if kill else process.terminate()
        try:
            process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(STOP_S)


@dataclass(frozen=True)
class Members:
    """The servers of one cluster, and how the processes of a node reach them."""

    servers: tuple[Server, ...]
    settings: Settings
    told: dict[str, object] = field(default_factory=dict)
    """The settings of a process that runs on them."""

    async def state(self) -> dict[str, Any]:
        """What the log's leader says of its copies (`cluster` of JetStream's STREAM.INFO); nothing
        when it leads nobody. Raises `Leaderless`, BrokerLost, or TimeoutError.
        """
        endpoint = external_endpoint(self.settings)
        async with wired(endpoint, "gateway", self.settings) as wire:
            info = await JetStreamLog.info(wire, self.settings)
        cluster: dict[str, Any] = info["cluster"]
        return cluster if led(info) else {}

    async def leader(self) -> Server:
        """The server that leads the log, once one does."""
        name = (await self._sought(_led))["leader"]
        return next(server for server in self.servers if server.name == name)

    async def whole(self) -> None:
        """Returns once every server is up and its copy as good as the leader's."""
        await self._sought(_whole)

    async def _sought(self, wanted: Any) -> dict[str, Any]:
        try:
            async with asyncio.timeout(WHOLE_S):
                while True:
                    try:
                        state = await self.state()
                    except (Leaderless, BrokerLost, TimeoutError, KeyError):
                        state = {}
                    if wanted(state):
                        return state
                    await asyncio.sleep(LOOK_S)
        except TimeoutError as error:
            raise Unfound(f"the cluster is not whole after {WHOLE_S:g} s") from error


def _led(state: dict[str, Any]) -> bool:
    return bool(state.get("leader"))


def _whole(state: dict[str, Any]) -> bool:
    copies = state.get("replicas") or []
    return _led(state) and all(one["current"] and not one.get("offline") for one in copies)


@asynccontextmanager
async def members(directory: Path, **settings: object) -> AsyncIterator[Members]:
    """A cluster that starts, below *directory*; ended with the block. Raises `NoNamespaces`."""
    with machines(COUNT) as made:
        secrets = directory / "passwords.json"
        peers = [machine.address for machine in made]
        servers = []
        for nth, machine in enumerate(made, 1):
            folder = directory / f"n{nth}"
            folder.mkdir(parents=True, exist_ok=True)
            member = Member(folder.name, machine.address, str(folder / "js"))
            config = member_configuration(member, peers, secrets, Settings())
            (folder / "nats.conf").write_text(json.dumps(config, indent=1))
            servers.append(Server(machine, folder))
        told = {"nats_url": ",".join(peers), "nats_credentials": str(secrets)} | settings
        known = Settings(data_directory=directory / "looking-on", **told)  # type: ignore[arg-type]  # checked there
        try:
            for server in servers:
                server.start()
            yield Members(tuple(servers), known, told)
        finally:
            for server in servers:
                server.kill()

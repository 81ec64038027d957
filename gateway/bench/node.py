"""Nodes to measure: started as a user starts them, on a directory of their own, and stopped again.

Settings go in through the environment; the limits that protect a node from one caller are lifted,
because here one caller is the point.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from time import perf_counter
from typing import Any, get_args

import aiohttp
import orjson
import psutil
from yarl import URL

from schemas.account import Scope

START_S = 90.0
STOP_S = 20.0
AGAIN_S = 0.1
RESULT_MARGIN_S = 30.0
PASSWORD = "Correct-horse-7"  # noqa: S105 - of an account that lives for one measure
UNLIMITED = {
    "requests_per_second_max": 1_000_000,
    "requests_burst_max": 4_000_000,
    "live_clients_per_account_max": 10_000,
    "log_level": "error",
}


class NoStart(Exception):
    """A node, or a part of it, did not become ready; the text has its last words."""


@dataclass(frozen=True, slots=True)
class Node:
    """A running node. `ready_s` is how long it took from the command to its first answer."""

    url: str
    pid: int
    ready_s: float
    setup_code: str
    headers: dict[str, str] = field(default_factory=dict)
    """What makes a request one of the owner's."""

    @property
    def host(self) -> str:
        return URL(self.url).host or ""

    @property
    def port(self) -> int:
        return URL(self.url).port or 0

    def resident_mib(self) -> float:
        """What all processes of the node hold in memory."""
        first = psutil.Process(self.pid)
        return float(
            sum(one.memory_info().rss for one in [first, *first.children(recursive=True)])
        ) / (1 << 20)


def command(*words: str) -> list[str]:
    """The command line of this installation."""
    return [str(Path(sys.executable).with_name("canopy")), *words]


def environment(directory: Path, settings: Mapping[str, object]) -> dict[str, str]:
    """That of the caller, with these settings instead of its own."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("CANOPY_")}
    told = {
        f"CANOPY_{name.upper()}": str(value) for name, value in (UNLIMITED | dict(settings)).items()
    }
    return kept | told | {"XDG_CONFIG_HOME": str(directory / "config")}


@asynccontextmanager
async def process(
    words: list[str], env: Mapping[str, str] | None = None
) -> AsyncIterator[asyncio.subprocess.Process]:
    """A process with pipes, ended when the block ends."""
    running = await asyncio.create_subprocess_exec(
        *words, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, env=env
    )
    try:
        yield running
    finally:
        with suppress(ProcessLookupError):
            running.terminate()
        await ended(running)


async def ended(running: asyncio.subprocess.Process) -> None:
    """The process has ended, by itself or by force."""
    try:
        async with asyncio.timeout(STOP_S):
            await running.communicate()
    except TimeoutError:
        running.kill()
        await running.wait()


async def ready(running: asyncio.subprocess.Process) -> dict[str, Any]:
    """What a process says in its first line. Raises `NoStart` when it says nothing."""
    assert running.stdout is not None  # noqa: S101 - it was started with a pipe
    async with asyncio.timeout(START_S):
        line = await running.stdout.readline()
    if not line:
        raise NoStart(f"ended with {await running.wait()} before it was ready")
    told: dict[str, Any] = json.loads(line)
    return told


@asynccontextmanager
async def node(
    directory: Path, program: Sequence[str] = (), **settings: object
) -> AsyncIterator[Node]:
    """A whole node on *directory* with an owner of its own, when it is the first time; of another
    *program* that takes the words of `canopy`, if there is one."""
    began_s = perf_counter()
    words = [*(program or command()), "up", "--json", "--data", str(directory), "--port", "0"]
    async with process(words, environment(directory, settings)) as running:
        told = await ready(running)
        ready_s = perf_counter() - began_s
        headers = await credentials(directory, told["url"], told["setup_code"])
        yield Node(told["url"], running.pid, ready_s, told["setup_code"], headers)


async def credentials(directory: Path, url: str, setup_code: str) -> dict[str, str]:
    """The headers of the owner: registered now, or kept beside the log since last time."""
    kept = directory / "bench.json"
    if setup_code and not await asyncio.to_thread(kept.exists):
        key = await registered(url, "owner", setup_code)
        await asyncio.to_thread(kept.write_text, json.dumps({"X-API-Key": key}))
    headers: dict[str, str] = json.loads(await asyncio.to_thread(kept.read_text))
    return headers


async def registered(
    url: str, username: str, setup_code: str = "", headers: Mapping[str, str] | None = None
) -> str:
    """A key with every scope, of an account that registers now: with a code, or with the *headers*
    of the owner."""
    login = {"username": username, "password": PASSWORD}
    draft = login | {"setup_code": setup_code}
    async with aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True)) as http:
        account = await _posted(http, f"{url}/api/v1/register", draft, headers)
        known = f"after_seq={account['seq']}"
        session = await _posted(http, f"{url}/api/v1/session?{known}", login)
        http.headers["X-CSRF-Token"] = session["csrf_token"]
        key = await _posted(http, f"{url}/api/v1/keys", {"permissions": get_args(Scope)})
    return str(key["api_key"])


async def _posted(
    http: aiohttp.ClientSession, url: str, body: Any, headers: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """What a wish is answered that is granted; made again while the actors are still starting."""
    async with asyncio.timeout(START_S):
        while True:
            async with http.post(url, json=body, headers=headers) as response:
                answer: dict[str, Any] = await response.json()
                if response.status == 201:
                    return answer
                if response.status != 503:
                    raise NoStart(f"POST {url}: {response.status} {answer}")
            await asyncio.sleep(AGAIN_S)


async def ordered(module: str, order: Any) -> dict[str, Any]:
    """What the process `python -m gateway.bench.<module>` makes of *order*."""
    words = [sys.executable, "-m", f"gateway.bench.{module}"]
    async with process(words) as running:
        async with asyncio.timeout(order.warm_s + order.seconds + RESULT_MARGIN_S):
            told, _ = await running.communicate(orjson.dumps(asdict(order)) + b"\n")
        result: dict[str, Any] = orjson.loads(told)
        return result

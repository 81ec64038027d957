"""A whole node for a test: the production roots on free ports and a temporary directory.

async def test_what_is_said_is_heard(canopy: Canopy) -> None:
    ann = await canopy.register("ann")
    posted = await ann.post("/channels/messages", {"channel_id": "general", "content": "Hi."})
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_args

import aiohttp

from gateway.node import Up, up
from schemas.account import Scope
from schemas.settings import Settings

PASSWORD = "Correct-horse-7"
START_S = 15.0
STOP_S = 15.0


class Answered(Exception):
    """The node answered with another status than the test expects."""


@dataclass(frozen=True)
class Caller:
    """Somebody who calls the API under `/api/v1`; without a key, nobody."""

    http: aiohttp.ClientSession
    base: str
    id: str = ""
    key: str = ""

    async def call(
        self,
        method: str,
        path: str,
        body: Any = None,
        headers: dict[str, str] | None = None,
    ) -> tuple[int, dict[str, str], Any]:
        """(status, headers, JSON or text) of one request. A path outside /api is taken as it is."""
        url = self.base + (
            path
            if path.startswith(
                (
                    "/api/",
                    "/healthz",
                    "/readyz",
                    "/metrics",
                    "/version",
                    "/openapi.json",
                    "/asyncapi.json",
                    "/problems",
                )
            )
            else f"/api/v1{path}"
        )
        credentials = {"X-API-Key": self.key} if self.key else {}
        async with self.http.request(
            method, url, json=body, headers=credentials | (headers or {})
        ) as response:
            text = await response.text()
            told = dict(response.headers)
            return response.status, told, await response.json() if _json(told) else text

    async def ok(self, method: str, path: str, body: Any = None, **headers: str) -> Any:
        """The body of a request that succeeds. Raises `Answered` when it does not."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        status, _, answer = await self.call(method, path, body, named)
        if not 200 <= status < 300:
            raise Answered(f"{method} {path}: {status} {answer}")
        return answer

    async def get(self, path: str) -> Any:
        """The body of a read that succeeds."""
        return await self.ok("GET", path)

    async def post(self, path: str, body: Any = None, **headers: str) -> Any:
        """The body of a write that succeeds."""
        return await self.ok("POST", path, body, **headers)


def _json(headers: dict[str, str]) -> bool:
    kind = headers.get("Content-Type", "")
    return "json" in kind


@dataclass
class Canopy:
    """A running node."""

    up: Up
    http: aiohttp.ClientSession
    nobody: Caller = field(init=False)

    def __post_init__(self) -> None:
        self.nobody = Caller(self.http, self.up.url)

    async def register(self, username: str, **fields: Any) -> Caller:
        """A new account with its key. The first one owns the workspace."""
        body = {"username": username, "password": PASSWORD, **fields}
        account = await self.nobody.post("/register", body)
        return Caller(self.http, self.up.url, account["user_id"], account["api_key"])

    async def owner(self) -> Caller:
        """Ann, who comes first and owns the workspace, with a key that may do everything."""
        return await self.able("ann", await self.register("ann"))

    async def able(self, username: str, caller: Caller) -> Caller:
        """*caller*, who is called *username*, with a key that may do everything."""
        login = {"username": username, "password": PASSWORD}
        async with self.http.post(f"{self.up.url}/api/v1/session", json=login) as response:
            csrf = (await response.json())["csrf_token"]
            cookie = response.headers["Set-Cookie"].partition(";")[0]
        made = await self.nobody.ok(
            "POST", "/keys", {"permissions": get_args(Scope)}, Cookie=cookie, X_CSRF_Token=csrf
        )
        return Caller(self.http, self.up.url, caller.id, made["api_key"])


@asynccontextmanager
async def running(directory: Path, **settings: Any) -> AsyncIterator[Canopy]:
    """A node on *directory*, stopped when the block ends."""
    told: asyncio.Future[Up] = asyncio.get_running_loop().create_future()
    settings.setdefault("disk_spare_bytes", 0)  # Many nodes share the disk of the tests.
    configured = Settings(data_directory=directory, port=0, **settings)
    environ = {"XDG_CONFIG_HOME": str(directory / "config")}
    node = asyncio.create_task(up(configured, told.set_result, environ))
    try:
        async with asyncio.timeout(START_S):
            await asyncio.wait((told, node), return_when=asyncio.FIRST_COMPLETED)
        if not told.done():
            await node
        async with aiohttp.ClientSession() as http:
            yield Canopy(told.result(), http)
    finally:
        node.cancel()
        async with asyncio.timeout(STOP_S):
            await asyncio.gather(node, return_exceptions=True)

"""A gateway with nothing but live pages: the log in memory, three people, one private channel.

Ann owns the house and is alone in `den`; Bob and Cyd are members of `general` like everybody.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, Self

import aiohttp
from aiohttp import web
from aiohttp.test_utils import TestServer

from actors.account import queries as accounts
from actors.channel import queries as channels
from actors.workspace import queries as workspace
from bus.clock import Clock, new_id
from bus.signs import LocalSigns
from bus.telemetry import Telemetry
from gateway.directory import Directory
from gateway.errors import refuse, tell
from gateway.feed import Feed
from gateway.live import Live
from gateway.policy import ALL_SCOPES, Principal
from gateway.redaction import shown
from schemas.envelope import Event, Header, Refused
from schemas.message import MessagePosted
from schemas.settings import Settings
from tests.bus.vaults import empty_vault
from tests.gateway.reading import EPOCH, Log

Frame = dict[str, Any]
DEADLINE_S = 10.0


class House:
    """The room under test and the hands to move it."""

    def __init__(self, settings: Settings) -> None:
        self.log = Log(EPOCH)
        self.feed = Feed(self.log, partial(shown, empty_vault()), settings)
        self.directory = Directory()
        self.signs = LocalSigns()
        self.telemetry = Telemetry()
        self.lost: set[str] = set()
        """Accounts whose credential is good no longer."""
        self.live = Live(
            self.feed,
            self.directory,
            self.signs,
            settings,
            self.telemetry,
            reached=self._reached,
            renew=self._renew,
        )
        self.server = TestServer(self._app())
        self.client = aiohttp.ClientSession()
        self._clock = Clock()
        self._last: dict[tuple[str, str], int] = {}
        self._statuses = {"ann": "active", "bob": "active", "cyd": "active"}

    async def _reached(self, seq: int) -> None:
        async with asyncio.timeout(DEADLINE_S):
            while self.feed.head < seq:
                await asyncio.sleep(0.001)

    def _renew(self, principal: Principal) -> Principal:
        if principal.id in self.lost:
            raise refuse("credential_invalid")
        return self.principal(principal.id)

    def principal(self, account_id: str) -> Principal:
        """Who an account is today, with every scope."""
        account = self.directory.account(account_id)
        return Principal(account, ALL_SCOPES, owner=account_id == self.directory.owner_id)

    def _app(self) -> web.Application:
        async def follow(request: web.Request) -> web.StreamResponse:
            try:
                return await self.live.follow(request, self.principal(request.headers["X-Account"]))
            except Refused as refused:
                told = tell(refused, request.path, "test")
                return web.Response(status=told.status, body=told.body)

        app = web.Application()
        app.router.add_get("/live", follow)
        return app

    async def suspend(self, account_id: str) -> None:
        """The owner has suspended an account."""
        self._statuses[account_id] = "suspended"
        await self.load()

    async def load(self) -> None:
        """Read everybody again."""
        await self.directory.load(self._rows)

    async def _rows(self, statement: str, _args: Sequence[Any]) -> list[dict[str, Any]]:
        match statement:
            case accounts.ACCOUNTS:
                return [_account(name, status) for name, status in self._statuses.items()]
            case channels.CHANNELS:
                return [_channel("general", "general"), _channel("den", "private")]
            case channels.MEMBERS:
                member = {"account_id": "ann", "role": "admin", "joined_ms": 0, "since": 1}
                return [member | {"channel_id": "den"}]
            case workspace.OWNER:
                return [{"account_id": "ann"}]
        return []

    async def append(self, noun: str, key: str, *events: Event, author: str = "ann") -> int:
        """One commit, stored but not yet shown."""
        header = Header(
            id=new_id(),
            noun=noun,
            key=key,
            author=author,
            origin="n0",
            clock=self._clock.tick(),
            cause=new_id(),
            correlation=new_id(),
        )
        expected = self._last.get((noun, key), 0)
        seq = self._last[noun, key] = await self.log.append(header, events, expected)
        return seq

    async def say(self, text: str, channel: str = "general") -> int:
        """One message, stored but not yet shown."""
        return await self.append("message", f"{channel}.{new_id('M')}", MessagePosted(content=text))

    async def show(self) -> None:
        """Fold what has been stored: from now on it is news."""
        self.feed.publish(await self.log.page(self.feed.head, 1_000_000))

    async def told(self, *texts: str, channel: str = "general") -> int:
        """Messages, stored and shown; the position of the last."""
        seq = 0
        for text in texts:
            seq = await self.say(text, channel)
        await self.show()
        return seq

    async def sockets(self, count: int) -> None:
        """Returns once *count* WebSockets are left."""
        async with asyncio.timeout(DEADLINE_S):
            while self._sockets() != count:
                await asyncio.sleep(0.01)

    def _sockets(self) -> float | None:
        return self.telemetry.registry.get_sample_value("canopy_sockets", {"kind": "websocket"})

    @asynccontextmanager
    async def socket(self, account: str = "bob", **query: str | int) -> AsyncIterator[Socket]:
        """A WebSocket of one account."""
        async with self.client.ws_connect(
            self.server.make_url("/live"), params=query, headers={"X-Account": account}
        ) as connection:
            yield Socket(connection)

    @asynccontextmanager
    async def stream(
        self, account: str = "bob", headers: Mapping[str, str] | None = None, **query: str | int
    ) -> AsyncIterator[Stream]:
        """Server-sent events for one account."""
        async with self.client.get(
            self.server.make_url("/live"),
            params=query,
            headers={"X-Account": account, **(headers or {})},
        ) as response:
            yield Stream(response)

    async def __aenter__(self) -> Self:
        await self.load()
        await self.server.start_server()
        self._running = asyncio.create_task(self.live.run())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._running.cancel()
        await asyncio.wait([self._running])
        await self.client.close()
        await self.server.close()


class Socket:
    """A WebSocket client that waits for frames, never long."""

    def __init__(self, connection: aiohttp.ClientWebSocketResponse) -> None:
        self.connection = connection

    async def any(self) -> Frame:
        """The next frame of any type."""
        frame: Frame = json.loads(await self.connection.receive_str(timeout=DEADLINE_S))
        return frame

    async def next(self) -> Frame:
        """The next frame but for presence, which comes when it comes."""
        while (frame := await self.any())["type"] == "presence":
            pass
        return frame

    async def take(self, count: int) -> list[Frame]:
        """The next *count* frames."""
        return [await self.next() for _ in range(count)]

    async def until(self, kind: str) -> Frame:
        """The next frame of one type; others are passed over."""
        while (frame := await self.any())["type"] != kind:
            pass
        return frame

    async def code(self) -> int:
        """The code with which the server closes, after whatever else it says."""
        async with asyncio.timeout(DEADLINE_S):
            async for _ in self.connection:
                pass
        return self.connection.close_code or 0

    def drop(self) -> None:
        """Be gone without a word."""
        response = self.connection._response
        if response.connection is not None and response.connection.transport is not None:
            response.connection.transport.abort()


class Stream:
    """A client of server-sent events."""

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self.response = response

    async def next(self) -> dict[str, str]:
        """The fields of the next event or comment (whose name is empty)."""
        fields: dict[str, str] = {}
        async with asyncio.timeout(DEADLINE_S):
            while (line := (await self.response.content.readline()).decode()) != "\n":
                name, _, value = line.rstrip("\n").partition(":")
                fields[name] = value.strip()
        return fields

    async def commit(self) -> tuple[str, Frame]:
        """The (id, frame) of the next commit."""
        while True:
            fields = await self.next()
            frame = json.loads(fields.get("data", "{}"))
            if frame.get("type") == "commit":
                return fields["id"], frame


def contents(frames: Sequence[Frame]) -> Iterator[str]:
    """What was said in commits of messages."""
    for frame in frames:
        if frame["type"] == "commit":
            yield from (event["data"]["content"] for event in frame["events"])


def _account(name: str, status: str) -> dict[str, Any]:
    return {
        "id": name,
        "username": name,
        "display_name": name.title(),
        "account_type": "human",
        "status": status,
        "password_sealed": "",
        "public_key": "",
        "bio": "",
        "avatar_file_id": "",
        "agent_directives": "",
        "origin": "n0",
        "created_ms": 0,
        "updated_ms": 0,
        "since": 1,
        "seq": 1,
    }


def _channel(name: str, kind: str) -> dict[str, Any]:
    return {
        "id": name,
        "name": name,
        "type": kind,
        "description": "",
        "topic": "",
        "privacy_mode": "open",
        "created_by": "ann",
        "created_ms": 0,
        "origin": "n0",
        "ttl_days": None,
        "preserved": False,
        "archived_ms": None,
        "removed": False,
        "since": 1,
        "seq": 1,
    }

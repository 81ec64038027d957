"""One live client: how far it is, what it may see, and how bytes reach it.

A follower owes nothing to others: it walks the feed at its own pace, one page at a time, and only
its own task writes to its connection. What it cannot take within the deadline ends it; it may come
back and go on where it was.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import dataclass
from struct import pack
from time import perf_counter
from typing import Protocol

import orjson
from aiohttp import web

from bus.log import Leaderless, Missing
from bus.telemetry import Attributes, Telemetry
from bus.wire import BrokerLost
from gateway import policy
from gateway.directory import Directory
from gateway.feed import Entry, Feed, Form
from gateway.policy import Principal
from schemas.envelope import Refused

CHUNK_BYTES = 64 * 1024
"""Handed to a connection at once; also where its own buffer begins to count as full."""
SIGNS_MAX = 32
"""Passing signs that wait for one client; the oldest give way."""
UNREAD = (Missing, Leaderless, BrokerLost, TimeoutError)
"""Why the log does not show what a client is to be sent next."""
UNTRACED = nullcontext()


@dataclass(frozen=True, slots=True)
class Farewell:
    """Why a connection ends: a WebSocket close code (RFC 6455 §7.4) and a word on what to do."""

    code: int
    reason: str


class Ended(Exception):
    """The connection has to end, for this reason."""

    def __init__(self, farewell: Farewell) -> None:
        super().__init__(farewell.reason)
        self.farewell = farewell


LEFT = Farewell(1000, "The client has left.")
SLOW = Farewell(1013, "Too slow: connect again with ?after=<last seq> and go on.")
AWAY = Farewell(1013, "The log is away for a moment: connect again with ?after=<last seq>.")
SHUT = Farewell(1013, "The vault is out of reach: connect again with ?after=<last seq>.")
DAMAGED = Farewell(1011, "The log is damaged: what follows your position cannot be read any more.")
STOPPING = Farewell(1001, "The node is stopping: connect again with ?after=<last seq>.")


@dataclass(frozen=True, slots=True)
class SocketForm:
    """One JSON object, one text frame (RFC 6455 §5.2; what a server sends is not masked)."""

    def numbered(self, seq: int, json: bytes) -> bytes:
        return self.passing(json)

    def passing(self, json: bytes) -> bytes:
        size = len(json)
        if size < 126:
            return pack("!BB", 0x81, size) + json
        if size < 1 << 16:
            return pack("!BBH", 0x81, 126, size) + json
        return pack("!BBQ", 0x81, 127, size) + json


@dataclass(frozen=True, slots=True)
class StreamForm:
    """One JSON object, one server-sent event; those with a position carry `<epoch>.<seq>`."""

    epoch: str

    def numbered(self, seq: int, json: bytes) -> bytes:
        return b"id: %b.%d\ndata: %b\n\n" % (self.epoch.encode(), seq, json)

    def passing(self, json: bytes) -> bytes:
        return b"data: %b\n\n" % json


class Sink(Protocol):
    """A connection to write to."""

    form: Form
    heartbeat: bytes
    """What shows an idle client that we are here; empty when the transport sees to it."""

    async def send(self, data: bytes) -> None:
        """Returns when there is room for more.

        Raises TimeoutError when there is none for too long, ConnectionError when nobody is there.
        """

    @property
    def gone(self) -> bool:
        """Whether the client has left."""


class SocketSink:
    """A WebSocket: shared frames go straight to its transport, and its limits are heeded."""

    heartbeat = b""

    def __init__(self, request: web.Request, form: Form, deadline_s: float) -> None:
        self.form = form
        self._request = request
        self._deadline_s = deadline_s

    @property
    def gone(self) -> bool:
        return _gone(self._request)

    async def send(self, data: bytes) -> None:
        transport = self._request.transport
        if transport is None or transport.is_closing():
            raise ConnectionResetError
        transport.write(data)
        if transport.get_write_buffer_size() >= CHUNK_BYTES:
            async with asyncio.timeout(self._deadline_s):
                await self._request.writer.drain()


class StreamSink:
    """A page of server-sent events."""

    heartbeat = b": here\n\n"

    def __init__(
        self, request: web.Request, response: web.StreamResponse, form: Form, deadline_s: float
    ) -> None:
        self.form = form
        self._request = request
        self._response = response
        self._deadline_s = deadline_s

    @property
    def gone(self) -> bool:
        return _gone(self._request)

    async def send(self, data: bytes) -> None:
        async with asyncio.timeout(self._deadline_s):
            await self._response.write(data)


def _gone(request: web.Request) -> bool:
    transport = request.transport
    return transport is None or transport.is_closing()


@dataclass(frozen=True, slots=True)
class Wish:
    """What a client wants to hear of: everything, one channel, one noun."""

    channel: str = ""
    noun: str = ""

    def covers(self, entry: Entry) -> bool:
        return (not self.noun or entry.noun == self.noun) and (
            not self.channel or entry.channel == self.channel
        )


class Follower:
    """One client at its position: all commits up to `cursor` have been sent or withheld."""

    __slots__ = (
        "_farewell",
        "_owed",
        "_told",
        "_wake",
        "cursor",
        "principal",
        "sent_s",
        "signs",
        "sink",
        "wish",
    )

    def __init__(self, principal: Principal, wish: Wish, cursor: int, sink: Sink) -> None:
        self.principal = principal
        self.wish = wish
        self.cursor = cursor
        self.sink = sink
        self.signs: deque[bytes] = deque(maxlen=SIGNS_MAX)
        self.sent_s = asyncio.get_running_loop().time()
        self._farewell: Farewell | None = None
        self._owed = False
        self._told = cursor
        self._wake = asyncio.Event()

    @property
    def behind(self) -> bool:
        """Whether the client does not know its own position."""
        return self._told < self.cursor

    def wake(self) -> None:
        """There is something to see to."""
        self._wake.set()

    def say(self, sign: bytes) -> None:
        """Send *sign*, framed already, when there is a turn."""
        self.signs.append(sign)
        self._wake.set()

    def owe_position(self) -> None:
        """Tell the client how far it is, though there was nothing for it to see."""
        self._owed = True
        self._wake.set()

    def dismiss(self, farewell: Farewell) -> None:
        """End the connection, once what is being sent is sent."""
        self._farewell = farewell
        self._wake.set()

    async def push(self, feed: Feed, directory: Directory, telemetry: Telemetry) -> None:
        """Send what follows the cursor, for ever. Raises `Ended` when that ends."""
        while True:
            self._wake.clear()
            if self._farewell is not None:
                raise Ended(self._farewell)
            try:
                page = await feed.page(self.cursor)
            except UNREAD as error:
                await self._send(self._frames((), directory))
                raise Ended(DAMAGED if isinstance(error, Missing) else AWAY) from error
            try:
                frames = self._frames(page, directory)
            except Refused as error:  # Nothing is passed over.
                raise Ended(SHUT) from error
            if frames:
                began_s, first = perf_counter(), bool(page) and not page[-1].pushed
                with spans(telemetry, page):
                    await self._send(frames)
                if first:
                    page[-1].pushed = True
                    telemetry.memory.step("push", began_s, first=page[0].seq, last=page[-1].seq)
            if not page or self.cursor >= feed.head:
                await self._wake.wait()
            else:
                await asyncio.sleep(0)  # A page in memory never waits: let others have a turn.

    def _frames(self, page: Sequence[Entry], directory: Directory) -> list[bytes]:
        """What *page* has for the client, after signs and before its position; moves the cursor."""
        frames = list(self.signs)
        self.signs.clear()
        form, covers = self.sink.form, self.wish.covers
        told = self._told
        for entry in page:
            if covers(entry) and (shown := visible(self.principal, directory, entry)):
                frames.append(entry.frame(form, shown))
                told = entry.seq
        if page:
            self.cursor = page[-1].seq
        if self._owed and told < self.cursor:
            told = self.cursor
            frames.append(form.numbered(told, orjson.dumps({"type": "position", "seq": told})))
        self._owed = False
        self._told = told
        return frames

    async def _send(self, frames: Iterable[bytes]) -> None:
        chunk: list[bytes] = []
        size = 0
        for frame in frames:
            chunk.append(frame)
            size += len(frame)
            if size >= CHUNK_BYTES:
                await self._hand_over(b"".join(chunk))
                chunk, size = [], 0
        if chunk:
            await self._hand_over(b"".join(chunk))

    async def _hand_over(self, data: bytes) -> None:
        try:
            await self.sink.send(data)
        except TimeoutError as error:
            raise Ended(SLOW) from error
        except ConnectionError as error:
            raise Ended(LEFT) from error
        self.sent_s = asyncio.get_running_loop().time()


def visible(principal: Principal, directory: Directory, entry: Entry) -> int:
    """The events of *entry* that *principal* may see now: a bit each, 1 for the first."""
    entry.open()
    shown = 0
    for nth, kind in enumerate(entry.kinds):
        if policy.visible(principal, directory, entry.noun, entry.key, kind, entry.author):
            shown |= 1 << nth
    return shown


def spans(telemetry: Telemetry, page: Sequence[Entry]) -> AbstractContextManager[object]:
    """A span for each commit of *page* that no client has been sent yet."""
    if not telemetry.tracing:
        return UNTRACED
    stack = ExitStack()
    for entry in page:
        if not entry.pushed:
            entry.pushed = True
            attributes: Attributes = {"canopy.noun": entry.noun, "canopy.seq": entry.seq}
            stack.enter_context(telemetry.span("push", entry.traceparent, attributes))
    return stack

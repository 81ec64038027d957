"""Live: a page that does not end, over a WebSocket or as server-sent events.

    {"type":"hello","epoch":…,"head":…}          first; positions count within an epoch
    {"type":"commit","seq":…,"events":[…], …}    one commit of the log, in order
    {"type":"position","seq":…}                  what lies up to here is not for this client
    {"type":"snapshot","reason":…,"head":…}      read the state over REST, then go on after `head`
    {"type":"typing"|"presence"|"error", …}      passing signs: no position, never repeated

`?after=<seq>` or `Last-Event-ID: <epoch>.<seq>` resumes, days later too. Rights are those of now,
asked for every commit. Read `Live.follow`, then `follower.py` (one client) and `feed.py` (the log).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

import structlog
from aiohttp import WSMsgType, web

from bus.signs import Signs
from bus.telemetry import Telemetry
from gateway import policy
from gateway.directory import Directory
from gateway.errors import refuse, wrong
from gateway.feed import Feed, Form
from gateway.follower import (
    LEFT,
    STOPPING,
    Ended,
    Farewell,
    Follower,
    Sink,
    SocketForm,
    SocketSink,
    StreamForm,
    StreamSink,
    Wish,
)
from gateway.policy import Principal
from gateway.relay import Relay, encoded
from schemas.envelope import Refused
from schemas.settings import Settings

SWEEP_S = 0.5
"""Between looks at all clients: who has lost a right, who is owed a position or a heartbeat."""
POSITION_S = 1.0
"""Between positions told to a client that is shown nothing."""
CLOSE_S = 2.0
"""For a client to take what is on its way and agree that the connection ends."""
RETRY_MS = 1000

log = structlog.get_logger()
Renew = Callable[[Principal], Principal]
"""The principal as it stands now. Raises `Refused` when its credential holds no longer."""


@dataclass(frozen=True, slots=True)
class Start:
    """Where a client begins, and why its own position could not be taken up."""

    cursor: int
    snapshot: str = ""


class Live:
    """All live clients of one gateway."""

    def __init__(
        self,
        feed: Feed,
        directory: Directory,
        signs: Signs,
        settings: Settings,
        telemetry: Telemetry,
        reached: Callable[[int], Awaitable[None]],
        renew: Renew,
    ) -> None:
        self._feed = feed
        self._directory = directory
        self._settings = settings
        self._telemetry = telemetry
        self._reached = reached
        self._renew = renew
        self._followers: set[Follower] = set()
        self._relay = Relay(self._followers, directory, signs, settings)
        self._socket_form = SocketForm()
        self._stream_form = StreamForm(feed.epoch)
        feed.published = self._published
        feed.awaited = lambda: bool(self._followers)

    @property
    def clients(self) -> int:
        """How many follow at this moment."""
        return len(self._followers)

    def _published(self) -> None:
        for follower in self._followers:
            follower.wake()

    async def run(self) -> None:
        """Look after all clients, for ever."""
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._sweep())
                group.create_task(self._relay.run())
        finally:
            self.stop()

    def stop(self) -> None:
        """Ask every client to come back later."""
        for follower in self._followers:
            follower.dismiss(STOPPING)

    async def follow(self, request: web.Request, principal: Principal) -> web.StreamResponse:
        """Answers with a WebSocket when the client asks for one, with server-sent events else.

        Raises `Refused` for a position that does not exist, or when there are too many clients.
        """
        self._admit(principal)
        start = await self._start(request)
        wish = Wish(request.query.get("channel", ""), request.query.get("noun", ""))
        if request.headers.get("Upgrade", "").lower() == "websocket":
            return await self._socket(request, principal, start, wish)
        return await self._stream(request, principal, start, wish)

    def _admit(self, principal: Principal) -> None:
        if len(self._followers) >= self._settings.live_clients_max:
            raise refuse("unavailable", "Too many live clients on this node.")
        here = self._relay.presence.count(principal.id)
        if here >= self._settings.live_clients_per_account_max:
            raise refuse("rate_limited", "Too many live clients of this account.")

    async def _start(self, request: web.Request) -> Start:
        head = self._feed.folded  # Whoever begins here can read all that lies before.
        asked = request.headers.get("Last-Event-ID") or request.query.get("after")
        if asked is None:
            return Start(head)
        epoch, _, digits = asked.rpartition(".")
        if not (digits.isascii() and digits.isdigit() and len(digits) <= 18):
            raise wrong("after", "Send after=<seq>, or Last-Event-ID: <epoch>.<seq>.")
        if epoch and epoch != self._feed.epoch:
            return Start(head, "foreign_epoch")
        after = int(digits)
        if after > self._feed.head:
            if after > await self._feed.stored():
                raise refuse("position_ahead", f"The log ends before {after}.")
            await self._reached(after)
        if head - after > self._settings.live_replay_max:
            return Start(head, "too_far_behind")
        return Start(after)

    async def _socket(
        self, request: web.Request, principal: Principal, start: Start, wish: Wish
    ) -> web.StreamResponse:
        socket = web.WebSocketResponse(
            timeout=CLOSE_S,
            heartbeat=self._settings.live_heartbeat_s,
            max_msg_size=self._settings.live_message_bytes_max,
            compress=False,  # A frame is written once for all clients.
        )
        await socket.prepare(request)
        sink = SocketSink(request, self._socket_form, self._settings.live_send_timeout_s)
        async with self._following(principal, start, wish, sink, "websocket") as follower:
            farewell = await self._converse(follower, socket)
        await _close(request, socket, farewell)
        return socket

    async def _converse(self, follower: Follower, socket: web.WebSocketResponse) -> Farewell:
        """Push and listen until one of the two ends; why it did."""
        farewell = LEFT
        try:
            async with asyncio.TaskGroup() as group:
                pushing = group.create_task(self._push(follower))
                await self._listen(follower, socket)
                pushing.cancel()
        except* Ended as ended:
            farewell = _reason(ended)
        return farewell

    async def _listen(self, follower: Follower, socket: web.WebSocketResponse) -> None:
        async for message in socket:
            if message.type is WSMsgType.TEXT:
                await self._relay.hear(follower, message.data)

    async def _push(self, follower: Follower) -> None:
        await follower.push(self._feed, self._directory, self._telemetry)

    async def _stream(
        self, request: web.Request, principal: Principal, start: Start, wish: Wish
    ) -> web.StreamResponse:
        response = web.StreamResponse(
            headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
        )
        response.content_type = "text/event-stream"
        response.charset = "utf-8"
        await response.prepare(request)
        await response.write(b"retry: %d\n\n" % RETRY_MS)
        deadline_s = self._settings.live_send_timeout_s
        sink = StreamSink(request, response, self._stream_form, deadline_s)
        async with self._following(principal, start, wish, sink, "sse") as follower:
            try:
                await self._push(follower)
            except Ended as ended:
                await _part(response, self._stream_form, ended.farewell)
        return response

    @asynccontextmanager
    async def _following(
        self, principal: Principal, start: Start, wish: Wish, sink: Sink, kind: str
    ) -> AsyncIterator[Follower]:
        follower = Follower(principal, wish, start.cursor, sink)
        self._greet(follower, start)
        self._followers.add(follower)
        self._relay.presence.arrive(principal.id)
        self._telemetry.sockets.labels(kind).inc()
        try:
            yield follower
        finally:
            self._telemetry.sockets.labels(kind).dec()
            self._relay.presence.leave(principal.id)
            self._followers.discard(follower)

    def _greet(self, follower: Follower, start: Start) -> None:
        form, head = follower.sink.form, self._feed.folded
        follower.say(encoded(form, type="hello", epoch=self._feed.epoch, head=head))
        if start.snapshot:
            told = {
                "type": "snapshot",
                "reason": start.snapshot,
                "head": start.cursor,
                "oldest": max(0, head - self._settings.live_replay_max),
            }
            follower.say(encoded(form, **told))

    async def _sweep(self) -> None:
        clock = asyncio.get_running_loop().time
        while True:
            now_s = clock()
            for follower in self._followers:
                self._see_to(follower, now_s)
            await asyncio.sleep(SWEEP_S)

    def _see_to(self, follower: Follower, now_s: float) -> None:
        """Dismiss who has no right to be here any more; tell the others that we still are."""
        try:
            follower.principal = self._renew(follower.principal)
            policy.admit(follower.principal, "follow_log")
        except Refused as refused:
            follower.dismiss(Farewell(_close_code(refused), refused.message))
            return
        silent_s = now_s - follower.sent_s
        heartbeat = follower.sink.heartbeat
        if follower.sink.gone:
            follower.dismiss(LEFT)
        elif follower.behind and silent_s >= POSITION_S:
            follower.owe_position()
        elif heartbeat and silent_s >= self._settings.live_heartbeat_s:
            follower.say(heartbeat)


def _close_code(refused: Refused) -> int:
    """4403 for an account that may not any more, 4401 for a credential that is none any more."""
    return 4403 if refused.code in ("account_suspended", "scope_missing") else 4401


def _reason(group: BaseExceptionGroup[Ended]) -> Farewell:
    """What the first of *group* says."""
    first = group.exceptions[0]
    return first.farewell if isinstance(first, Ended) else _reason(first)


async def _close(request: web.Request, socket: web.WebSocketResponse, farewell: Farewell) -> None:
    """Say *farewell* after what is on its way; cut the connection when it is not taken."""
    transport = request.transport
    try:
        async with asyncio.timeout(CLOSE_S):
            await socket.close(code=farewell.code, message=farewell.reason.encode(), drain=False)
    except TimeoutError:
        log.info("live_client_cut", code=farewell.code)
    if transport is not None and transport.get_write_buffer_size():
        transport.abort()


async def _part(response: web.StreamResponse, form: Form, farewell: Farewell) -> None:
    """Say *farewell* to a reader of events, if it is still there."""
    words = encoded(form, type="closed", code=farewell.code, reason=farewell.reason)
    try:
        async with asyncio.timeout(CLOSE_S):
            await response.write(words)
            await response.write_eof()
    except (TimeoutError, ConnectionError):
        log.info("live_client_cut", code=farewell.code)

"""The NATS wire protocol, as far as the hot paths need it: commands, appends, reading the log.

Each of them would spend most of its time in the client: nats-py parses every header of every
message and keeps a queue and a task for each subscription (39 k messages/s read through it, 114 k/s
here; docs/explanation/performance.md). Consumers, buckets and administration go through nats-py.
Protocol: https://docs.nats.io/reference/reference-protocols/nats-protocol.
"""

from __future__ import annotations

import asyncio
import json
import ssl
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from itertools import count
from secrets import token_hex
from typing import Any, cast
from urllib.parse import urlsplit

from bus.logins import Login
from schemas.servers import PORT

Frame = tuple[bytes, bytes]
"""(header bytes, payload) of one message."""

Receive = Callable[[bytes, bytes, bytes], None]
"""Called with (reply subject, header bytes, payload) of each message of a subscription."""

CRLF = b"\r\n"
CONNECT_TIMEOUT_S = 5.0
STATUS = b"NATS/1.0 "
"""How the header of the broker's own word begins; a message's own header has no status."""
NO_RESPONDERS = b"NATS/1.0 503"
LETTER_H = 72
MESSAGES = b"HM"
"""How the line of a message begins, HMSG or MSG; no other line begins so."""
INBOX_SID = b"1"
OPTIONS = {
    "verbose": False,
    "pedantic": False,
    "headers": True,
    "no_responders": True,
    "lang": "python",
    "version": "1",
    "name": "canopy",
}


class BrokerLost(ConnectionError):
    """The broker has gone, or has refused us; whoever waits learns it at once."""


class TooLarge(ValueError):
    """More bytes than the broker carries at once. It would cut the connection; so none was sent."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A question on its way: what it was asked on, and the answer to come."""

    subject: str
    token: bytes
    answer: asyncio.Future[Frame]


class Wire(asyncio.Protocol):
    """One connection: `publish`, `ask` for one answer, `inbox` for many, `subscribe`.

    `lost` is done, with an exception, when the connection ends without `close`.
    """

    def __init__(self) -> None:
        loop = asyncio.get_running_loop()
        self._loop = loop
        self._inbox = f"_INBOX.{token_hex(11)}"
        self._numbers = count(2)
        self._answers: dict[bytes, asyncio.Future[Frame]] = {}
        self._inboxes: dict[bytes, Receive] = {}
        self._subscriptions: dict[bytes, Receive] = {}
        self._rest = b""
        self._outgoing: list[bytes] = []
        self._greeted: asyncio.Future[dict[str, Any]] = loop.create_future()
        self._ready: asyncio.Future[None] = loop.create_future()
        self._pongs: deque[asyncio.Future[None]] = deque()
        self._closing = False
        self._payload_bytes_max = 0
        self._transport: asyncio.Transport | None = None
        self.lost: asyncio.Future[None] = loop.create_future()
        self.told: Callable[[list[str]], None] = lambda places: None
        """Told of the servers (host:port) that the broker knows of."""
        self.address = ""

    async def greeted(self) -> dict[str, Any]:
        """What the broker says of itself (INFO), which it does first. Raises `BrokerLost`."""
        return await asyncio.shield(self._greeted)

    async def introduce(self, login: Login, tls: ssl.SSLContext | None, host: str) -> None:
        """Returns once the broker has accepted *login*, over TLS if either side wants it.

        Raises `BrokerLost` when it refuses, or has no TLS although we want it: then nothing
        secret was sent.
        """
        info = await self.greeted()
        offered = info.get("tls_required") or info.get("tls_available")
        if tls is not None and not offered:
            raise BrokerLost("the server offers no TLS: give it a certificate, or name nats://")
        if tls is not None or info.get("tls_required"):
            await self._encrypt(tls or ssl.create_default_context(), host)
        self._payload_bytes_max = info["max_payload"]
        connect = json.dumps(OPTIONS | login.answer(info.get("nonce", ""))).encode()
        inbox = self._inbox.encode()
        self._pongs.append(self._ready)
        self._send(b"CONNECT %b\r\nSUB %b.* %b\r\nPING\r\n" % (connect, inbox, INBOX_SID))
        await asyncio.shield(self._ready)

    async def ping(self, timeout_s: float) -> None:
        """Returns when the broker has answered. Raises TimeoutError, or `BrokerLost`."""
        heard: asyncio.Future[None] = self._loop.create_future()
        self._pongs.append(heard)
        self._send(b"PING\r\n")
        async with asyncio.timeout(timeout_s):
            await heard

    async def _encrypt(self, tls: ssl.SSLContext, host: str) -> None:
        """What follows travels over TLS. Raises `BrokerLost` when no trust comes about."""
        if self._transport is None:
            raise BrokerLost("the connection to the broker is gone")
        try:
            transport = await self._loop.start_tls(self._transport, self, tls, server_hostname=host)
        except ssl.SSLError as error:
            raise BrokerLost(f"TLS with {host} failed: {error}") from error
        if transport is None:
            raise BrokerLost(f"{host} ended the connection during TLS")
        self._transport = transport

    def publish(self, subject: str, payload: bytes, reply: str = "", header: bytes = b"") -> None:
        """Queue one message; what is queued in one turn of the loop leaves in one write.

        Raises `BrokerLost`, or `TooLarge`.
        """
        if self._transport is None or self.lost.done():
            raise BrokerLost("the connection to the broker is gone")
        if len(header) + len(payload) > self._payload_bytes_max:
            raise TooLarge(f"{len(header) + len(payload)} of {self._payload_bytes_max} bytes")
        if header:
            size = len(header)
            line = f"HPUB {subject} {reply} {size} {size + len(payload)}\r\n"
        else:
            line = f"PUB {subject} {reply} {len(payload)}\r\n"
        if not self._outgoing:
            self._loop.call_soon(self.flush)
        self._outgoing += (line.encode(), header, payload, CRLF)

    async def ask(
        self, subject: str, payload: bytes, timeout_s: float, header: bytes = b""
    ) -> bytes:
        """The payload of the one answer. Raises `BrokerLost`, TimeoutError, or `LookupError`
        when nobody listens on *subject*."""
        return await self.answer(self.asked(subject, payload, header), timeout_s)

    def asked(self, subject: str, payload: bytes, header: bytes = b"") -> Asked:
        """Queue a question, of which there is one answer to come. Raises `BrokerLost`."""
        number = str(next(self._numbers))
        self.publish(subject, payload, f"{self._inbox}.{number}", header)
        token = number.encode()
        answer = self._answers[token] = self._loop.create_future()
        return Asked(subject, token, answer)

    async def answer(self, asked: Asked, timeout_s: float) -> bytes:
        """The payload of the answer. Raises as `ask` does."""
        # A timer of the loop is a third of the price of an asyncio.timeout, once for each command.
        alarm = self._loop.call_later(timeout_s, _expire, asked.answer)
        try:
            head, data = await asked.answer
        finally:
            alarm.cancel()
            self._answers.pop(asked.token, None)
        if head.startswith(NO_RESPONDERS):
            raise LookupError(f"nobody answers on {asked.subject}")
        return data

    async def collect(self, subject: str, payload: bytes, timeout_s: float) -> list[Frame]:
        """All answers up to and including the broker's word that there are no more.

        Raises `BrokerLost`, or TimeoutError.
        """
        done: asyncio.Future[Frame] = self._loop.create_future()
        frames: list[Frame] = []
        number = str(next(self._numbers))
        token = number.encode()

        def receive(_reply: bytes, header: bytes, data: bytes) -> None:
            frames.append((header, data))
            if header.startswith(STATUS) and not done.done():
                done.set_result((header, data))

        self._inboxes[token] = receive
        self._answers[b"done " + token] = done
        try:
            self.publish(subject, payload, f"{self._inbox}.{number}")
            async with asyncio.timeout(timeout_s):
                await done
        finally:
            del self._inboxes[token], self._answers[b"done " + token]
        return frames

    def subscribe(self, subject: str, receive: Receive, queue: str = "") -> str:
        """Hand every message on *subject* to *receive*: the name by which to `unsubscribe`."""
        sid = str(next(self._numbers))
        self._subscriptions[sid.encode()] = receive
        self._send(f"SUB {subject} {queue} {sid}\r\n".encode())
        return sid

    def unsubscribe(self, sid: str) -> None:
        """No more messages of the subscription *sid*."""
        self._subscriptions.pop(sid.encode(), None)
        self._send(f"UNSUB {sid}\r\n".encode())

    def close(self) -> None:
        """End the connection; `lost` stays undone."""
        self._closing = True
        self.flush()
        if self._transport is not None:
            self._transport.close()

    # What asyncio calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def connection_lost(self, exc: Exception | None) -> None:
        if not self._closing:
            self._fail(f"the connection to the broker was lost: {exc or 'closed by the broker'}")

    def data_received(self, data: bytes) -> None:
        """Take in what has come. Slices of bytes copy once: nothing here is copied twice."""
        buffer = self._rest + data if self._rest else data
        position = 0
        while (end := buffer.find(CRLF, position)) >= 0:
            start = end + 2
            if buffer[position] in MESSAGES:
                words = buffer[position:end].split(b" ")
                stop = start + int(words[-1])
                if len(buffer) < stop + 2:
                    break
                body = start + int(words[-2]) if buffer[position] == LETTER_H else start
                self._deliver(words, buffer[start:body], buffer[body:stop])
                start = stop + 2
            else:
                self._control(buffer[position:end])
            position = start
        self._rest = buffer[position:]

    def _deliver(self, words: list[bytes], header: bytes, data: bytes) -> None:
        """Words: HMSG subject sid [reply] header-bytes all-bytes; MSG subject sid [reply] bytes."""
        if words[2] != INBOX_SID:
            reply = words[3] if len(words) == 5 + (words[0][0] == LETTER_H) else b""
            receive = self._subscriptions.get(words[2])
            if receive is not None:
                receive(reply, header, data)
            return
        token = words[1].rpartition(b".")[2]
        answer = self._answers.pop(token, None)
        if answer is not None:
            if not answer.done():
                answer.set_result((header, data))
        elif token in self._inboxes:
            self._inboxes[token](b"", header, data)

    def _control(self, line: bytes) -> None:
        if line == b"PING":
            self._send(b"PONG\r\n")
        elif line == b"PONG":
            heard = self._pongs.popleft() if self._pongs else None
            if heard is not None and not heard.done():
                heard.set_result(None)
        elif line.startswith(b"INFO"):
            self._introduced(json.loads(line[5:]))
        elif line.startswith(b"-ERR"):
            self._fail(f"the broker refused: {line[5:].decode()}")

    def _introduced(self, info: dict[str, Any]) -> None:
        """The broker's first word, or news of its cluster; or that it is about to stop."""
        if not self._greeted.done():
            self._greeted.set_result(info)
        if info.get("connect_urls"):
            self.told(info["connect_urls"])
        if info.get("ldm"):
            self._fail("the server is about to stop")

    def _fail(self, reason: str) -> None:
        for answer in self._answers.values():
            if not answer.done():
                answer.set_exception(BrokerLost(reason))
        ends: list[asyncio.Future[Any]] = [self._greeted, self._ready, *self._pongs, self.lost]
        for future in ends:
            if not future.done():
                future.set_exception(BrokerLost(reason))
                future.exception()  # Somebody may not be waiting; who asks `lost` is still told.

    def flush(self) -> None:
        """Send what is queued now, not at the end of this turn of the loop."""
        outgoing, self._outgoing = self._outgoing, []
        if outgoing:
            self._send(b"".join(outgoing))

    def _send(self, data: bytes) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(data)


def _expire(answer: asyncio.Future[Frame]) -> None:
    if not answer.done():
        answer.set_exception(TimeoutError("no answer in time"))


async def dial(
    url: str,
    user: str = "",
    password: str = "",
    *,
    login: Login | None = None,
    tls: ssl.SSLContext | None = None,
    timeout_s: float = CONNECT_TIMEOUT_S,
    told: Callable[[list[str]], None] | None = None,
) -> Wire:
    """A connection to the broker at *url* (`nats://[user:password@]host:port`), accepted by it.

    *told* hears of other servers. Raises `BrokerLost` when it refuses, OSError when nobody
    listens, TimeoutError when it is not done in *timeout_s*.
    """
    parts = urlsplit(url)
    host = parts.hostname or "127.0.0.1"
    if login is None:
        login = Login(user or parts.username or "", password or parts.password or "")
    if tls is None and parts.scheme == "tls":
        tls = ssl.create_default_context()
    async with asyncio.timeout(timeout_s):
        loop = asyncio.get_running_loop()
        _, wire = await loop.create_connection(Wire, host, parts.port or PORT)
        wire.told, wire.address = told or wire.told, url
        try:
            await wire.introduce(login, tls, host)
        except BaseException:
            wire.close()
            raise
    return wire

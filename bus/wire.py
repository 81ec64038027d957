"""The NATS wire protocol, as far as the log needs it: publish, and answers on one inbox.

The log's two hot paths (appending in batches, reading a million commits) spend most of their time
in the client when it parses every header of every message: 39 k messages/s read through nats-py,
114 k/s here (docs/explanation/performance.md). Everything else on the bus goes through nats-py.
Protocol: https://docs.nats.io/reference/reference-protocols/nats-protocol.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from itertools import count
from secrets import token_hex
from typing import TypeVar, cast
from urllib.parse import urlsplit

Value = TypeVar("Value")
Receive = Callable[[bytes, bytes, bytes], None]
"""Called with (subject of the message, header bytes, payload) of one answer."""

CRLF = b"\r\n"
CONNECT_TIMEOUT_S = 5.0


class BrokerLost(ConnectionError):
    """The broker has gone, or has refused us; whoever waits learns it at once."""


class Wire(asyncio.Protocol):
    """One connection that publishes, and that receives on `<inbox>.<number>`.

    `lost` is done, with an exception, when the connection ends without `close`.
    """

    def __init__(self, user: str, password: str) -> None:
        loop = asyncio.get_running_loop()
        self._loop = loop
        self._credentials = {"user": user, "pass": password} if user else {}
        self._inbox = f"_INBOX.{token_hex(11)}"
        self._numbers = count(1)
        self._receivers: dict[bytes, Receive] = {}
        self._buffer = bytearray()
        self._outgoing: list[bytes] = []
        self._ready: asyncio.Future[None] = loop.create_future()
        self._closing = False
        self._transport: asyncio.Transport | None = None
        self._writable = asyncio.Event()
        self._writable.set()
        self.lost: asyncio.Future[None] = loop.create_future()

    async def ready(self) -> None:
        """Returns once the broker has accepted us. Raises `BrokerLost`, or TimeoutError."""
        async with asyncio.timeout(CONNECT_TIMEOUT_S):
            await asyncio.shield(self._ready)

    def inbox(self, receive: Receive) -> str:
        """A fresh subject whose messages go to *receive* until `forget` is called."""
        number = str(next(self._numbers))
        self._receivers[number.encode()] = receive
        return f"{self._inbox}.{number}"

    def forget(self, inbox: str) -> None:
        """No more messages of *inbox*."""
        self._receivers.pop(inbox.rpartition(".")[2].encode(), None)

    def publish(self, subject: str, payload: bytes, reply: str = "", header: bytes = b"") -> None:
        """Queue one message; what is queued in one turn of the loop leaves in one write."""
        if self._transport is None or self.lost.done():
            raise BrokerLost("the connection to the broker is gone")
        if header:
            size = len(header)
            line = f"HPUB {subject} {reply} {size} {size + len(payload)}\r\n"
        else:
            line = f"PUB {subject} {reply} {len(payload)}\r\n"
        if not self._outgoing:
            self._loop.call_soon(self._flush)
        self._outgoing += (line.encode(), header, payload, CRLF)

    async def writable(self) -> None:
        """Returns once the broker keeps up with what has been published."""
        await self._writable.wait()
        if self.lost.done():
            raise BrokerLost("the connection to the broker is gone")

    async def request(self, subject: str, payload: bytes, timeout_s: float) -> bytes:
        """The payload of the first answer. Raises `BrokerLost`, or TimeoutError."""
        answer: asyncio.Future[bytes] = self._loop.create_future()

        def receive(_subject: bytes, _header: bytes, data: bytes) -> None:
            if not answer.done():
                answer.set_result(data)

        inbox = self.inbox(receive)
        try:
            self.publish(subject, payload, inbox)
            return await self.until(answer, timeout_s)
        finally:
            self.forget(inbox)

    async def until(self, future: asyncio.Future[Value], timeout_s: float) -> Value:
        """The result of *future*. Raises `BrokerLost` if the broker goes first, or TimeoutError."""
        async with asyncio.timeout(timeout_s):
            await asyncio.wait((future, self.lost), return_when=asyncio.FIRST_COMPLETED)
        if future.done():
            return future.result()
        raise BrokerLost("the broker went away before it answered")

    def close(self) -> None:
        """End the connection; `lost` stays undone."""
        self._closing = True
        self._flush()
        if self._transport is not None:
            self._transport.close()

    # What asyncio calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._transport.set_write_buffer_limits(high=4 << 20)

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()

    def connection_lost(self, error: Exception | None) -> None:
        self._writable.set()
        if not self._closing:
            self._fail(f"the connection to the broker was lost: {error or 'closed by the broker'}")

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        buffer, position = self._buffer, 0
        while (end := buffer.find(CRLF, position)) >= 0:
            line = bytes(buffer[position:end])
            start = end + 2
            if line.startswith((b"HMSG ", b"MSG ")):
                words = line.split(b" ")
                total = int(words[-1])
                head = int(words[-2]) if line[0] == 72 else 0  # 72 is "H"
                stop = start + total
                if len(buffer) < stop + 2:
                    break
                receive = self._receivers.get(words[1].rpartition(b".")[2])
                if receive is not None:
                    content = bytes(buffer[start:stop])
                    receive(words[1], content[:head], content[head:])
                start = stop + 2
            else:
                self._control(line)
            position = start
        del buffer[:position]

    def _control(self, line: bytes) -> None:
        if line == b"PING":
            self._send(b"PONG\r\n")
        elif line == b"PONG":
            if not self._ready.done():
                self._ready.set_result(None)
        elif line.startswith(b"INFO") and not self._ready.done():
            options = {"verbose": False, "pedantic": False, "headers": True, "lang": "python",
                       "version": "1", "name": "canopy-log", **self._credentials}  # fmt: skip
            connect = json.dumps(options).encode()
            self._send(b"CONNECT %b\r\nSUB %b.* 1\r\nPING\r\n" % (connect, self._inbox.encode()))
        elif line.startswith(b"-ERR"):
            self._fail(f"the broker refused: {line[5:].decode()}")

    def _fail(self, reason: str) -> None:
        for future in (self._ready, self.lost):
            if not future.done():
                future.set_exception(BrokerLost(reason))
                future.exception()  # Somebody may not be waiting; `lost` is still told to who is.

    def _flush(self) -> None:
        outgoing, self._outgoing = self._outgoing, []
        if outgoing:
            self._send(b"".join(outgoing))

    def _send(self, data: bytes) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(data)


async def dial(url: str, user: str = "", password: str = "") -> Wire:
    """A connection to the broker at *url* (`nats://[user:password@]host:port`), accepted by it.

    Raises `BrokerLost` when it refuses, OSError when nobody listens, TimeoutError after 5 s.
    """
    parts = urlsplit(url)
    loop = asyncio.get_running_loop()
    _, wire = await loop.create_connection(
        lambda: Wire(user or parts.username or "", password or parts.password or ""),
        parts.hostname or "127.0.0.1",
        parts.port or 4222,
    )
    await wire.ready()
    return wire

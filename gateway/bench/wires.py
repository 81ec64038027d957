"""Clients that cost little: a keep-alive HTTP/1.1 connection and a WebSocket, bytes in, bytes out.

On two cores a client library would be measured along with the node; these parse what is needed to
know that an answer is complete, and no more.
"""

from __future__ import annotations

import asyncio
from base64 import b64encode
from collections.abc import Callable, Mapping
from os import urandom
from typing import Any, cast

Answered = Callable[["Asker", int, bytes], None]
Heard = Callable[["Ear", bytes], None]


def request_bytes(method: str, path: str, headers: Mapping[str, str], body: bytes = b"") -> bytes:
    """One request as it goes over the wire."""
    lines = [f"{method} {path} HTTP/1.1", *(f"{k}: {v}" for k, v in headers.items())]
    if body:
        lines += ["Content-Type: application/json", f"Content-Length: {len(body)}"]
    return "\r\n".join([*lines, "", ""]).encode() + body


class Asker(asyncio.Protocol):
    """One connection that asks one thing at a time; *answered* is called with status and body."""

    def __init__(self, answered: Answered) -> None:
        self.sent_s = 0.0
        self.token: Any = None
        """Whatever the caller wants to find again when the answer comes."""
        self._answered = answered
        self._buffer = b""
        self._transport: asyncio.Transport | None = None

    def ask(self, request: bytes) -> None:
        """Send *request*; the last one has been answered."""
        assert self._transport is not None  # noqa: S101 - asyncio connects first
        self._transport.write(request)

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        data = self._buffer + data if self._buffer else data
        end = data.find(b"\r\n\r\n")
        start = data.find(b"Content-Length: ", 0, end) + 16
        if end < 0 or len(data) < end + 4 + int(data[start : data.find(b"\r\n", start)]):
            self._buffer = data
            return
        self._buffer = b""
        self._answered(self, int(data[9:12]), data[end + 4 :])


class Ear(asyncio.Protocol):
    """One WebSocket that listens; *heard* is called with the payload of each text frame."""

    def __init__(self, path: str, headers: Mapping[str, str], heard: Heard) -> None:
        self.open: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.closed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._heard = heard
        self._buffer = b""
        self._transport: asyncio.Transport | None = None
        upgrade = {
            "Upgrade": "websocket",
            "Connection": "Upgrade",
            "Sec-WebSocket-Version": "13",
            "Sec-WebSocket-Key": b64encode(urandom(16)).decode(),
        }
        self._opening = request_bytes("GET", path, {**headers, **upgrade})

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._transport.write(self._opening)

    def abort(self) -> None:
        """Be gone without a word."""
        if self._transport is not None:
            self._transport.abort()

    def connection_lost(self, error: Exception | None) -> None:
        for future in (self.open, self.closed):
            if not future.done():
                future.set_result(None)

    def data_received(self, data: bytes) -> None:
        data = self._buffer + data if self._buffer else data
        if not self.open.done():
            end = data.find(b"\r\n\r\n")
            if end < 0:
                self._buffer = data
                return
            self._begin(data[:end])
            data = data[end + 4 :]
        position = 0
        while (frame := _frame(data, position)) is not None:
            opcode, start, position = frame
            if opcode == 1:
                self._heard(self, data[start:position])
            elif opcode == 9 and self._transport is not None:
                self._transport.write(b"\x8a\x80" + urandom(4))  # An empty pong, masked.
        self._buffer = data[position:]

    def _begin(self, head: bytes) -> None:
        if head[9:12] == b"101":
            self.open.set_result(None)
        else:
            self.open.set_exception(ConnectionError(head.decode()))


def _frame(data: bytes, position: int) -> tuple[int, int, int] | None:
    """The (opcode, start, end) of the payload at *position*; None while it is not all there."""
    if len(data) < position + 2:
        return None
    size, start = data[position + 1], position + 2
    if size == 126:
        size, start = int.from_bytes(data[start : start + 2]), start + 2
    elif size == 127:
        size, start = int.from_bytes(data[start : start + 8]), start + 8
    if len(data) < start + size:
        return None
    return data[position] & 0x0F, start, start + size

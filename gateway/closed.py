"""A gateway that cannot answer yet, or not any more: what it says meanwhile.

While it attaches to its broker, requests wait in the queue of its socket. Who has waited there for
`requests_queued_s` is told 503 with Retry-After, and so is everybody who comes after, until the
gateway is open again.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Never

from aiohttp import web

from gateway.errors import MEDIA_TYPE, refuse, tell
from gateway.protocol import BACKLOG
from schemas.settings import Settings

AWAY = "The gateway has no broker at this moment."
CLOSE_S = 0.5


class Threshold:
    """Whether the gateway behind a socket is open."""

    def __init__(self, listener: socket.socket, settings: Settings) -> None:
        self._listener = listener
        self._settings = settings
        self._opened = asyncio.Event()
        self._closed = asyncio.Event()
        self._closed.set()

    def open(self) -> None:
        """It answers from now on."""
        self._closed.clear()
        self._opened.set()

    def close(self) -> None:
        """It answers no more."""
        self._opened.clear()
        self._closed.set()

    async def attend(self) -> Never:
        """Answer for the gateway, for ever, whenever it has been closed for too long."""
        while True:
            await self._closed.wait()
            with suppress(TimeoutError):
                async with asyncio.timeout(self._settings.requests_queued_s):
                    await self._opened.wait()
            if not self._opened.is_set():
                async with _apologising(self._listener):
                    await self._opened.wait()


@asynccontextmanager
async def _apologising(listener: socket.socket) -> AsyncIterator[None]:
    application = web.Application()
    application.router.add_route("*", "/{path:.*}", _put_off)
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=CLOSE_S)
    await runner.setup()
    try:
        await web.SockSite(runner, listener.dup(), backlog=BACKLOG).start()
        yield
    finally:
        await runner.cleanup()


async def _put_off(request: web.Request) -> web.Response:
    told = tell(refuse("unavailable", AWAY), request.path, "")
    headers = {"Content-Type": MEDIA_TYPE, "Cache-Control": "no-store", "Connection": "close"}
    return web.Response(status=told.status, body=told.body, headers=headers | dict(told.headers))

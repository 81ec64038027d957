"""HTTP before there is a request: what cannot be read is told as everything else is.

aiohttp answers it as plain text and writes a traceback, as if the fault were ours.
"""

from __future__ import annotations

import asyncio
import socket
from typing import Any, cast

import structlog
from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from bus.clock import new_id
from gateway.app import SECURITY
from gateway.errors import MEDIA_TYPE, refuse, tell

BACKLOG = 1024

log = structlog.get_logger()


async def answering(runner: web.AppRunner, listener: socket.socket) -> asyncio.Server:
    """What answers on *listener* with the application of *runner*, which has been set up."""
    manager = cast("web.Server", runner.server)
    loop = asyncio.get_running_loop()

    def connected() -> Protocol:
        return Protocol(manager, loop=loop, access_log=None)  # type: ignore[arg-type]  # no log

    return await loop.create_server(connected, sock=listener, backlog=BACKLOG)


class Protocol(web.RequestHandler):
    """aiohttp's protocol with our manners."""

    __slots__ = ()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """The problem that *exc* is, and the end of the connection: what follows is not known."""
        if not isinstance(exc, HttpProcessingError) or request.writer.output_size:
            return super().handle_error(request, status, exc, message)
        correlation = new_id()
        log.info("request_unreadable", reason=type(exc).__name__, correlation=correlation)
        told = tell(refuse("invalid_http"), "", correlation)
        headers = {"Content-Type": MEDIA_TYPE, "Cache-Control": "no-store", **SECURITY}
        response = web.Response(status=told.status, body=told.body, headers=headers)
        response.force_close()
        return response

    def log_exception(self, *args: Any, **kw: Any) -> None:
        """A body that broke off has been answered by whoever wanted to read it."""
        if not isinstance(kw.get("exc_info"), web.RequestPayloadError):
            super().log_exception(*args, **kw)

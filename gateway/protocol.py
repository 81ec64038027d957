"""HTTP before there is a request: what cannot be read is told as everything else is.

aiohttp answers it as plain text and writes a traceback, as if the fault were ours.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from typing import Any, cast

import structlog
from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from bus.clock import new_id
from gateway.app import SECURITY
from gateway.errors import MEDIA_TYPE, refuse, tell

BACKLOG = 16_384
"""Connections that wait to be accepted, as far as the system grants (`somaxconn`): all who follow
come back at once after a restart, and who finds the queue full tries again ever later."""
ACCEPTED_MAX = 64
REST_S = 1.0

log = structlog.get_logger()


class Site:
    """What takes in those who come to a socket, many in one turn of the loop.

    uvloop's own server takes in one: a gateway that tells thousands something has long turns, and
    those who come meanwhile would wait for as many of them as there are before them.
    """

    def __init__(self, listener: socket.socket, connected: Callable[[], asyncio.Protocol]) -> None:
        self._listener = listener
        self._connected = connected
        self._loop = asyncio.get_running_loop()
        self._taken_in: set[asyncio.Task[object]] = set()
        self._resting: asyncio.TimerHandle | None = None
        self._open()

    def close(self) -> None:
        """Nobody is taken in any more."""
        if self._resting is not None:
            self._resting.cancel()
        self._loop.remove_reader(self._listener)
        self._listener.close()

    def _open(self) -> None:
        self._loop.add_reader(self._listener, self._accept)

    def _accept(self) -> None:
        for _ in range(ACCEPTED_MAX):
            try:
                connection, _ = self._listener.accept()
            except (BlockingIOError, ConnectionAbortedError):
                return
            except OSError as error:  # Too many files are open: that takes time to change.
                log.warning("accept_failed", reason=str(error), remedy="canopy doctor")
                self._loop.remove_reader(self._listener)
                self._resting = self._loop.call_later(REST_S, self._open)
                return
            connection.setblocking(False)
            taking = self._loop.connect_accepted_socket(self._connected, connection)
            task = self._loop.create_task(taking)
            self._taken_in.add(task)
            task.add_done_callback(self._taken_in.discard)


def answering(runner: web.AppRunner, listener: socket.socket) -> Site:
    """What answers on *listener* with the application of *runner*, which has been set up."""
    manager = cast("web.Server", runner.server)
    loop = asyncio.get_running_loop()

    def connected() -> Protocol:
        return Protocol(manager, loop=loop, access_log=None)  # type: ignore[arg-type]  # no log

    return Site(listener, connected)


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

"""The web application: one way in, one way through, one way out.

`build` makes it of a `Gateway` and the table of routes. Every request passes `_outer` (whose host,
whose origin, and what becomes of an error); every route is reached through `_Entrance`: who asks →
may he at all → how often → what exactly → may he do that → handler → reply.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from time import perf_counter
from typing import Any

import orjson
import structlog
from aiohttp import web
from pydantic import BaseModel, ValidationError
from pydantic_core import from_json

from actors.projection_file import Damaged
from bus.commands import Unavailable
from bus.log import Leaderless
from bus.recall import Memory, RememberedRefusal, refusal_of
from bus.wire import BrokerLost
from gateway import arrival, past, policy
from gateway.arrival import Guard
from gateway.assets import ASSETS, read_assets, serve_asset
from gateway.call import Call, Gateway, Reply
from gateway.errors import MEDIA_TYPE, invalid, refuse, tell
from gateway.instructions import guide
from gateway.messages import messages
from gateway.policy import NOBODY, Principal
from gateway.read_model import Behind
from gateway.receipts import Receipts, handled
from gateway.routes import ROUTES, system
from gateway.table import ID, PATTERNS, PREFIXES, Route, document
from gateway.version import VERSION
from schemas.envelope import Refused

CORRELATION = web.RequestKey("correlation", str)
CALLED = web.RequestKey("called", tuple[str, str])
"""The id and the author of what a refused request wanted. Not the `Call`, which knows the request:
what knows each other waits for the collector of cycles, and that stops the loop."""
LEFT = web.RequestKey("left", dict[str, str])
"""What the caller may still ask for: the RateLimit fields, once the request has been counted."""
ABSENT = {
    "channel_id": "channel_absent",
    "message_id": "message_absent",
    "account_id": "account_absent",
    "key_id": "key_absent",
    "code": "not_found",
    "id": "cause_absent",
    "seq": "not_found",
}
"""What an id in a path that cannot be one is answered with: the same as one that is unknown."""

SECURITY = {
    "Content-Security-Policy": "default-src 'self'; base-uri 'none'; form-action 'self'; "
    "frame-ancestors 'none'; object-src 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}

ALWAYS = frozenset({"learn", "look"})
"""Verbs that are answered whatever the tables know: what is the same for everybody."""
FAULTS = (
    Refused, Behind, Damaged, Unavailable, Leaderless, BrokerLost, TimeoutError, web.HTTPException
)  # fmt: skip
"""What a request may end with that is no bug of ours."""

log = structlog.get_logger()
Handled = Callable[[web.Request], Awaitable[web.StreamResponse]]


def build(gateway: Gateway, routes: Sequence[Route] = ROUTES) -> web.Application:
    """The application that serves *routes* and the files of `static/`."""
    guard = Guard(gateway.settings)
    receipts = Receipts(gateway.reads.log, gateway.identity, gateway.vault)
    app = web.Application(
        middlewares=[_outer(guard, lambda: gateway.reads.position, gateway.telemetry.memory)],
        client_max_size=gateway.settings.body_bytes_max,
    )
    for route in routes:
        entrance = _Entrance(gateway, guard, receipts, route)
        for prefix in ("",) if route.rooted else PREFIXES:
            app.router.add_route(route.method, prefix + route.pattern, entrance.answer)
            if route.method == "GET" and not route.endless:
                app.router.add_route("HEAD", prefix + route.pattern, entrance.answer)
    app.router.add_get("/static/{name:.+}", serve_asset)
    app[ASSETS] = read_assets()
    cookie = gateway.credentials.cookie
    app[system.MESSAGES] = orjson.dumps(messages(VERSION))
    app[system.DOCUMENT] = orjson.dumps(document(routes, VERSION, cookie))
    app[system.GUIDE] = guide(routes, VERSION)
    return app


def _outer(guard: Guard, position: Callable[[], int], memory: Memory) -> Any:
    """Whose host and origin; then security headers and the position on every answer, and problems
    for faults.
    """

    @web.middleware
    async def outer(request: web.Request, handler: Handled) -> web.StreamResponse:
        correlation = request[CORRELATION] = arrival.correlation_id(request.headers)
        seq = str(position())  # What is refused has been judged by that, or by later.
        try:
            guard.check(request.headers)
            response = await handler(request)
        except FAULTS as fault:
            refused = _refusal(fault)
            response = _told(refused, request, correlation)
            memory.refused(_remembered(refused, request, correlation, response.status))
        except ConnectionResetError:
            response = web.Response()  # Nobody is left to be told; aiohttp finds out by itself.
        except Exception:
            log.exception("request_failed", method=request.method, path=request.path,
                          correlation=correlation)  # fmt: skip
            response = _told(refuse("internal_error"), request, correlation)
        if not response.prepared and "Content-Security-Policy" not in response.headers:
            response.headers.update(SECURITY)
            response.headers.setdefault("Canopy-Seq", seq)
        return response

    return outer


def _refusal(fault: Exception) -> Refused:
    """What a fault is told as."""
    match fault:
        case Refused():
            told = fault
        case Behind():
            told = refuse("behind", str(fault), position=fault.position)
        case Damaged():
            told = refuse("behind")
        case Unavailable() | BrokerLost() | Leaderless():
            told = refuse("unavailable", str(fault))
        case TimeoutError():
            told = refuse("timed_out")
        case web.HTTPMethodNotAllowed():
            told = refuse("method_not_allowed", headers={"Allow": fault.headers["Allow"]})
        case web.HTTPRequestEntityTooLarge():
            told = refuse("body_too_large")
        case _:
            told = refuse("not_found")
    return told


def _remembered(
    refused: Refused, request: web.Request, correlation: str, status: int
) -> RememberedRefusal:
    """What is kept in mind of a refusal, for who asks why."""
    cause, author = request.get(CALLED, ("", ""))
    return refusal_of(
        refused,
        correlation=correlation,
        cause=cause,
        author=author,
        request=f"{request.method} {request.path}",
        status=status,
    )


def _told(refused: Refused, request: web.Request, correlation: str) -> web.Response:
    told = tell(refused, request.path, correlation)
    headers = {"Content-Type": MEDIA_TYPE, "Cache-Control": "no-store"}
    headers |= {**request.get(LEFT, {}), **told.headers}
    return web.Response(status=told.status, body=told.body, headers=headers)


class _Entrance:
    """The way to one route."""

    def __init__(self, gateway: Gateway, guard: Guard, receipts: Receipts, route: Route) -> None:
        self._gateway = gateway
        self._guard = guard
        self._receipts = receipts
        self._route = route
        self._name = f"{route.method} {route.path}"
        self._writes = route.writes
        self._conditional = route.conditional
        self._parameters = [(name, re.compile(PATTERNS.get(name, ID))) for name in route.parameters]
        self._fingerprint = gateway.identity.derive("fingerprint")
        self._meters: dict[tuple[str, int], Any] = {}

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """The response to *request*. Raises what `_outer` tells."""
        gateway, began, status = self._gateway, perf_counter(), 500
        call = Call(gateway, request, self._guard.address(request), request[CORRELATION])
        given = arrival.traceparent(request.headers)
        try:
            with gateway.telemetry.span(self._name, given) as span:
                call.traceparent = span.traceparent
                response = await self._answered(call)
            status = response.status
        except FAULTS as fault:
            request[CALLED] = call.id, call.principal.id
            if isinstance(fault, Refused):
                status = tell(fault, "", "").status
            raise
        finally:
            passed_s = perf_counter() - began
            if not self._route.endless:
                self._meter(request.method, status).observe(passed_s)
                gateway.telemetry.memory.step(
                    self._name, began, call.id, call.correlation,
                    note=status, author=call.principal.id,
                )  # fmt: skip
        return response

    def _meter(self, method: str, status: int) -> Any:
        meter = self._meters.get((method, status))
        if meter is None:
            requests = self._gateway.telemetry.requests
            meter = self._meters[method, status] = requests.labels(self._route.path, method, status)
        return meter

    async def _answered(self, call: Call) -> web.StreamResponse:
        route, gateway = self._route, self._gateway
        if gateway.reads.unready and route.verb not in ALWAYS:
            await gateway.reads.caught_up()
        query = arrival.told_once(call.request.query)
        asked = arrival.awaited_position(query) if query else 0
        call.principal = principal = await self._recognised(call, asked)
        buckets = gateway.throttles.requests
        left = buckets.told(buckets.take(principal.id or call.address))
        call.request[LEFT] = {"RateLimit": left, "RateLimit-Policy": buckets.policy}
        policy.admit(principal, route.verb)
        at = past.asked(query)
        if at is not None and not route.past:
            raise past.none(route.method, route.body)
        for name, pattern in self._parameters:
            if not pattern.fullmatch(call.path[name]):
                raise refuse(ABSENT[name])
        if self._writes:
            await self._take_in(call)
        else:
            self._ask(call)
        await self._catch_up(call, asked, at)
        position = call.position
        if call.idempotent and route.keyed and principal.id:
            reply: Reply | web.StreamResponse = await self._receipts.once(call, route)
        else:
            reply = await handled(call, route)
        if isinstance(reply, web.StreamResponse):
            return reply
        return self._response(call, reply, position)

    async def _recognised(self, call: Call, asked: int) -> Principal:
        """Who calls. An account, or a key, may be newer than our tables: then the position that is
        *asked* for is waited for. Raises `Behind` when that takes too long."""
        principal = self._principal(call)
        if principal.fault is None or asked <= self._gateway.reads.position:
            return principal
        await self._gateway.reads.reached(asked)
        return self._principal(call)

    def _principal(self, call: Call) -> Principal:
        request, gateway = call.request, self._gateway
        if gateway.reads.unready and self._route.verb in ALWAYS:
            return NOBODY  # Who it is cannot be known yet, and need not be.
        if self._route.ticketed and "ticket" in request.query:
            return gateway.credentials.renew(gateway.tickets.redeem(request.query["ticket"]))
        return gateway.credentials.principal(
            request.headers, lambda: request.cookies, request.method
        )

    async def _take_in(self, call: Call) -> None:
        """The body of a write, and the command it will be."""
        headers = call.request.headers
        raw = await self._body(call.request)
        call.id, call.idempotent = arrival.command_id(headers, call.principal.id, call.correlation)
        call.expected = arrival.expected_position(headers) if self._conditional else None
        if call.idempotent:
            scopes = call.principal.scopes
            call.fingerprint = arrival.fingerprint(self._fingerprint, call.request, raw, scopes)
        if self._route.body is not None:
            if raw and not _is_json(headers.get("Content-Type", "")):
                raise refuse("unsupported_media_type")
            call.body = _parsed(self._route.body, raw or b"{}")

    async def _body(self, request: web.Request) -> bytes:
        """All of the body. Whatever else a request waits for has a bound of its own; a body that
        has arrived with its headers, as nearly all do, needs no timer."""
        try:
            if request.content.is_eof():
                return await request.read()
            async with asyncio.timeout(self._gateway.settings.request_timeout_s):
                return await request.read()
        except web.RequestPayloadError as error:
            raise refuse("invalid_body") from error

    def _ask(self, call: Call) -> None:
        """The query of a read."""
        if self._route.query is not None:
            call.query = _understood(self._route.query, call.request.query)

    async def _catch_up(self, call: Call, asked: int, at: str | None) -> None:
        """Returns once the tables know what the caller knows, and then the moment *at* which it
        asks about."""
        reads = self._gateway.reads
        if asked > reads.position and asked > await call.head():
            raise refuse("position_ahead", f"The log ends before position {asked}.")
        awaited = asked if self._writes else max(asked, self._gateway.seen.of(call.principal.id))
        if awaited > reads.position:
            await reads.reached(awaited)
        if at is not None:
            moment = await self._gateway.past.moment(at, call.head, call.now_ms)
            call.principal = moment.then(call.principal, self._route.verb)
            call.moment, call.now_ms = moment, moment.ms

    def _response(self, call: Call, reply: Reply, position: int) -> web.Response:
        headers = [
            ("Content-Type", reply.media_type),
            ("Cache-Control", "no-store"),
            ("Canopy-Seq", str(position if reply.seq is None else reply.seq)),
            *call.request[LEFT].items(),
            *SECURITY.items(),
            *reply.headers,
        ]
        body = reply.body if isinstance(reply.body, bytes) else orjson.dumps(reply.body)
        if reply.version is not None:
            # For If-Match only: a body also holds names and counts, which change by themselves.
            headers.append(("ETag", f'"{reply.version}"'))
        return web.Response(status=reply.status, body=body, headers=headers)


def _is_json(media_type: str) -> bool:
    return media_type == "application/json" or (
        media_type.partition(";")[0].strip().lower() == "application/json"
    )


def _parsed(model: type[BaseModel], raw: bytes) -> BaseModel:
    try:
        return model.model_validate_json(raw)
    except ValidationError as error:
        raise invalid(error, lambda: from_json(raw)) from error


def _understood(model: type[BaseModel], query: Mapping[str, str]) -> BaseModel:
    try:
        return model.model_validate({name: query[name] for name in query})
    except ValidationError as error:
        raise invalid(error, lambda: query) from error

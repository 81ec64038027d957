"""One request as a handler sees it: who asks, for what, and how to send a command for it.

A handler is `async def post_message(call: Call) -> Reply` and has no `if`: what it needs has been
parsed into `call.body` and `call.query`, and the policy has let it pass, before it is called
(`gateway.app`). Handlers reach for everything else through `call.gateway`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from time import perf_counter
from typing import Any, TypeVar

import structlog
from aiohttp import web
from msgspec import Struct

from bus.clock import derived_id
from bus.commands import Commands
from bus.crypto.identity import Identity
from bus.faults import point
from bus.recall import Recall
from bus.telemetry import Telemetry
from bus.vault import Vault
from gateway.asking import Asking
from gateway.auth import Credentials, Doors, Passwords
from gateway.directory import Channel, Directory
from gateway.limits import Buckets
from gateway.live import Live
from gateway.pages import Cursors
from gateway.past import Moment, Past
from gateway.policy import NOBODY, Principal, Subject
from gateway.read_model import Behind, Rows
from gateway.reads import Reads
from gateway.seen import Seen
from gateway.tickets import Tickets
from schemas.envelope import Answer, Command, Id, Refused, Request
from schemas.settings import Settings

log = structlog.get_logger()
Result = TypeVar("Result")
SETTLED = frozenset({"account", "channel", "cursor", "workspace"})
"""Nouns that rights and counts hang on: their commands are answered once the directory knows."""


@dataclass(frozen=True, slots=True)
class Throttles:
    """The buckets of this gateway: requests of one caller, attempts to log in, registrations."""

    requests: Buckets
    logins: Buckets
    registrations: Buckets


@dataclass(frozen=True, slots=True)
class Gateway:
    """What requests are answered with, built once by the composition root."""

    commands: Commands
    reads: Reads
    past: Past
    identity: Identity
    vault: Vault
    settings: Settings
    telemetry: Telemetry
    recall: Recall
    credentials: Credentials
    passwords: Passwords
    doors: Doors
    throttles: Throttles
    cursors: Cursors
    seen: Seen
    live: Live
    asking: Asking
    tickets: Tickets
    wall_ms: Callable[[], int]
    started_ms: int
    warning: Callable[[], Awaitable[str]]
    """What is to be said of the copies of the log (`bus.copies`); empty when nothing is."""


class Reply(Struct, frozen=True):
    """What a handler answers: `body` becomes JSON unless it is bytes of `media_type`.

    `seq` is the position a write has reached; `version` the position of the one entity in the
    body, which becomes its ETag. `under` names the key in the vault that what it says is sealed
    under, empty when it may be kept as long as anything else.
    """

    body: Any
    status: int = 200
    seq: int | None = None
    version: int | None = None
    headers: tuple[tuple[str, str], ...] = ()
    media_type: str = "application/json"
    under: str = ""


class Call:
    """One request."""

    __slots__ = (
        "address",
        "body",
        "correlation",
        "expected",
        "fingerprint",
        "gateway",
        "id",
        "idempotent",
        "moment",
        "now_ms",
        "path",
        "principal",
        "query",
        "request",
        "subject",
        "traceparent",
    )

    body: Any
    """The body, validated by the model that the route names."""
    query: Any
    """The query, validated by the model that the route names."""
    subject: Subject
    """What the request is about, as the policy was asked."""
    moment: Moment | None
    """The point of the past that is asked about; None for the present. `now_ms` is then its time,
    and the caller is who he was then."""
    id: Id
    """The id of the command that this request causes; derived when it carries Idempotency-Key."""

    def __init__(
        self, gateway: Gateway, request: web.Request, address: str, correlation: str
    ) -> None:
        self.gateway = gateway
        self.request = request
        self.address = address
        self.correlation = correlation
        self.now_ms = gateway.wall_ms()
        self.moment: Moment | None = None
        self.path: Mapping[str, str] = request.match_info
        self.expected: int | None = None
        self.fingerprint = ""
        self.idempotent = False
        self.traceparent = ""
        self.id = ""
        self.principal: Principal = NOBODY

    @property
    def directory(self) -> Directory:
        """Who is who, at the moment that is asked about."""
        return self.moment.directory if self.moment else self.gateway.reads.directory

    @property
    def position(self) -> int:
        """What the tables know, of what is asked about."""
        return self.moment.seq if self.moment else self.gateway.reads.position

    @property
    def channel(self) -> Channel:
        """The channel that the request is about. The policy has seen to it that there is one."""
        if self.subject.channel is None:
            raise LookupError("the verb of this route does not ask for a channel")
        return self.subject.channel

    @property
    def at(self) -> int | None:
        """The position that is asked about; None for the present."""
        return self.moment.seq if self.moment else None

    async def send(
        self, noun: str, key: str, command: Command, author: Id = "", step: str = ""
    ) -> Answer:
        """What came of *command*, sent in the name of the caller or of *author*.

        A request that causes several commands names all but the last by a *step*. For nouns that
        rights hang on the answer waits until they are in force, but no longer than tables may
        take: what has been written must be answered, secrets are shown but once. Raises
        `Refused`, `Unavailable`.
        """
        point("command.taken")
        began_s = perf_counter()
        wish = derived_id("", self.id, step, digits=32) if step else self.id
        request = Request(
            id=wish,
            noun=noun,
            key=key,
            author=author or self.principal.id,
            correlation=self.correlation,
            fingerprint=self.fingerprint,
            expected=None if step else self.expected,
            traceparent=self.traceparent,
            command=command,
        )
        try:
            answer = await self.gateway.commands.send(request)
        finally:
            memory = self.gateway.telemetry.memory
            memory.step("command", began_s, wish, self.correlation, author=request.author)
        point("command.answered")
        self.gateway.seen.note(self.principal.id, answer.seq)
        if noun in SETTLED:
            await self._settle(answer.seq)
        return answer

    async def _settle(self, seq: int) -> None:
        try:
            await self.gateway.reads.reached(seq)
        except Behind as behind:
            log.warning("answered_behind", seq=seq, position=behind.position, cause=self.id)

    async def head(self) -> int:
        """The position of the last commit; the tables may not have reached it."""
        lag = await self.gateway.reads.lag()
        return self.gateway.reads.position + lag

    async def rows(self, sql: str, *args: object) -> list[dict[str, Any]]:
        """The rows of one statement over the tables, at the moment that is asked about."""
        return await self.gateway.reads.rows(sql, args, self.at)

    async def together(self, read: Callable[[Rows], Result]) -> Result:
        """What *read* makes of as many statements over them as it likes."""
        return await self.gateway.reads.together(read, self.at)


def existing(value: Any, refused: Callable[[], Refused]) -> Any:
    """*value*, which must be there. Raises what *refused* gives when it is None."""
    if value is None:
        raise refused()
    return value

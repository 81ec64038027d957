"""Live: the page that does not end, and the tickets that open it where headers cannot be sent."""

from __future__ import annotations

from aiohttp import web
from pydantic import Field

from gateway.call import Call, Reply
from gateway.shapes.form import Query
from gateway.shapes.system import Ticket
from gateway.table import Route

TAG = "Live"


class LiveQuery(Query):
    after: str | None = Field(None, description="Go on after this position; default: from now.")
    channel: str | None = Field(None, description="Only this channel.")
    noun: str | None = Field(None, description="Only this noun.")
    ticket: str | None = Field(None, description="Instead of a credential; good for one page.")


async def follow_live(call: Call) -> web.StreamResponse:
    """Commits as they happen, one JSON object a frame: a WebSocket when the client upgrades,
    server-sent events else. First `hello` with `epoch` and `head`; then `commit` frames with their
    `seq`. `?after=<seq>` or `Last-Event-ID: <epoch>.<seq>` resumes, days later too.
    """
    return await call.gateway.live.follow(call.request, call.principal)


async def issue_ticket(call: Call) -> Reply:
    """A ticket in the caller's name for clients that can send neither headers nor cookies."""
    ticket = call.gateway.tickets.issue(call.principal)
    expires_in_s = int(call.gateway.settings.live_ticket_ttl_s)
    return Reply({"ticket": ticket, "expires_in_s": expires_in_s}, status=201)


ROUTES = (
    Route(
        "GET", "/live", "follow_log", follow_live, "Follow the log", TAG,
        query=LiveQuery, reply="text/event-stream", endless=True, ticketed=True,
        codes=("invalid_cursor",),
        headers=(("Last-Event-ID", "`<epoch>.<seq>`: go on after that event."),),
    ),
    Route(
        "POST", "/live/tickets", "follow_log", issue_ticket, "Get a ticket", TAG,
        reply=Ticket, status=201, commands=False,
    ),
)  # fmt: skip

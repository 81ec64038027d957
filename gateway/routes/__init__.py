"""The routes: one module a noun. A handler parses nothing, decides nothing, and has no `if`:
it sends a command or reads the tables, and replies.
"""

from __future__ import annotations

from gateway.routes import (
    account,
    channel,
    key,
    live,
    log,
    member,
    message,
    session,
    sql,
    system,
    thread,
    trace,
    why,
)
from gateway.table import Route

ROUTES: tuple[Route, ...] = (
    *system.ROUTES,
    *account.ROUTES,
    *session.ROUTES,
    *key.ROUTES,
    *channel.ROUTES,
    *member.ROUTES,
    *message.ROUTES,
    *thread.ROUTES,
    *live.ROUTES,
    *sql.ROUTES,
    *log.ROUTES,
    *why.ROUTES,
    *trace.ROUTES,
)
"""The whole API, in the order of its document."""

"""SQL over everything that the caller may see."""

from __future__ import annotations

from dataclasses import asdict

from actors.rooms import VIEWS
from gateway import asking
from gateway.call import Call, Reply
from gateway.errors import refuse
from gateway.shapes import sql as shape
from gateway.table import Route
from sandboxes.sql.functions import AGGREGATES, OPERATORS, SCALARS, TABLES, WINDOWS

TAG = "SQL"

FUNCTIONS = {
    "operators": OPERATORS,
    **SCALARS,
    "aggregates": AGGREGATES,
    "windows": WINDOWS,
    "in place of a table": TABLES,
}
"""What a statement may call, by topic."""


async def ask(call: Call) -> Reply:
    """Answers one SELECT over the views, which hold what the caller may see and nothing else.

    It runs in a process of its own, within limits; `GET /api/v1/sql` tells of views, functions and
    limits. An answer that is too long is cut off and says so.
    """
    gateway, question = call.gateway, call.body
    await _catch_up(call, question.after_seq)
    today_ms = call.now_ms
    if question.at is not None:
        await _go_back(call, str(question.at))
    position = call.position
    today = call.moment.today if call.moment else None
    times_ms = (call.now_ms, today_ms)
    rights = asking.rights(call.principal, call.directory, position, times_ms, today)
    told = await gateway.asking.answer(
        call.principal.id, question.query, question.parameters, rights
    )
    return Reply(b'{"position":%d,' % position + told.strip()[1:], seq=position)


async def _catch_up(call: Call, seq: int) -> None:
    """The tables know the position *seq*, and what the caller knows."""
    reads = call.gateway.reads
    if seq > reads.position and seq > await call.head():
        raise refuse("position_ahead", f"The log ends before position {seq}.")
    await reads.reached(max(seq, call.gateway.seen.of(call.principal.id)))


async def _go_back(call: Call, at: str) -> None:
    """The call asks about the past from now on, with the rights of then."""
    moment = await call.gateway.past.moment(at, call.head, call.now_ms)
    call.principal = moment.then(call.principal, "ask")
    call.moment, call.now_ms = moment, moment.ms


async def list_views(call: Call) -> Reply:
    """The views with their columns, the functions that may be called, and the limits."""
    settings = call.gateway.settings
    return Reply(
        {
            "views": [
                {"name": v.name, "about": v.about, "columns": [asdict(c) for c in v.columns]}
                for v in VIEWS
            ],
            "functions": {topic: sorted(names) for topic, names in FUNCTIONS.items()},
            "limits": {
                "seconds": settings.sql_timeout_s,
                "memory_bytes": settings.sql_memory_bytes_max,
                "rows": settings.sql_rows_max,
                "bytes": settings.sql_bytes_max,
                "at_once": settings.sql_statements_per_account_max,
            },
        }
    )


ROUTES = (
    Route(
        "POST", "/sql", "ask", ask, "Ask in SQL", TAG,
        body=shape.Question, reply=shape.SqlAnswer, commands=False,
        codes=("sql_invalid", "sql_forbidden", "sql_too_large", "sql_too_long", "sql_busy",
               "behind", "position_ahead", "before_account"),
    ),
    Route(
        "GET", "/sql", "ask", list_views, "What can be asked in SQL", TAG, reply=shape.SqlViews,
    ),
)  # fmt: skip

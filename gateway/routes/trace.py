"""What one command or request went through, step by step, without any collector."""

from __future__ import annotations

from bus.recall import Known, Span
from gateway import chain, spans
from gateway.call import Call, Reply
from gateway.errors import refuse
from gateway.routes.why import TAG
from gateway.shapes import trace as shape
from gateway.table import Route


async def read_trace(call: Call) -> Reply:
    """The tree of steps of a request or a command: how long its request, its decision, its way to
    the disk, into the tables and to the listeners took, and what it called for.

    Each process remembers its last steps; of what is forgotten, the log tells the commits and
    their times. Callers see the steps of commits that they may see, and of their own requests.
    """
    name = call.path["id"]
    found = await chain.chain(call, name)
    names, seqs = {name} | chain.ids(found.commits.values()), sorted(found.commits)
    known = await call.gateway.recall.ask(names, seqs)
    steps, whole = spans.tree(_seen(call, found, known), found.commits)
    if not steps:
        raise refuse("cause_absent")
    whole = whole and not (found.more or any(one.more for one in known))
    return Reply({"id": name, "steps": steps, "whole": whole, "processes": len(known)})


def _seen(call: Call, found: chain.Chain, known: list[Known]) -> list[Span]:
    """The steps that the caller may see: of commands that he sent or whose commits he may see, and
    of his own requests; of those that many commits share, the positions tell.

    Never by the correlation: clients choose it, and who knows it could open what others did.
    """
    causes = {row["cause"] for row in found.commits.values()}
    return [
        span
        for one in known
        for span in one.spans
        if chain.sees_all(call)
        or span.name in spans.SHARED
        or "" != span.author == call.principal.id
        or (span.cause in causes and spans.within(span))
    ]


ROUTES = (
    Route(
        "GET", "/trace/{id}", "follow_log", read_trace, "Trace a command", TAG,
        reply=shape.Trace, timeless=True, codes=("cause_absent",),
    ),
)  # fmt: skip

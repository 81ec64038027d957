"""Why something is as it is: what called for it, what it led to, and which rule refused it."""

from __future__ import annotations

from math import inf
from typing import Any

import msgspec

from bus.clock import iso_ms
from bus.recall import Known, RememberedRefusal
from gateway import chain
from gateway.call import Call, Reply
from gateway.errors import CATALOGUE, refuse
from gateway.receipts import refused_by
from gateway.shapes import why as shape
from gateway.table import Route

TAG = "Causes"
DECIDE = "decide "
Row = dict[str, Any]


async def explain(call: Call) -> Reply:
    """The chains of causes that an id or a position is part of, up and down: of a message, a
    channel, an account, a commit, a command, or a request (its `correlation_id`).

    What the caller may not see is left out and counted. Refusals are not in the log: each process
    remembers the last ones, and the receipts of requests with an Idempotency-Key remember theirs.
    Callers are told of their own, the owner of all.
    """
    name = call.path["id"]
    found = await chain.chain(call, name)
    known = await call.gateway.recall.ask({name} | chain.ids(found.commits.values()))
    refusals = _refusals(call, known) or await _kept(call, found)
    if not found.commits and not refusals:
        raise refuse(
            "cause_absent",
            "Nothing in the log goes by it that this account may see, and no process remembers a "
            "refusal by that name.",
        )
    return Reply(
        {
            "id": name,
            "chains": found.trees(_commands(known)),
            "hidden": found.hidden,
            "more": found.more or any(one.more for one in known),
            "refusals": refusals,
        }
    )


def _commands(known: list[Known]) -> dict[str, str]:
    """Kinds of commands by their ids, as far as processes remember."""
    return {
        span.cause: span.name.removeprefix(DECIDE)
        for one in known
        for span in one.spans
        if span.name.startswith(DECIDE)
    }


def _refusals(call: Call, known: list[Known]) -> list[Row]:
    """What the caller may be told of, with the rule: of what a request was answered and what the
    actors said to its command, the better informed. Of the past: what was refused by then."""
    until_ms = call.moment.ms if call.moment else inf
    told: dict[tuple[str, str], RememberedRefusal] = {}
    for one in sorted((r for k in known for r in k.refusals), key=lambda one: one.at_ms):
        if int(one.at_ms) > until_ms:
            break
        if not (chain.sees_all(call) or one.author == call.principal.id):
            continue
        earlier = told.get((one.cause or one.correlation, one.code))
        told[one.cause or one.correlation, one.code] = _joined(earlier, one) if earlier else one
    return [_shown(one) for one in told.values()]


def _joined(inner: RememberedRefusal, outer: RememberedRefusal) -> RememberedRefusal:
    """What the actors say, and what the gateway says of the same."""
    if outer.command:  # It was asked once more.
        inner, outer = outer, inner
    more = {
        name: getattr(outer, name)
        for name in ("request", "status", "correlation")
        if getattr(outer, name)
    }
    return msgspec.structs.replace(inner, **more)


def _shown(one: RememberedRefusal) -> Row:
    told = {name: getattr(one, name) for name in one.__struct_fields__ if name != "at_ms"}
    return {"time": iso_ms(int(one.at_ms)), **told}


async def _kept(call: Call, found: chain.Chain) -> list[Row]:
    """The refusals that the receipts in a chain hold: what no process remembers any more."""
    receipts = [row for row in found.commits.values() if row["noun"] == "receipt"]
    refusals = [(row, await refused_by(call, row["key"])) for row in receipts]
    return [
        {
            "time": row["time"],
            **dict.fromkeys(_FIELDS, ""),
            "code": one.code,
            "message": one.message,
            "status": CATALOGUE[one.code].status,
            "author": row["author"],
            "correlation": row["correlation"],
            "cause": row["key"],
            "process": "receipt",
        }
        for row, one in refusals
        if one is not None
    ]


_FIELDS = [name for name in shape.RefusalShape.model_fields if name != "time"]

ROUTES = (
    Route(
        "GET", "/why/{id}", "follow_log", explain, "Explain why", TAG,
        reply=shape.Why, codes=("cause_absent",),
    ),
)  # fmt: skip

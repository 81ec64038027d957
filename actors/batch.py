"""What a batch of commits gives the SQL of the rooms: its events and its commits, as columns."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

import orjson
import pyarrow as pa

from bus import codec
from bus.clock import milliseconds
from bus.log import Stored
from schemas.vocabulary import EVENTS

BATCH = pa.schema(
    [
        ("seq", pa.uint64()),
        ("nth", pa.uint16()),
        ("time", pa.timestamp("ms")),
        ("origin", pa.string()),
        ("author", pa.string()),
        ("clock", pa.string()),
        ("noun", pa.string()),
        ("id", pa.string()),
        ("kind", pa.string()),
        ("data", pa.string()),
    ]
)
"""What a projection's SQL reads as `batch`: one row for each event; `data` is its JSON."""

COMMITS = pa.schema(
    [
        ("seq", pa.uint64()),
        ("time", pa.timestamp("ms")),
        ("noun", pa.string()),
        ("key", pa.string()),
        ("id", pa.string()),
        ("author", pa.string()),
        ("origin", pa.string()),
        ("cause", pa.string()),
        ("correlation", pa.string()),
        ("parent", pa.string()),
        ("fingerprint", pa.string()),
        ("kinds", pa.list_(pa.string())),
    ]
)
"""What it reads as `commits`: one row for each commit; `kinds` are those of its events."""

Rows: TypeAlias = pa.Table
"""Events in the shape of `BATCH`, or commits in that of `COMMITS`."""

KIND = BATCH.get_field_index("kind")
ALONE = {kind: (kind,) for kind in EVENTS}
"""The kinds of a commit that says one thing, as nearly all do."""
EVERY = "*"
"""What a statement concerns that names no kind: every commit."""


def batch(stored: Sequence[Stored]) -> tuple[Rows, Rows, set[str]]:
    """What a batch of commits gives the SQL: its events, its commits, and what it concerns.

    Cells are strung together and no rows are kept: tuples by the thousand would keep the collector
    busy, which costs as much as all the rest. Raises `codec.Undecodable`.
    """
    facts: list[Any] = []
    commits: list[Any] = []
    try:
        for one in stored:
            _read(one, facts, commits)
        tables = _table(BATCH, facts), _table(COMMITS, commits)
    except (ValueError, KeyError, TypeError, OverflowError, pa.ArrowException) as error:
        raise codec.Undecodable(f"not a commit of ours: {error}") from error
    return *tables, {EVERY, *facts[KIND :: len(BATCH)]}


def _table(schema: pa.Schema, cells: list[Any]) -> pa.Table:
    arrays = [pa.array(cells[n :: len(schema)], field.type) for n, field in enumerate(schema)]
    return pa.Table.from_arrays(arrays, schema=schema)


def _read(one: Stored, facts: list[Any], commits: list[Any]) -> None:
    """Adds the cells of one commit to both."""
    commit = codec.parse(one.payload)
    header = commit["header"]
    clock, origin, author = header["clock"], header["origin"], header["author"]
    time = milliseconds(clock)
    if (header["noun"], header["key"]) != (one.noun, one.key):
        raise codec.Undecodable(f"a commit of {header['noun']} {header['key']} lies elsewhere")
    kinds: tuple[str, ...] = ()
    for nth, fact in enumerate(commit["events"]):
        kind = fact["kind"]
        if kind not in ALONE:
            raise codec.Undecodable(f"unknown kind {kind!r}: upgrade Canopy to read this log")
        kinds = (*kinds, kind) if kinds else ALONE[kind]
        data = orjson.dumps(fact["data"]).decode()
        facts += (one.seq, nth, time, origin, author, clock, one.noun, one.key, kind, data)
    commits += (one.seq, time, one.noun, one.key, header["id"], author, origin, header["cause"],
                header["correlation"], header.get("parent", ""), header.get("fingerprint", ""),
                kinds)  # fmt: skip

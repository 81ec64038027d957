"""Whether the log can be read from end to end, and whether tables say what it says."""

from __future__ import annotations

import asyncio
from typing import Any

from actors.projection_file import ProjectionFile
from bus import codec
from bus.log import Log, Missing

Difference = dict[str, Any]
"""What is wrong first: `seq`, `reason`, and the `table` if it is one."""


async def unreadable(log: Log, until: int) -> Difference | None:
    """The first commit up to *until* that has no place or does not decode: with its digest, its
    models and its upcasters."""
    try:
        async for page in log.tail(0, until):
            for one in page:
                try:
                    header = codec.decode(one.payload, one.seq).header
                    if (header.noun, header.key) != (one.noun, one.key):
                        raise codec.Undecodable(f"position {one.seq}: lies at {one.noun} {one.key}")
                except codec.Undecodable as error:
                    return {"seq": one.seq, "reason": str(error)}
            await asyncio.sleep(0)
    except Missing as hole:
        return {"seq": hole.seq, "reason": str(hole)}
    return None


def compare(live: ProjectionFile, aside: ProjectionFile, seq: int) -> dict[str, Any]:
    """The tables of both files up to the position *seq*: `position`, `tables` with their counts,
    and the first `difference`, or None."""
    ours, theirs = live.hashes(seq), aside.hashes(seq)
    counts = {name: rows for name, (rows, _) in theirs.items()}
    report: dict[str, Any] = {"position": seq, "tables": counts, "difference": None}
    for name in sorted(ours.keys() | theirs.keys()):
        if ours.get(name) != theirs.get(name):
            where = live.differs_from(aside, name, seq) if name in ours and name in theirs else 0
            report["difference"] = {"table": name, "seq": where, "reason": "the tables differ"}
            break
    return report

"""Whether the log can be read from end to end, and whether tables say what it says."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from actors.projection_file import ProjectionFile
from bus import codec
from bus.alarm import Broken, sound
from bus.chain import GENESIS, Place
from bus.inspection import End, gone, read_on, standing
from bus.ledger import Proof
from bus.log import Log, Missing, Stored
from bus.marks import MarksDamaged
from bus.notary import kept_ledger
from schemas.settings import Settings

Difference = dict[str, Any]
"""What is wrong first: `seq`, `reason`, and the `table` if it is one."""


@dataclass(frozen=True, slots=True)
class Proven:
    """What came of reading the log: how far, the running hash there, and what is wrong first."""

    place: Place
    difference: Difference | None = None


async def proven(log: Log, settings: Settings, end: End) -> Proven:
    """The whole log up to its *end*, read from where it lies: no position is missing, every commit
    decodes, with its digest, its models and its upcasters, and is what was hashed when it was
    written; and it has all that was acknowledged. What is lost or changed sounds the alarm, and
    what the alarm stands for already is told when nothing else is wrong.
    """
    until = end.head
    try:
        ledger = await asyncio.to_thread(kept_ledger, settings, log.epoch)
    except MarksDamaged as damaged:
        return Proven(GENESIS, {"seq": 1, "reason": str(damaged)})
    proof, difference = Proof(ledger), None
    try:
        while proof.place.seq < until and difference is None:
            page = await read_on(log, proof.place.seq, until)
            difference = undecodable(page)
            proof.hear(page)
            await asyncio.sleep(0)
        if difference is None and (lost := end.fault()) is not None:
            raise Broken(lost)
    except (Missing, Broken) as wrong:
        fault = gone(wrong) if isinstance(wrong, Missing) else wrong.fault
        await asyncio.to_thread(sound, settings, fault)
        known = {"seq": fault.seq, "reason": str(wrong)}
        difference = min(filter(None, (difference, known)), key=lambda one: int(one["seq"]))
    alarm = await asyncio.to_thread(standing, settings)
    if difference is None and alarm is not None:
        difference = {"seq": alarm.seq, "reason": alarm.words}
    return Proven(proof.place, difference)


def undecodable(page: Iterable[Stored]) -> Difference | None:
    """The first commit of *page* that does not say what it is."""
    for one in page:
        try:
            header = codec.decode(one.payload, one.seq).header
            if (header.noun, header.key) != (one.noun, one.key):
                raise codec.Undecodable(f"position {one.seq}: lies at {one.noun} {one.key}")
        except codec.Undecodable as error:
            return {"seq": one.seq, "reason": str(error)}
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

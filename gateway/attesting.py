"""What the notary has found out about the log, as this gateway tells it (`bus.notary`)."""

from __future__ import annotations

import asyncio

from bus.clock import iso_ms
from bus.notary import Attested, attested
from gateway.call import Call


async def attest(call: Call) -> Attested:
    """The alarm, how far the log is hashed, and when it was last read again as a whole; the gauges
    know it too."""
    gateway = call.gateway
    known = await asyncio.to_thread(attested, gateway.settings, gateway.reads.log.epoch)
    gateway.telemetry.alarm.set(known.fault is not None)
    gateway.telemetry.hashed.set(known.seq)
    gateway.telemetry.scrubs.set(known.scrub.passes)
    gateway.telemetry.scrubbed_s.set(known.scrub.ended_ms / 1000)
    return known


def integrity(known: Attested) -> dict[str, object]:
    """*known* as `GET /api/v1/node/status` shows it."""
    fault, scrub = known.fault, known.scrub
    return {
        "damage": fault and {"kind": fault.kind, "seq": fault.seq, "text": fault.words},
        "hashed": known.seq,
        "reading": scrub.seq,
        "read": scrub.passes,
        "read_at": iso_ms(scrub.ended_ms) if scrub.ended_ms else None,
    }

"""What has expired in private is deleted, so that its keys are destroyed: nobody has to ask.

The tables know what has expired; every gateway of a node looks, and wishes the same under the same
id, so it happens once. Public messages are but hidden when they have expired: they have no keys.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import structlog

from actors.message import queries
from bus.clock import derived_id, iso_ms
from bus.commands import Commands, Unavailable
from gateway.read_model import Behind
from schemas.envelope import SYSTEM, Refused, Request
from schemas.message import ExpireMessage
from schemas.settings import Settings

AT_ONCE_MAX = 500
"""Messages deleted in one go; the rest in the next."""

STANDSTILL = frozenset({"unacknowledged", "log_full", "log_damaged", "vault_unusable"})
"""Refusals that are about the log or the vault, and not about one message."""

log = structlog.get_logger()


class Tables(Protocol):
    """What is asked of the tables (`gateway.reads.Reads`)."""

    async def rows(self, sql: str, args: Sequence[Any]) -> list[dict[str, Any]]: ...

    async def reached(self, seq: int) -> None: ...


async def expire(
    reads: Tables, commands: Commands, settings: Settings, believed_ms: Callable[[], int]
) -> None:
    """Delete what has expired by the time that is believed (`bus.steady`), for ever."""
    while True:
        try:
            await _expired(reads, commands, iso_ms(believed_ms()))
        except (Unavailable, Behind) as later:
            log.info("expiry_delayed", reason=str(later))
        await asyncio.sleep(settings.expiry_every_s)


async def _expired(reads: Tables, commands: Commands, now: str) -> None:
    """What has expired at the time *now* is deleted, and the tables know of it."""
    for row in await reads.rows(queries.EXPIRED, (now, AT_ONCE_MAX)):
        wish = derived_id("", "expire", row["channel_id"], row["id"], digits=32)
        request = Request(
            id=wish,
            noun="message",
            key=f"{row['channel_id']}.{row['id']}",
            author=SYSTEM,
            correlation=wish,
            command=ExpireMessage(now=now),
        )
        try:
            await reads.reached((await commands.send(request)).seq)
        except Refused as refused:
            log.info("expiry_refused", code=refused.code, id=row["id"])
            if refused.code in STANDSTILL:
                return  # What stands in the way of one stands in the way of all: the next round.

"""Points in the log as people name them: a position, a time, or so long ago."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from bus.clock import iso_ms
from gateway.cli.client import Client
from gateway.cli.exits import Exit, Failure

_AGO = re.compile(r"(\d+(?:\.\d+)?)\s*(s|min|m|h|d|w)")
_SECONDS = {"s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86_400.0, "w": 604_800.0}


@dataclass(frozen=True, slots=True)
class Point:
    """Either a position or a time (aware)."""

    seq: int | None = None
    time: datetime | None = None


def point(text: str, now: datetime) -> Point:
    """What *text* means: `42`, `2026-11-21T05:29`, `2026-11-21`, `10m` or `2h` (before *now*).

    A time without a zone is the reader's own. Raises `Failure` for anything else.
    """
    try:
        if text.isascii() and text.isdigit():
            return Point(seq=int(text))
        if (ago := _AGO.fullmatch(text)) is not None:
            return Point(time=now - timedelta(seconds=float(ago[1]) * _SECONDS[ago[2]]))
        return Point(time=datetime.fromisoformat(text).astimezone(UTC))
    except (ValueError, OverflowError) as error:
        raise Failure(
            Exit.USAGE,
            f"{text!r} is no point in the log.",
            "Give a position (42), a time (2026-11-21T05:29) or how long ago (10m, 2h, 3d).",
        ) from error


def moment(text: str, now: datetime) -> str:
    """The point that *text* means, as `?at=` understands it. Raises `Failure`."""
    named = point(text, now)
    return str(named.seq) if named.time is None else iso_ms(int(named.time.timestamp() * 1000))


async def last_at(client: Client, text: str, head: int) -> int:
    """The last position at or before the point that *text* names, at most *head*."""
    named = point(text, datetime.now(UTC))
    if named.seq is not None:
        return min(named.seq, head)
    low, high = 0, head
    while low < high:
        middle = (low + high + 1) // 2
        commit = await client.get(f"/api/v1/log/{middle}")
        if named.time is not None and datetime.fromisoformat(commit["time"]) <= named.time:
            low = middle
        else:
            high = middle - 1
    return low


async def just_before(client: Client, text: str, head: int) -> int:
    """The position after which the point that *text* names begins; position 42 itself is in."""
    at = await last_at(client, text, head)
    return max(0, at - 1) if text.isdigit() else at

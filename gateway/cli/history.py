"""The log as it was: commits page by page, filtered here and there, at their own pace or not."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import datetime

import aiohttp
import orjson

from gateway.cli.client import Client
from gateway.cli.exits import Exit, Failure
from gateway.cli.filters import Filter
from gateway.cli.sentences import Frame

PAGE = 500


async def forward(
    client: Client, wanted: Filter, after: int, until: int | None = None, cause: str = ""
) -> AsyncIterator[Frame]:
    """What is wanted of the commits after *after*, oldest first, up to *until* included."""
    while True:
        page = await client.get(
            "/api/v1/log", after=after, limit=PAGE, cause=cause, **_narrowed(wanted)
        )
        for frame in page["commits"]:
            if until is not None and frame["seq"] > until:
                return
            if wanted.lets(frame):
                yield frame
        if page["next"] is None or (until is not None and page["next"] >= until):
            return
        after = page["next"]


async def backward(
    client: Client, wanted: Filter, before: int | None = None, cause: str = ""
) -> AsyncIterator[Frame]:
    """What is wanted of the commits before *before* (None: of all), newest first."""
    while True:
        page = await client.get(
            "/api/v1/log", before=before, limit=PAGE, cause=cause, **_narrowed(wanted)
        )
        for frame in page["commits"]:
            if wanted.lets(frame):
                yield frame
        if page["next"] is None:
            return
        before = page["next"]


def _narrowed(wanted: Filter) -> dict[str, str]:
    """What the node itself can leave out."""
    author = next(iter(wanted.authors)) if len(wanted.authors) == 1 else ""
    return {"noun": wanted.noun, "author": author}


async def first(source: AsyncIterator[Frame], count: int) -> AsyncIterator[Frame]:
    """The first *count* of *source*; all of it when *count* is 0."""
    left = count
    async for frame in source:
        yield frame
        left -= 1
        if left == 0:
            return


async def paced(
    source: AsyncIterator[Frame], speed: float, pause_max_s: float
) -> AsyncIterator[Frame]:
    """*source*, *speed* times as fast as it happened (0: at once), no pause over *pause_max_s*."""
    before: datetime | None = None
    async for frame in source:
        now = datetime.fromisoformat(frame["time"])
        if speed and before is not None:
            passed_s = (now - before).total_seconds() / speed
            await asyncio.sleep(min(max(passed_s, 0.0), pause_max_s))
        before = now
        yield frame


async def head(client: Client) -> int:
    """The position of the last commit that the node has folded, as it greets its followers.

    Raises `Failure` when it greets nobody.
    """
    try:
        async with client.live(None) as socket:
            async for message in socket:
                return int(orjson.loads(message.data)["head"])
    except aiohttp.WSServerHandshakeError as error:
        raise unfollowed(error.status) from error
    except aiohttp.ClientConnectionError as error:
        raise client.unreachable(str(error)) from error
    raise unfollowed(socket.close_code)


def unfollowed(status: int | None) -> Failure:
    """The node does not let itself be followed, with this HTTP status or close code."""
    refuses = status is not None and (status in (401, 403) or 4400 <= status < 4500)
    return Failure(
        Exit.REFUSED if refuses else Exit.UNAVAILABLE,
        f"The node does not let itself be followed (status {status}).",
        "`canopy status` tells how it is; `canopy key create` makes a key that holds read_feed.",
    )

"""From names to ids and back: which account, which channel is meant, and what completes a word."""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import AsyncIterator, Iterable
from difflib import get_close_matches
from typing import Any

from gateway.cli.client import Client
from gateway.cli.exits import Exit, Failure
from gateway.cli.sentences import Names
from schemas.vocabulary import EVENTS, NOUNS

PAGE = 200
_CHANNEL_ID = re.compile(r"general|C[0-9a-f]{16}")
COMPLETION_S = 1.0
"""A completion that takes longer is none."""

Row = dict[str, Any]


async def names(client: Client) -> Names:
    """The names of all accounts and of the channels that the caller may know of."""
    listed = [one async for one in accounts(client)]
    known = await channels(client)
    return Names(
        {one["user_id"]: one["username"] for one in listed},
        {one["id"]: one["name"] for one in known},
    )


async def accounts(client: Client, status: str | None = None) -> AsyncIterator[Row]:
    """All accounts, page by page."""
    cursor = None
    while True:
        page = await client.get("/api/v1/accounts", limit=PAGE, cursor=cursor, status=status)
        for one in page["accounts"]:
            yield one
        cursor = page["next"]
        if cursor is None:
            return


async def channels(client: Client) -> list[Row]:
    """The caller's channels, then those that the caller could join."""
    mine = await client.get("/api/v1/channels")
    joinable = await client.get("/api/v1/channels", joinable="true")
    return [*mine["channels"], *joinable["channels"]]


async def account_id(client: Client, name: str) -> str:
    """The id of the account called *name*. Raises `Failure` when there is none."""
    bare = name.removeprefix("@")
    page = await client.get("/api/v1/accounts", username=bare)
    if page["accounts"]:
        return str(page["accounts"][0]["user_id"])
    if bare.startswith("user_"):
        return bare
    known = [one["username"] async for one in accounts(client)]
    raise _absent("account", bare, known, "canopy user list")


async def channel_id(client: Client, name: str) -> str:
    """The id of the channel called *name*; what looks like an id is taken for one, unasked."""
    bare = name.removeprefix("#")
    return bare if _CHANNEL_ID.fullmatch(bare) else str((await channel(client, bare))["id"])


async def channel(client: Client, name: str) -> Row:
    """The channel called *name*, or with that id. Raises `Failure` when it cannot be told."""
    bare = name.removeprefix("#")
    known = await channels(client)
    by_id = [one for one in known if one["id"] == bare]
    named = by_id or [one for one in known if one["name"].casefold() == bare.casefold()]
    if not named:
        raise _absent("channel", bare, [one["name"] for one in known], "canopy channel list")
    if len(named) > 1:
        ids = ", ".join(one["id"] for one in named)
        raise Failure(
            Exit.USAGE, f"{len(named)} channels are called {bare!r}.", f"Name one by its id: {ids}"
        )
    return named[0]


def _absent(what: str, name: str, known: Iterable[str], command: str) -> Failure:
    near = get_close_matches(name, list(known), n=3)
    hint = (
        f"Did you mean {' or '.join(map(repr, near))}?"
        if near
        else f"`{command}` shows what there is."
    )
    return Failure(Exit.REFUSED, f"You know of no {what} {name!r}.", hint, f"{what}_absent")


def complete_channel(incomplete: str) -> list[str]:
    """Names of channels that begin so, asked of the node; nothing when it does not answer."""
    return _completed(incomplete.removeprefix("#"), Names.channels)


def complete_account(incomplete: str) -> list[str]:
    """Names of accounts that begin so."""
    return _completed(incomplete.removeprefix("@"), Names.accounts)


def complete_filter(incomplete: str) -> list[str]:
    """Words of a filter that begin so."""
    words = [word for word in (*NOUNS, *EVENTS) if word.startswith(incomplete)]
    if incomplete.startswith("@"):
        return [f"@{name}" for name in complete_account(incomplete)]
    return [*words, *complete_channel(incomplete)]


def _completed(incomplete: str, of: Any) -> list[str]:
    url = os.environ.get("CANOPY_URL", "http://127.0.0.1:7770")
    key = os.environ.get("CANOPY_API_KEY", "")

    async def asked() -> Names:
        async with asyncio.timeout(COMPLETION_S), Client.open(url, key) as client:
            return await names(client)

    try:
        known = asyncio.run(asked())
    except (Failure, TimeoutError):
        return []
    return [name for name in of(known) if name.casefold().startswith(incomplete.casefold())]

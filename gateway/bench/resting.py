"""A node at rest: written once, left in three ways, and what it answers when it is whole.

Everything that a node keeps is in it: an owner, channels, messages in clear and sealed ones, the
versions of one, a snapshot, keys that are there and one that was destroyed. It is left stopped;
killed, the tables with their WAL; and killed before the broker had ever written its index.
"""

from __future__ import annotations

import asyncio
import shutil
from collections import defaultdict
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp

from gateway.bench.damage import BLOCKS
from gateway.bench.looking import AGAIN_S, ROUND_S, Answers, Owner, answers, page, running, settings
from gateway.bench.node import credentials
from gateway.node import Up
from schemas.settings import Settings

API = "/api/v1"
POSTS = f"{API}/channels/messages"
OLDER, NEWER, LAST = 24, 12, 3
"""How many pairs of messages, one in clear and one in private, are said before each moment."""
EDITS = 5
"""Of one private message: enough for a snapshot."""
LEFT = ("stopped", "killed", "unindexed")


Said = Mapping[str, tuple[Any, ...]]
"""What may be read, by name: what it once was, and at last what it is; None when it is no more."""


@dataclass(frozen=True, slots=True)
class Left:
    """A data directory as it was left, and what the node answered until then."""

    directory: Path
    said: Said


@dataclass(frozen=True, slots=True)
class Rest:
    """The node at rest, who reads it, and a copy of it from some time ago."""

    owner: Owner
    older: Path
    left: Mapping[str, Left]
    """By the names in `LEFT`."""


async def written(directory: Path) -> Rest:
    """A node with a little of everything, and what was left of it at three moments."""
    data, copies = directory / "data", directory / "copies"
    copies.mkdir(parents=True)
    knobs = settings(data)
    once: dict[str, list[Any]] = defaultdict(list)
    stopped: dict[str, Any] = {}
    killed: dict[str, Any] = {}
    async with running(knobs) as node:
        headers = await credentials(directory, node.url, node.setup_code)
        async with aiohttp.ClientSession(node.url, headers=headers) as http:
            owner, taken_back = await _begun(http, headers, once)
    shutil.copytree(data, copies / "older")
    async with _visited(knobs, owner) as (node, http):
        await _said(http, owner.private, NEWER)
        await _done(http, "DELETE", taken_back)
        await _destroyed(http)
        await answers(node, owner, knobs, stopped)
    shutil.copytree(data, copies / "stopped")
    async with _visited(knobs, owner) as (node, http):
        await _said(http, owner.private, LAST)
        await answers(node, owner, knobs, killed)
        # What lies there while nothing is being done is what kill -9 leaves.
        shutil.copytree(data, copies / "killed", ignore=shutil.ignore_patterns(".*"))
    shutil.copytree(copies / "killed", copies / "unindexed")
    (copies / "unindexed" / BLOCKS / "index.db").unlink(missing_ok=True)
    now = zip(LEFT, (stopped, killed, killed), strict=True)
    left = {name: Left(copies / name, _told(once, read)) for name, read in now}
    return Rest(owner, copies / "older", left)


def _told(once: Mapping[str, list[Any]], read: Answers) -> Said:
    return {name: (*once.get(name, ()), read.get(name)) for name in once.keys() | read.keys()}


@asynccontextmanager
async def _visited(
    knobs: Settings, owner: Owner
) -> AsyncIterator[tuple[Up, aiohttp.ClientSession]]:
    """The node, and its owner's connection to it."""
    async with (
        running(knobs) as node,
        aiohttp.ClientSession(node.url, headers=owner.headers) as http,
    ):
        yield node, http


async def _begun(
    http: aiohttp.ClientSession, headers: dict[str, str], once: dict[str, list[Any]]
) -> tuple[Owner, str]:
    """The owner of a new node, who has said some things there; and what is going to be deleted.
    *once* holds what they were before that and before they were changed."""
    draft = {"name": "ours", "type": "private"}
    private = (await _done(http, "POST", f"{API}/channels", draft))["channel"]["id"]
    first, second, *_ = await _said(http, private, OLDER)
    ours = f"{API}/channels/{private}"
    paths = (
        f"{API}/channels/general/messages?limit=200",
        f"{ours}/messages?limit=200",
        f"{ours}/messages/{first}/history",
        f"{ours}/members",
        f"{API}/log?after=0&limit=500",
    )
    for nth in range(EDITS):
        for path in paths[1:3]:
            for name, one in (await page(http, path)).items():
                once[name].append(one)
        await _done(http, "PATCH", f"{ours}/messages/{first}", {"content": f"Edit {nth}."})
    once[f"message {second}"] = [_erased(one) for one in once[f"message {second}"]]
    owner = Owner(headers, private, paths, (("message", f"{private}.{first}"),))
    return owner, f"{ours}/messages/{second}"


async def _said(http: aiohttp.ClientSession, private: str, pairs: int) -> list[str]:
    """The ids of *pairs* new messages in a private channel; as many are said in public."""
    said = []
    for nth in range(pairs):
        await _done(http, "POST", POSTS, {"channel_id": "general", "content": f"{nth} " * 10})
        draft = {"channel_id": private, "content": f"Ours: {nth} " * 5}
        said.append((await _done(http, "POST", POSTS, draft))["message"]["id"])
    return said


def _erased(message: dict[str, Any]) -> dict[str, Any]:
    """*message* as it is shown where its deletion is not known, and its key is destroyed."""
    gone = {"content": "", "attachments": [], "security": {}, "crypto_state": "erased"}
    return message | gone


async def _destroyed(http: aiohttp.ClientSession) -> None:
    """What was deleted is erased, and the tables know it."""
    async with asyncio.timeout(ROUND_S):
        while True:
            commits = (await _done(http, "GET", f"{API}/log?limit=9"))["commits"]
            if any(one["kind"] == "content_erased" for each in commits for one in each["events"]):
                return
            await asyncio.sleep(AGAIN_S)


async def _done(http: aiohttp.ClientSession, method: str, path: str, body: Any = None) -> Any:
    """The answer to a wish. Raises when it is not granted."""
    async with http.request(method, path, json=body, raise_for_status=True) as response:
        return await response.json()

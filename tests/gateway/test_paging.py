"""Pages of a channel among others that say more, or less."""

from __future__ import annotations

import pytest

from tests.canopy import Caller, Canopy

SAID = 40


@pytest.fixture
async def ann(canopy: Canopy) -> Caller:
    """The owner of the workspace."""
    return await canopy.register("ann")


async def opened(who: Caller, name: str) -> str:
    """The id of a new channel."""
    return str((await who.post("/channels", {"name": name}))["channel"]["id"])


async def say(who: Caller, channel_id: str, count: int, word: str) -> list[str]:
    """What was said, one message after the other."""
    texts = [f"{word} {nth}" for nth in range(count)]
    for text in texts:
        await who.post("/channels/messages", {"channel_id": channel_id, "content": text})
    return texts


async def read(who: Caller, channel_id: str, limit: int) -> list[str]:
    """All of a channel, page by page from the newest, put in order."""
    texts: list[str] = []
    where = f"/channels/{channel_id}/messages?limit={limit}"
    page = await who.get(where)
    while True:
        texts = [one["content"] for one in page["messages"]] + texts
        if page["next"] is None:
            return texts
        page = await who.get(f"{where}&cursor={page['next']}")


async def test_a_quiet_channel_is_found_behind_a_loud_one(ann: Caller) -> None:
    """Also where nothing of it is near the end of the log, and where some of it is."""
    quiet = await opened(ann, "quiet")
    first = await say(ann, quiet, 3, "long ago")
    loud = await say(ann, "general", SAID, "loud")
    last = await say(ann, quiet, 2, "now")

    assert await read(ann, quiet, 1) == first + last
    assert await read(ann, quiet, 50) == first + last
    assert await read(ann, "general", 3) == loud

"""What is said in private lies in clear nowhere: from the request to the disk, and back."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import orjson
import pytest

from tests.canopy import Caller, Canopy, running

MARKER = "Quetzal-7741"
DEADLINE_S = 15.0


@pytest.fixture
async def canopy(tmp_path: Path) -> AsyncIterator[Canopy]:
    async with running(tmp_path / "data") as node:
        yield node


async def channel(ann: Caller, **fields: Any) -> str:
    """A private channel of ann's."""
    made = await ann.post("/channels", {"name": "among-us", "type": "private", **fields})
    return str(made["channel"]["id"])


async def say(ann: Caller, channel_id: str, content: str, **headers: str) -> dict[str, Any]:
    """What is answered to saying *content*, with an attachment."""
    body = {
        "channel_id": channel_id,
        "content": content,
        "attachments": [{"id": "f1", "name": f"{content}.txt"}],
        "security": {"key_id": content},
    }
    answer: dict[str, Any] = await ann.post("/channels/messages", body, **headers)
    return answer


def files_with(directory: Path, text: bytes) -> list[str]:
    """The files below *directory* that hold *text*."""
    return [str(one) for one in directory.rglob("*") if one.is_file() and text in one.read_bytes()]


async def test_no_file_of_the_node_holds_what_is_said_in_private(tmp_path: Path) -> None:
    async with running(tmp_path / "data", snapshot_every=4) as canopy:
        ann = await canopy.owner()
        private = await channel(ann)
        posted = await say(ann, private, f"{MARKER} first", Idempotency_Key="k1")
        path = f"/channels/{private}/messages/{posted['message']['id']}"
        await ann.ok("PATCH", path, {"content": f"{MARKER} second"}, Idempotency_Key="k2")
        for nth in range(9):  # More commits than there are between two snapshots.
            await ann.post(f"{path}/like", {"reaction_type": ("like", "love")[nth % 2]})
        await ann.get(f"/channels/{private}/search?q={MARKER}")
        while_running = files_with(tmp_path, MARKER.encode())

    assert while_running == []
    assert files_with(tmp_path, MARKER.encode()) == []


async def test_the_same_search_finds_what_is_said_in_public(tmp_path: Path) -> None:
    """The test of the test above: what is not private lies there."""
    async with running(tmp_path / "data") as canopy:
        ann = await canopy.owner()
        await say(ann, "general", MARKER)

    assert files_with(tmp_path, MARKER.encode()) != []


async def test_members_read_it_as_they_read_anything(canopy: Canopy) -> None:
    ann = await canopy.owner()
    private = await channel(ann)
    posted = (await say(ann, private, MARKER))["message"]
    path = f"/channels/{private}/messages/{posted['id']}"

    one = (await ann.get(path))["message"]
    (listed,) = (await ann.get(f"/channels/{private}/messages"))["messages"]

    assert one == listed == posted
    assert (one["content"], one["crypto_state"]) == (MARKER, "sealed")
    assert (one["attachments"][0]["name"], one["security"]) == (f"{MARKER}.txt", {"key_id": MARKER})


async def test_an_edit_is_sealed_and_so_is_every_version(canopy: Canopy) -> None:
    ann = await canopy.owner()
    private = await channel(ann)
    posted = (await say(ann, private, "first"))["message"]
    path = f"/channels/{private}/messages/{posted['id']}"
    changed = await ann.ok("PATCH", path, {"content": "second"})

    one = (await ann.get(f"{path}?seq={changed['seq']}"))["message"]
    versions = (await ann.get(f"{path}/history"))["versions"]
    (kept,) = (await ann.get(f"/log/{changed['seq']}"))["events"]

    assert (one["content"], one["attachments"]) == ("second", posted["attachments"])
    assert [each["content"] for each in versions] == ["first", "second"]
    assert (kept["data"]["content"], kept["data"]["private"]) == ("second", True)


async def test_it_is_searched_without_regard_to_case(canopy: Canopy) -> None:
    ann = await canopy.owner()
    private = await channel(ann)
    await say(ann, private, "A quetzal.")
    await say(ann, private, "Nothing.")
    last = await say(ann, private, "Two QUETZALS.")
    path = f"/channels/{private}/messages/{last['message']['id']}"
    seq = (await ann.ok("PATCH", path, {"content": "Two Quetzals, one gone."}))["seq"]

    found = await ann.get(f"/channels/{private}/search?q=quetzal&seq={seq}")
    again = await ann.get(f"/channels/{private}/search?q=two+quetzals.")

    assert [one["content"] for one in found["messages"]] == [
        "Two Quetzals, one gone.", "A quetzal.",
    ]  # fmt: skip
    assert again["count"] == 0


async def test_it_is_followed_live(canopy: Canopy) -> None:
    ann = await canopy.owner()
    private = await channel(ann)
    url = f"{canopy.up.url}/api/v1/live"
    async with canopy.http.ws_connect(url, headers={"X-API-Key": ann.key}) as page:
        await page.receive_json(timeout=DEADLINE_S)
        posted = await say(ann, private, MARKER)
        frame = await page.receive_json(timeout=DEADLINE_S)
        while frame.get("seq") != posted["seq"]:
            frame = await page.receive_json(timeout=DEADLINE_S)

    (event,) = frame["events"]
    assert event["data"]["content"] == MARKER
    assert "sealed" not in event["data"]


async def test_what_was_public_stays_readable_and_its_edit_is_sealed(canopy: Canopy) -> None:
    ann = await canopy.owner()
    open_one = await channel(ann, name="open-first", type="public")
    posted = (await say(ann, open_one, "in public"))["message"]
    await ann.ok("PATCH", f"/channels/{open_one}", {"privacy_mode": "private"})
    path = f"/channels/{open_one}/messages/{posted['id']}"
    seq = (await ann.ok("PATCH", path, {"content": "in private"}))["seq"]

    one = (await ann.get(f"{path}?seq={seq}"))["message"]
    versions = (await ann.get(f"{path}/history"))["versions"]

    assert (one["content"], one["crypto_state"]) == ("in private", "sealed")
    assert [each["content"] for each in versions] == ["in public", "in private"]


async def test_a_repeated_request_is_answered_byte_for_byte(canopy: Canopy) -> None:
    ann = await canopy.owner()
    private = await channel(ann)

    answers = [orjson.dumps(await say(ann, private, MARKER, Idempotency_Key="k")) for _ in "ab"]

    assert answers[0] == answers[1]

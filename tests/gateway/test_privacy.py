"""What is said in private lies in clear nowhere: from the request to the disk, and back."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
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
    answer: dict[str, Any] = await ann.post(
        "/channels/messages", _draft(channel_id, content), **headers
    )
    return answer


def _draft(channel_id: str, content: str) -> dict[str, Any]:
    return {
        "channel_id": channel_id,
        "content": content,
        "attachments": [{"id": "f1", "name": f"{content}.txt"}],
        "security": {"key_id": content},
    }


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

    one = (await ann.get(f"{path}?after_seq={changed['seq']}"))["message"]
    versions = (await ann.get(f"{path}/history"))["versions"]
    (kept,) = (await ann.get(f"/log/{changed['seq']}"))["events"]

    assert (one["content"], one["attachments"]) == ("second", posted["attachments"])
    assert [each["content"] for each in versions] == ["first", "second"]
    assert set(versions[0]) == {"content", "attachments", "edited_at", "crypto_state"}
    assert {each["crypto_state"] for each in versions} == {"sealed"}
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
        frame = await frame_at(page, posted["seq"])

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

    one = (await ann.get(f"{path}?after_seq={seq}"))["message"]
    versions = (await ann.get(f"{path}/history"))["versions"]

    assert (one["content"], one["crypto_state"]) == ("in private", "sealed")
    assert [each["content"] for each in versions] == ["in public", "in private"]


async def test_a_repeated_request_is_answered_byte_for_byte(canopy: Canopy) -> None:
    ann = await canopy.owner()
    private = await channel(ann)

    answers = [orjson.dumps(await say(ann, private, MARKER, Idempotency_Key="k")) for _ in "ab"]

    assert answers[0] == answers[1]


async def erased(ann: Caller, key: str, after: int) -> int:
    """Where the log says that the keys of an aggregate are destroyed, once it does."""
    url = f"{ann.base}/api/v1/live?after={after}"
    async with ann.http.ws_connect(url, headers={"X-API-Key": ann.key}) as page:
        while True:
            frame = await page.receive_json(timeout=DEADLINE_S)
            kinds = [event["kind"] for event in frame.get("events", ())]
            if frame.get("id") == key and "content_erased" in kinds:
                return int(frame["seq"])


async def test_what_is_deleted_cannot_be_read_by_anybody(tmp_path: Path) -> None:
    async with running(tmp_path, erasure_gather_s=0.0) as canopy:
        ann = await canopy.owner()
        private = await channel(ann)
        posted = await say(ann, private, MARKER, Idempotency_Key="k")
        stays = await say(ann, private, "stays")
        message_id = posted["message"]["id"]
        path = f"/channels/{private}/messages/{message_id}"
        deleted = await ann.ok("DELETE", path)
        seq = await erased(ann, f"{private}.{message_id}", deleted["seq"])

        status, _, problem = await ann.call("GET", f"{path}?after_seq={seq}")
        (left,) = (await ann.get(f"/channels/{private}/messages"))["messages"]
        (event,) = (await ann.get(f"/log/{posted['seq']}"))["events"]
        again = await ann.call(
            "POST", "/channels/messages", _draft(private, MARKER), {"Idempotency-Key": "k"}
        )
        before = (await ann.get(f"/channels/{private}/messages?at={posted['seq']}"))["messages"]

    assert (status, problem["code"]) == (404, "message_absent")
    assert left == stays["message"]
    assert (event["data"].get("content"), event["data"]["erased"]) == (None, True)
    assert (again[0], again[2]["code"]) == (410, "content_erased")
    assert [(one["content"], one["crypto_state"]) for one in before] == [("", "erased")]


async def test_what_was_ready_to_be_sent_is_erased_too(tmp_path: Path) -> None:
    """Frames of the live page are written once and kept in memory."""
    async with running(tmp_path, erasure_gather_s=0.0) as canopy:
        ann = await canopy.owner()
        private = await channel(ann)
        url = f"{ann.base}/api/v1/live"
        async with ann.http.ws_connect(url, headers={"X-API-Key": ann.key}) as page:
            await page.receive_json(timeout=DEADLINE_S)
            posted = await say(ann, private, MARKER)
            first = await frame_at(page, posted["seq"])
            path = f"/channels/{private}/messages/{posted['message']['id']}"
            deleted = await ann.ok("DELETE", path)
            await erased(ann, f"{private}.{posted['message']['id']}", deleted["seq"])
        async with ann.http.ws_connect(
            f"{url}?after={posted['seq'] - 1}", headers={"X-API-Key": ann.key}
        ) as page:
            second = await frame_at(page, posted["seq"])

    assert first["events"][0]["data"]["content"] == MARKER
    assert "content" not in second["events"][0]["data"]


async def frame_at(page: aiohttp.ClientWebSocketResponse, seq: int) -> Any:
    """The frame at the position *seq*."""
    while True:
        frame = await page.receive_json(timeout=DEADLINE_S)
        if frame.get("seq") == seq and frame["type"] == "commit":
            return frame


async def test_a_removed_channel_takes_along_what_was_said_in_it(tmp_path: Path) -> None:
    async with running(tmp_path, erasure_gather_s=0.0) as canopy:
        ann = await canopy.owner()
        private, other = await channel(ann), await channel(ann, name="another")
        posted = [await say(ann, one, MARKER) for one in (private, private, other)]
        removed = await ann.ok("DELETE", f"/channels/{private}")
        await erased(ann, private, removed["seq"])

        paths = [f"/log/{one['seq']}" for one in posted]
        events = [(await ann.get(path))["events"][0]["data"] for path in paths]

    assert [one.get("content") for one in events] == [None, None, MARKER]


async def test_what_expires_is_deleted_and_erased(tmp_path: Path) -> None:
    async with running(tmp_path, erasure_gather_s=0.0, expiry_every_s=0.2) as canopy:
        ann = await canopy.owner()
        private = await channel(ann)
        body = {"channel_id": private, "content": MARKER, "ttl_seconds": 1}
        posted = await ann.post("/channels/messages", body)
        seq = await erased(ann, f"{private}.{posted['message']['id']}", posted["seq"])
        await ann.get(f"/channels/{private}/messages?after_seq={seq}")  # The tables know of it now.

        (event,) = (await ann.get(f"/log/{posted['seq']}"))["events"]
        deletion = next(
            one for one in (await ann.get("/log?limit=9"))["commits"]
            if one["events"][0]["kind"] == "message_deleted"
        )  # fmt: skip

    assert "content" not in event["data"]
    assert deletion["author"] == "system"
    assert deletion["events"][0]["data"] == {"private": True, "expired": True}


async def test_what_was_deleted_before_a_stop_is_erased_after_it(tmp_path: Path) -> None:
    async with running(tmp_path, erasure_gather_s=3600.0) as canopy:
        ann = await canopy.owner()
        private = await channel(ann)
        posted = await say(ann, private, MARKER)
        path = f"/channels/{private}/messages/{posted['message']['id']}"
        deleted = await ann.ok("DELETE", path)
    async with running(tmp_path, erasure_gather_s=0.0) as canopy:
        ann = Caller(canopy.http, canopy.up.url, ann.id, ann.key)
        await erased(ann, f"{private}.{posted['message']['id']}", deleted["seq"])

        (event,) = (await ann.get(f"/log/{posted['seq']}"))["events"]

    assert "content" not in event["data"]


async def test_a_damaged_key_is_told_of_and_is_not_taken_for_an_erased_one(tmp_path: Path) -> None:
    async with running(tmp_path) as canopy:
        ann = await canopy.owner()
        private = await channel(ann)
        posted = await say(ann, private, MARKER)
        await say(ann, private, "And this.")
    (segment,) = (tmp_path / "vault").glob("segment-*")
    raw = bytearray(segment.read_bytes())
    raw[50] ^= 1
    segment.write_bytes(raw)
    async with running(tmp_path) as canopy:
        ann = Caller(canopy.http, canopy.up.url, ann.id, ann.key)
        path = f"/channels/{private}/messages"
        listed = (await ann.get(path))["messages"]
        found = (await ann.get(f"/channels/{private}/search?q=this"))["messages"]
        status, _, problem = await ann.call("GET", f"{path}/{posted['message']['id']}")
        (version,) = (await ann.get(f"{path}/{posted['message']['id']}/history"))["versions"]
        (event,) = (await ann.get(f"/log/{posted['seq']}"))["events"]
        deleted = await ann.ok("DELETE", f"{path}/{posted['message']['id']}")
        page = await ann.get(f"{path}?after_seq={deleted['seq']}")

    assert [(one["content"], one["crypto_state"]) for one in listed] == [
        ("", "damaged"),
        ("And this.", "sealed"),
    ]
    assert [one["content"] for one in found] == ["And this."]
    assert (status, problem["code"]) == (500, "content_damaged")
    assert (version["content"], version["crypto_state"]) == ("", "damaged")
    assert event["data"]["damaged"] is True
    assert [one["content"] for one in page["messages"]] == ["And this."]

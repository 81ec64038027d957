"""One Idempotency-Key, one effect, one answer: whatever happens in between, and for ever."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bus.commands import LocalCommands, Unavailable
from schemas.envelope import Answer as Answered
from schemas.envelope import Request
from schemas.receipt import KeepReceipt
from schemas.settings import KIB
from tests.canopy import Caller, Canopy, running
from tests.logs import DEADLINE_S

ONCE = {"Idempotency-Key": "once"}
Answer = tuple[int, Any]


@pytest.fixture
async def ann(canopy: Canopy) -> Caller:
    """The owner of the workspace."""
    return await canopy.owner()


async def once(
    who: Caller, method: str, path: str, body: Any = None, headers: dict[str, str] = ONCE
) -> Answer:
    """Status and body of a request that carries the key, without what names the request itself."""
    status, _, answer = await who.call(method, path, body, headers)
    return status, {k: v for k, v in answer.items() if k != "correlation_id"}


async def den(who: Caller) -> str:
    """The path of a new channel."""
    return f"/channels/{(await who.post('/channels', {'name': 'den'}))['channel']['id']}"


async def said(who: Caller, content: str = "Hi.") -> str:
    """The path of a new message in `general`."""
    body = {"channel_id": "general", "content": content}
    message = (await who.post("/channels/messages", body))["message"]
    return f"/channels/general/messages/{message['id']}"


async def test_a_wish_that_was_granted_already_is_not_granted_again_later(ann: Caller) -> None:
    """It changed nothing the first time; it must not undo what was wished since."""
    where = await den(ann) + "/mute"
    first = await once(ann, "POST", where, {"muted": False})
    await ann.post(where, {"muted": True})
    again = await once(ann, "POST", where, {"muted": False})
    (shown,) = (c for c in (await ann.get("/channels"))["channels"] if c["name"] == "den")

    assert first == again
    assert shown["notifications_enabled"] is False


async def test_what_was_refused_stays_refused(canopy: Canopy, ann: Caller) -> None:
    """A repetition that comes late has no effect either; a new key is a new wish."""
    where = await den(ann)
    archived = {"archived": True}
    await ann.ok("PATCH", where + "/lifecycle", archived)
    say = {"channel_id": where.rpartition("/")[2], "content": "Hi."}
    first = await once(ann, "POST", "/channels/messages", say)
    await ann.ok("PATCH", where + "/lifecycle", {"archived": False})
    again = await once(ann, "POST", "/channels/messages", say)
    fresh = await once(ann, "POST", "/channels/messages", say, {"Idempotency-Key": "twice"})

    assert first == again
    assert (first[0], first[1]["code"]) == (409, "channel_archived")
    assert fresh[0] == 201


async def test_what_was_posted_is_answered_though_the_channel_is_archived(ann: Caller) -> None:
    where = await den(ann)
    say = {"channel_id": where.rpartition("/")[2], "content": "Hi."}
    first = await once(ann, "POST", "/channels/messages", say)
    await ann.ok("PATCH", where + "/lifecycle", {"archived": True})

    assert await once(ann, "POST", "/channels/messages", say) == first
    assert first[0] == 201


async def test_a_reply_is_answered_though_its_parent_is_gone(ann: Caller) -> None:
    parent = await said(ann)
    body = {"channel_id": "general", "content": "Ho.", "reply_to": parent.rpartition("/")[2]}
    first = await once(ann, "POST", "/channels/messages", body)
    await ann.ok("DELETE", parent)

    assert await once(ann, "POST", "/channels/messages", body) == first
    assert first[0] == 201


async def test_a_removal_that_is_repeated_is_answered_as_it_was(ann: Caller) -> None:
    """Though what it was about is gone now."""
    message, channel = await said(ann), await den(ann)
    liked = await once(ann, "POST", message + "/like", {}, {"Idempotency-Key": "like"})
    deleted = await once(ann, "DELETE", message, None, {"Idempotency-Key": "delete"})
    removed = await once(ann, "DELETE", channel)

    assert (liked[0], deleted[0], removed[0]) == (200, 200, 200)
    assert await once(ann, "POST", message + "/like", {}, {"Idempotency-Key": "like"}) == liked
    assert await once(ann, "DELETE", message, None, {"Idempotency-Key": "delete"}) == deleted
    assert await once(ann, "DELETE", channel) == removed


@pytest.fixture
def interrupted(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first receipt is not kept: the process died before it, or nobody answered."""
    send = LocalCommands.send
    failed: list[Request] = []

    async def once_unavailable(self: LocalCommands, request: Request) -> Answered:
        if isinstance(request.command, KeepReceipt) and not failed:
            failed.append(request)
            raise Unavailable("nobody is there")
        return await send(self, request)

    monkeypatch.setattr(LocalCommands, "send", once_unavailable)


@pytest.mark.usefixtures("interrupted")
async def test_what_was_done_and_not_answered_is_never_told_refused(ann: Caller) -> None:
    """Though the handler, asked again, finds nothing left to remove."""
    channel = await den(ann)
    lost = await once(ann, "DELETE", channel)
    second = await once(ann, "DELETE", channel)
    third = await once(ann, "DELETE", channel)

    assert (lost[0], lost[1]["code"]) == (503, "unavailable")
    assert second[0] == 200
    assert second[1]["success"] is True
    assert third == second


@pytest.mark.usefixtures("interrupted")
async def test_what_was_posted_and_not_answered_is_told_whole(ann: Caller) -> None:
    """The policy would refuse it by now; the command is in the log."""
    where = await den(ann)
    say = {"channel_id": where.rpartition("/")[2], "content": "Hi."}
    lost = await once(ann, "POST", "/channels/messages", say)
    await ann.ok("PATCH", where + "/lifecycle", {"archived": True})
    second = await once(ann, "POST", "/channels/messages", say)
    other = await once(ann, "POST", "/channels/messages", say | {"content": "Ho."})

    assert (lost[0], second[0], other[0]) == (503, 201, 422)
    assert second[1]["message"]["content"] == "Hi."
    assert (await ann.get(where + "/messages"))["count"] == 1


async def test_an_answer_is_not_given_to_a_narrower_key(ann: Caller) -> None:
    """It holds what the wider key may do, and here even a new key of that width."""
    body = {"permissions": ["read_feed", "delete_data"]}
    made = await once(ann, "POST", "/keys", body)
    narrow = await ann.post("/keys", {"permissions": ["manage_keys"]})
    status, problem = await once(replace(ann, key=narrow["api_key"]), "POST", "/keys", body)

    assert made[0] == 201
    assert (status, problem["code"]) == (422, "idempotency_key_reused")


async def test_a_key_names_the_condition_too(ann: Caller) -> None:
    """A change that is decided anew with a new ETag is another request."""
    message = await said(ann)
    stale = {"If-Match": '"1"', **ONCE}
    fresh = {"If-Match": "*", **ONCE}
    first = await once(ann, "PATCH", message, {"content": "Ho."}, stale)
    again = await once(ann, "PATCH", message, {"content": "Ho."}, fresh)

    assert (first[0], first[1]["code"]) == (412, "precondition_failed")
    assert (again[0], again[1]["code"]) == (422, "idempotency_key_reused")


async def test_two_removals_at_the_same_moment_are_answered_alike(ann: Caller) -> None:
    channel = await den(ann)
    answers = await asyncio.gather(*(once(ann, "DELETE", channel) for _ in range(5)))

    assert answers == [answers[0]] * 5
    assert (answers[0][0], answers[0][1]["local_only"]) == (200, False)


async def test_the_same_key_elsewhere_is_another_request(ann: Caller) -> None:
    """Another channel, another message: it is refused, and has no effect."""
    one, two = await said(ann, "one"), await said(ann, "two")
    await once(ann, "POST", one + "/like", {})
    status, problem = await once(ann, "POST", two + "/like", {})
    seen = await ann.get(two)

    assert (status, problem["code"]) == (422, "idempotency_key_reused")
    assert seen["message"]["reactions"] == {}


async def test_the_key_of_another_account_is_another_key(canopy: Canopy, ann: Caller) -> None:
    bob = await canopy.register("bob")
    body = {"channel_id": "general", "content": "Hi."}
    mine = await once(ann, "POST", "/channels/messages", body)
    theirs = await once(bob, "POST", "/channels/messages", body)

    assert mine[1]["message"]["id"] != theirs[1]["message"]["id"]


async def test_repetitions_at_the_same_moment_are_one(ann: Caller) -> None:
    """They wait for the first, and are answered like it."""
    like = (await said(ann)) + "/like"
    answers = await asyncio.gather(*(once(ann, "POST", like, {}) for _ in range(10)))

    assert answers == [answers[0]] * 10
    assert answers[0][1]["liked"] is True


async def test_a_new_key_is_shown_again_and_never_written_in_clear(
    canopy: Canopy, ann: Caller
) -> None:
    first = await once(ann, "POST", "/keys", {"permissions": ["read_feed"]})
    again = await once(ann, "POST", "/keys", {"permissions": ["read_feed"]})
    commits = (await ann.get("/log?noun=receipt"))["commits"]

    assert first == again
    assert first[1]["api_key"].startswith("cnp_key_")
    assert first[1]["api_key"] not in str(commits)
    assert [one["noun"] for one in commits] == ["receipt"]
    assert commits[0]["events"] == [{"kind": "receipt_kept", "data": {}}]


async def test_an_answer_is_the_same_after_a_restart(tmp_path: Path) -> None:
    """Its ETag and its position too."""
    body = {"channel_id": "general", "content": "Hi."}
    async with running(tmp_path / "node") as canopy:
        ann = await canopy.register("ann")
        status, headers, first = await ann.call("POST", "/channels/messages", body, ONCE)
    async with running(tmp_path / "node") as canopy:
        later = replace(ann, http=canopy.http, base=canopy.up.url)
        again, told, repeated = await later.call("POST", "/channels/messages", body, ONCE)

    assert (status, first) == (again, repeated)
    assert (headers["Etag"], headers["Canopy-Seq"]) == (told["Etag"], told["Canopy-Seq"])


async def test_an_answer_too_large_to_keep_is_given_all_the_same(tmp_path: Path) -> None:
    """The message itself still knows that it was posted."""
    body = {"channel_id": "general", "content": "x" * 49_000}
    async with running(tmp_path / "node", payload_bytes_max=64 * KIB) as canopy:
        ann = await canopy.register("ann")
        first = await once(ann, "POST", "/channels/messages", body)
        again = await once(ann, "POST", "/channels/messages", body)
        page = await ann.get("/channels/general/messages")

    assert first == again
    assert (first[0], page["count"]) == (201, 1)


async def test_nobody_else_hears_of_a_receipt(canopy: Canopy, ann: Caller) -> None:
    """Live pages pass it by, and do not wait for it to be folded."""
    bob = await canopy.register("bob")
    heard = await bob.http.ws_connect(f"{bob.base}/api/v1/live", headers={"X-API-Key": bob.key})
    await heard.receive_json()
    await once(ann, "POST", "/channels/messages", {"channel_id": "general", "content": "Hi."})
    await ann.post("/channels/messages", {"channel_id": "general", "content": "Ho."})
    nouns: list[str] = []
    while len(nouns) < 2:
        frame = await heard.receive_json(timeout=DEADLINE_S)
        nouns += [frame["noun"]] if frame["type"] == "commit" else []
    await heard.close()

    assert nouns == ["message", "message"]

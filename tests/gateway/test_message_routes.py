"""Messages over HTTP: posted, answered, changed, liked, found, and read page by page."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.canopy import Caller, Canopy


@pytest.fixture
async def ann(canopy: Canopy) -> Caller:
    """The owner of the workspace."""
    return await canopy.register("ann")


@pytest.fixture
async def bob(canopy: Canopy, ann: Caller) -> Caller:
    return await canopy.register("bob")


async def said(who: Caller, content: str = "Hi.", **fields: Any) -> dict[str, Any]:
    """A new message in `general`."""
    body = {"channel_id": "general", "content": content, **fields}
    message: dict[str, Any] = (await who.post("/channels/messages", body))["message"]
    return message


def path(message: dict[str, Any], tail: str = "") -> str:
    return f"/channels/{message['channel_id']}/messages/{message['id']}{tail}"


async def refused(who: Caller, method: str, where: str, body: Any = None) -> tuple[int, str]:
    """Status and code of a request that fails."""
    status, _, problem = await who.call(method, where, body)
    return status, problem["code"]


async def test_what_is_posted_is_read_the_same_by_everybody(ann: Caller, bob: Caller) -> None:
    message = await said(ann, attachments=["F1", {"file_id": "F2", "filename": "a.png"}])
    mine = await ann.get(path(message))
    theirs = await bob.get(path(message) + f"?after_seq={message['seq']}")
    page = await bob.get("/channels/general/messages")

    assert mine == theirs == {"message": message}
    assert page["messages"] == [message]
    assert (page["count"], page["channel_id"]) == (1, "general")
    assert set(message) >= {
        "id", "channel_id", "user_id", "content", "type", "created_at", "expires_at", "thread_id",
        "parent_message_id", "reactions", "attachments", "security", "edited_at", "origin_peer",
        "crypto_state", "display_name", "username",
    }  # fmt: skip
    assert [one["name"] for one in message["attachments"]] == ["file", "a.png"]


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"content": ""}, None),
        ({"content": " \n"}, None),
        ({"content": "x" * 50_001}, "content"),
        ({"content": 7}, "content"),
        ({"content": "x", "attachments": ["F"] * 21}, "attachments"),
        ({"content": "x", "attachments": [{"name": "a"}]}, "attachments.0"),
        ({"content": "x", "parent_message_id": "a.b"}, "parent_message_id"),
        ({"content": "x", "reply_to": "M0"}, "parent_message_id"),
        ({"content": "x", "reply_to": "M0", "parent_message_id": "M1"}, "reply_to"),
        ({"content": "x", "security": {"colour": "red"}}, "security.colour"),
        ({"content": "x", "ttl_seconds": 0}, "ttl_seconds"),
        ({"content": "x", "expires_at": "yesterday"}, "expires_at"),
        ({"content": "x", "channel_id": "no id"}, "channel_id"),
    ],
)
async def test_what_is_no_message(ann: Caller, fields: dict[str, Any], field: str | None) -> None:
    body = {"channel_id": "general", **fields}
    status, _, problem = await ann.call("POST", "/channels/messages", body)

    assert status == 400
    assert field is None or problem["errors"][0]["field"].startswith(field)


async def test_fifty_thousand_signs_are_a_message(ann: Caller) -> None:
    assert len((await said(ann, "🐝" * 50_000))["content"]) == 50_000


async def test_a_reply_belongs_to_the_thread_of_its_parent(ann: Caller, bob: Caller) -> None:
    root = await said(ann)
    reply = await said(bob, reply_to=root["id"])
    deeper = await said(ann, parent_message_id=reply["id"])
    await said(bob)
    thread = await bob.get(path(root, "/thread") + f"?after_seq={deeper['seq']}")

    assert (reply["parent_message_id"], reply["thread_id"]) == (root["id"], root["id"])
    assert (deeper["parent_message_id"], deeper["thread_id"]) == (reply["id"], root["id"])
    assert [one["id"] for one in thread["messages"]] == [root["id"], reply["id"], deeper["id"]]


async def test_a_thread_is_found_by_any_message_in_it(ann: Caller) -> None:
    den = (await ann.post("/channels", {"name": "den"}))["channel"]["id"]
    root = await said(ann)
    reply = await said(ann, reply_to=root["id"])
    whole = await ann.get(path(root, "/thread"))
    same = await ann.get(path(reply, "/thread"))
    absent = (404, "message_absent")

    assert whole == same
    assert (whole["thread_id"], whole["count"]) == (root["id"], 2)
    assert await refused(ann, "GET", f"/channels/{den}/messages/{root['id']}/thread") == absent
    assert await refused(ann, "GET", "/channels/general/messages/M0/thread") == absent


async def test_a_parent_is_in_the_same_channel_and_still_there(ann: Caller) -> None:
    den = (await ann.post("/channels", {"name": "den"}))["channel"]["id"]
    elsewhere = await said(ann, channel_id=den)
    gone = await said(ann)
    await ann.ok("DELETE", path(gone))
    body = {"channel_id": "general", "content": "x"}
    outcomes = [
        await refused(ann, "POST", "/channels/messages", body | {"reply_to": parent["id"]})
        for parent in (elsewhere, gone)
    ]

    assert outcomes == [(400, "parent_absent")] * 2


async def test_nobody_answers_what_he_has_just_deleted(ann: Caller) -> None:
    outcomes = set()
    for _ in range(10):
        gone = await said(ann)
        await ann.ok("DELETE", path(gone))
        body = {"channel_id": "general", "content": "x", "reply_to": gone["id"]}
        outcomes.add(await refused(ann, "POST", "/channels/messages", body))

    assert outcomes == {(400, "parent_absent")}


async def test_members_are_mentioned_by_name(ann: Caller, bob: Caller) -> None:
    message = await said(ann, "Hi @bob, @ann, @nobody and bob@ann.example")

    assert message["mentions"] == [bob.id]


async def test_who_muted_a_channel_is_not_mentioned(ann: Caller, bob: Caller) -> None:
    await bob.post("/channels/general/mute", {"muted": True})

    assert (await said(ann, "Hi @bob"))["mentions"] == []


async def test_an_edit_is_seen_and_remembered(ann: Caller, bob: Caller) -> None:
    message = await said(ann, "Helo", attachments=["F1"])
    await ann.ok("PATCH", path(message), {"content": "Hello @bob"})
    await ann.ok("PUT", path(message), {"attachments": []})
    read = (await ann.get(path(message)))["message"]
    history = await ann.get(path(message, "/history"))

    assert (read["content"], read["attachments"], read["mentions"]) == ("Hello @bob", [], [bob.id])
    assert read["edited_at"] > read["created_at"]
    assert [one["content"] for one in history["versions"]] == ["Helo", "Hello @bob", "Hello @bob"]


async def test_only_authors_change_their_messages(ann: Caller, bob: Caller) -> None:
    message = await said(ann)

    assert await refused(bob, "PATCH", path(message), {"content": "x"}) == (403, "not_author")
    assert await refused(bob, "DELETE", path(message)) == (403, "not_author")
    assert await refused(ann, "PATCH", path(message), {}) == (400, "invalid_request")
    assert await refused(ann, "PATCH", path(message), {"content": ""}) == (400, "empty_message")


async def test_in_an_archive_words_are_taken_back_but_not_changed(ann: Caller) -> None:
    den = (await ann.post("/channels", {"name": "den"}))["channel"]["id"]
    message = await said(ann, channel_id=den)
    await ann.ok("PATCH", f"/channels/{den}/lifecycle", {"archived": True})
    archived = (409, "channel_archived")

    assert await refused(ann, "PATCH", path(message), {"content": "x"}) == archived
    assert await refused(ann, "PUT", path(message), {"content": "x"}) == archived
    assert (await ann.ok("DELETE", path(message)))["success"]


async def test_what_is_deleted_is_gone_for_all(ann: Caller, bob: Caller) -> None:
    message = await said(ann, "secret")
    gone = await ann.ok("DELETE", path(message))
    after = f"?after_seq={gone['seq']}"
    absent = (404, "message_absent")

    assert await refused(bob, "GET", path(message) + after) == absent
    assert await refused(bob, "GET", path(message, "/history")) == absent
    assert await refused(bob, "POST", path(message, "/like"), {}) == absent
    assert await refused(ann, "DELETE", path(message)) == absent
    assert (await bob.get("/channels/general/messages"))["messages"] == []
    assert (await bob.get("/channels/general/search?q=secret"))["count"] == 0


async def test_an_edit_on_old_knowledge_is_refused(ann: Caller) -> None:
    message = await said(ann)
    _, headers, _ = await ann.call("GET", path(message))
    tag = {"If-Match": headers["Etag"]}
    first, changed, _ = await ann.call("PATCH", path(message), {"content": "one"}, tag)
    second, _, problem = await ann.call("PATCH", path(message), {"content": "two"}, tag)

    assert headers["Etag"] == f'"{message["seq"]}"'
    assert (first, changed["Etag"]) == (200, f'"{changed["Canopy-Seq"]}"')
    assert (second, problem["code"]) == (412, "precondition_failed")


async def test_a_reaction_toggles_and_leaves_others_alone(ann: Caller, bob: Caller) -> None:
    message = await said(ann)
    likes = path(message, "/like")
    first = await bob.post(likes, {})
    second = await bob.post(likes, {"reaction_type": "love"})
    unknown = await ann.post(likes, {"reaction_type": "shrug"})
    back = await bob.post(likes, {"reaction_type": "like"})
    read = (await bob.get(path(message)))["message"]

    assert first == {"liked": True, "reaction_type": "like", "like_counts": {"like": 1}}
    assert second["like_counts"] == {"like": 1, "love": 1}
    assert unknown["reaction_type"] == "like"
    assert (back["liked"], back["like_counts"]) == (False, {"like": 1, "love": 1})
    assert read["reactions"] == {"like": [ann.id], "love": [bob.id]}


async def test_a_repeated_like_is_one_like(ann: Caller, bob: Caller) -> None:
    message = await said(ann)
    once = {"Idempotency-Key": "like-1"}
    _, _, first = await bob.call("POST", path(message, "/like"), {}, once)
    await ann.post(path(message, "/like"), {})
    _, _, again = await bob.call("POST", path(message, "/like"), {}, once)

    assert first == again == {"liked": True, "reaction_type": "like", "like_counts": {"like": 1}}


async def test_reacting_takes_the_message_to_be_in_that_channel(ann: Caller) -> None:
    den = (await ann.post("/channels", {"name": "den"}))["channel"]["id"]
    message = await said(ann)

    absent = (404, "message_absent")
    assert (
        await refused(ann, "POST", f"/channels/{den}/messages/{message['id']}/like", {}) == absent
    )
    assert await refused(ann, "GET", f"/channels/{den}/messages/{message['id']}") == absent


async def test_pages_stand_still_while_others_write(ann: Caller) -> None:
    ids = [(await said(ann, str(nth)))["id"] for nth in range(7)]
    newest = await ann.get("/channels/general/messages?limit=3")
    late = await said(ann, "late")
    older = await ann.get(f"/channels/general/messages?limit=3&cursor={newest['next']}")
    before = await ann.get(f"/channels/general/messages?limit=3&before={ids[4]}")
    oldest = await ann.get(f"/channels/general/messages?limit=3&cursor={older['next']}")
    newer = await ann.get(f"/channels/general/messages?limit=3&cursor={newest['prev']}")
    pages = [[one["id"] for one in page["messages"]] for page in (newest, older, oldest, newer)]

    assert pages == [ids[4:7], ids[1:4], ids[0:1], [late["id"]]]
    assert before["messages"] == older["messages"]
    assert oldest["next"] is None


async def test_a_page_is_full_although_some_were_deleted(ann: Caller) -> None:
    messages = [await said(ann, str(nth)) for nth in range(30)]
    for message in messages[5:29]:
        await ann.ok("DELETE", path(message))
    page = await ann.get("/channels/general/messages?limit=4")

    assert [one["content"] for one in page["messages"]] == ["2", "3", "4", "29"]


async def test_a_cursor_belongs_to_its_list(ann: Caller) -> None:
    den = (await ann.post("/channels", {"name": "den"}))["channel"]["id"]
    await said(ann)
    page = await ann.get("/channels/general/messages?limit=1")
    lists = "/channels/general/messages?"

    assert await refused(ann, "GET", f"/channels/{den}/messages?cursor={page['prev']}") == (
        422, "invalid_cursor",
    )  # fmt: skip
    assert await refused(ann, "GET", f"{lists}cursor=x") == (422, "invalid_cursor")
    assert await refused(ann, "GET", f"{lists}before=M0") == (404, "message_absent")
    assert await refused(ann, "GET", f"{lists}limit=0") == (400, "invalid_request")
    assert (await ann.get(f"{lists}limit=100000"))["count"] == 1


async def test_search_finds_present_content_literally(ann: Caller) -> None:
    first = await said(ann, "100% honey")
    await said(ann, "100 bees")
    await ann.ok("PATCH", path(await said(ann, "x")), {"content": "HONEY is 100%"})
    found = await ann.get("/channels/general/search?q=100%25")
    one = await ann.get("/channels/general/search?q=honey&limit=1")
    two = await ann.get(f"/channels/general/search?q=honey&limit=1&cursor={one['next']}")

    assert (found["count"], found["query"]) == (2, "100%")
    assert [m["content"] for m in found["messages"]] == ["HONEY is 100%", "100% honey"]
    assert two["messages"][0]["id"] == first["id"]
    assert (await refused(ann, "GET", "/channels/general/search"))[0] == 400


async def test_what_has_expired_is_neither_changed_nor_liked(ann: Caller) -> None:
    message = await said(ann, ttl_seconds=1)
    async with asyncio.timeout(10):
        while (await ann.call("GET", path(message)))[0] != 404:
            await ann.post("/channels/general/read", {})
    absent = (404, "message_absent")

    assert await refused(ann, "PATCH", path(message), {"content": "x"}) == absent
    assert await refused(ann, "PUT", path(message), {"attachments": []}) == absent
    assert await refused(ann, "POST", path(message, "/like"), {}) == absent


async def test_threads_are_followed_and_left(ann: Caller, bob: Caller) -> None:
    root = await said(ann)
    reply = await said(bob, reply_to=root["id"])
    where = f"/channels/threads/subscription?channel_id=general&message_id={reply['id']}"
    wish = {"channel_id": "general", "message_id": reply["id"]}
    mine = await ann.get(where)
    theirs = await bob.get(where)
    toggled = await bob.post("/channels/threads/subscription", wish)
    left = await ann.post("/channels/threads/subscription", wish | {"subscribed": False})
    after = await ann.get(where)
    unknown = await refused(ann, "GET", where.replace(reply["id"], "M0"))

    assert (mine["subscribed"], mine["explicit_subscribed"], mine["is_root_author"]) == (
        True,
        None,
        True,
    )
    assert (theirs["subscribed"], theirs["thread_root_message_id"]) == (False, root["id"])
    assert (toggled["subscribed"], toggled["explicit_subscribed"]) == (True, True)
    assert left == after
    assert unknown == (404, "message_absent")


async def test_a_repeated_post_is_one_message(ann: Caller) -> None:
    once = {"Idempotency-Key": "post-1"}
    body = {"channel_id": "general", "content": "Hi."}
    first = await ann.call("POST", "/channels/messages", body, once)
    await ann.ok("PATCH", path(first[2]["message"]), {"content": "edited"})
    again = await ann.call("POST", "/channels/messages", body, once)
    other = await ann.call("POST", "/channels/messages", body | {"content": "Ho."}, once)
    page = await ann.get("/channels/general/messages")

    assert (first[0], first[2]) == (again[0], again[2])
    assert (other[0], other[2]["code"]) == (422, "idempotency_key_reused")
    assert page["count"] == 1

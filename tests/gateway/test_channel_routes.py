"""Channels over HTTP: opened, joined, described, archived, read; and hidden from strangers."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.canopy import Caller, Canopy
from tests.gateway.browser import signed_in


@pytest.fixture
async def ann(canopy: Canopy) -> Caller:
    """The owner of the workspace."""
    return await canopy.register("ann")


@pytest.fixture
async def bob(canopy: Canopy, ann: Caller) -> Caller:
    return await canopy.register("bob")


async def opened(who: Caller, name: str = "den", **fields: str) -> str:
    """The id of a new channel."""
    answer = await who.post("/channels", {"name": name, **fields})
    return str(answer["channel"]["id"])


async def test_everybody_belongs_to_general(bob: Caller) -> None:
    listed = await bob.get("/channels")
    (general,) = listed["channels"]

    assert listed["count"] == 1
    assert (general["id"], general["type"], general["user_role"]) == (
        "general",
        "general",
        "member",
    )
    assert (general["lifecycle_preserved"], general["member_count"]) == (True, 2)


async def test_a_channel_is_opened_with_every_field(ann: Caller) -> None:
    answer = await ann.post(
        "/channels", {"name": "#den", "type": "private", "privacy_mode": "private"}
    )
    read = await ann.get(f"/channels/{answer['channel']['id']}")

    assert answer["success"]
    assert answer["channel"]["name"] == "den"
    assert (answer["channel"]["created_by"], answer["channel"]["user_role"]) == (ann.id, "admin")
    assert read["channel"] | {"seq": 0, "read_seq": 0} == answer["channel"] | {
        "seq": 0, "read_seq": 0, "days_until_archive": read["channel"]["days_until_archive"],
    }  # fmt: skip


@pytest.mark.parametrize(
    "body",
    [
        {}, {"name": ""}, {"name": "#"}, {"name": "x" * 101}, {"name": "a", "type": "dm"},
        {"name": "a", "privacy_mode": "loud"}, {"name": "a", "crypto_mode": "e2e_enforced"},
    ],
)  # fmt: skip
async def test_what_is_no_channel(ann: Caller, body: dict[str, str]) -> None:
    status, _, problem = await ann.call("POST", "/channels", body)

    assert (status, problem["code"]) == (400, "invalid_request")


async def test_the_private_the_unknown_and_the_impossible_are_answered_alike(
    ann: Caller, bob: Caller
) -> None:
    secret = await opened(ann, type="private")
    answers = {}
    for channel_id in (secret, "C0000000000000000", "no.id"):
        for method, tail, body in (
            ("GET", "", None),
            ("GET", "/messages", None),
            ("GET", "/members", None),
            ("GET", "/search?q=x", None),
            ("PATCH", "", {"name": "x"}),
            ("DELETE", f"/members/{bob.id}", None),
            ("POST", "/read", {}),
            ("POST", "/messages/M1/like", {}),
        ):
            status, _, problem = await bob.call(method, f"/channels/{channel_id}{tail}", body)
            answers[status, problem["code"], problem["detail"] if channel_id != "no.id" else ""] = 1
    posted, _, problem = await bob.call(
        "POST", "/channels/messages", {"channel_id": secret, "content": "x"}
    )

    assert {(status, code) for status, code, _ in answers} == {(404, "channel_absent")}
    assert len({detail for _, _, detail in answers if detail}) == 1
    assert (posted, problem["error"]) == (404, "Not found")


async def test_public_channels_are_found_and_joined(ann: Caller, bob: Caller) -> None:
    den = await opened(ann)
    before = await bob.get("/channels?joinable=true")
    unheard, _, _ = await bob.call("GET", f"/channels/{den}/messages")
    await bob.post(f"/channels/{den}/members", {"user_id": bob.id})
    members = await bob.get(f"/channels/{den}/members")
    heard, _, _ = await bob.call("GET", f"/channels/{den}/messages")
    await bob.ok("DELETE", f"/channels/{den}/members/{bob.id}")
    after = await bob.get("/channels")

    assert [one["id"] for one in before["channels"]] == [den]
    assert (unheard, heard) == (404, 200)
    assert [(one["username"], one["role"]) for one in members["members"]] == [
        ("ann", "admin"),
        ("bob", "member"),
    ]
    assert den not in [one["id"] for one in after["channels"]]


async def test_admins_add_promote_and_remove(ann: Caller, bob: Caller) -> None:
    den = await opened(ann, type="private")
    stranger, _, problem = await ann.call("POST", f"/channels/{den}/members", {"user_id": "user_0"})
    last, _, kept = await ann.call("DELETE", f"/channels/{den}/members/{ann.id}")
    await ann.post(f"/channels/{den}/members", {"user_id": bob.id})
    may_not, _, _ = await bob.call("DELETE", f"/channels/{den}/members/{ann.id}")
    promoted = await ann.ok("PUT", f"/channels/{den}/members/{bob.id}/role", {"role": "admin"})
    await bob.ok("DELETE", f"/channels/{den}/members/{ann.id}")
    gone, _, _ = await ann.call("GET", f"/channels/{den}")

    assert (stranger, problem["code"]) == (404, "account_absent")
    assert (last, kept["code"]) == (409, "last_admin")
    assert (may_not, promoted["role"], gone) == (403, "admin", 404)


async def test_general_stays_as_it_is(ann: Caller, bob: Caller, canopy: Canopy) -> None:
    owner = await signed_in(canopy, "ann")
    outcomes = [
        await owner.call("DELETE", "/channels/general"),
        await owner.call("DELETE", f"/channels/general/members/{bob.id}"),
        await owner.call("PATCH", "/channels/general", {"privacy_mode": "private"}),
        await owner.call("PATCH", "/channels/general/lifecycle", {"archived": True}),
    ]
    topic, _ = await owner.call("PATCH", "/channels/general", {"topic": "Bees"})
    other, _, problem = await bob.call("PATCH", "/channels/general", {"topic": "Wasps"})

    assert {(status, problem["code"]) for status, problem in outcomes} == {
        (403, "general_is_fixed")
    }
    assert (topic, other, problem["code"]) == (200, 403, "not_admin")


async def test_a_change_on_old_knowledge_is_refused(ann: Caller) -> None:
    den = await opened(ann)
    _, headers, _ = await ann.call("GET", f"/channels/{den}")
    tag = {"If-Match": headers["Etag"]}
    first, changed, answer = await ann.call("PATCH", f"/channels/{den}", {"topic": "Bees"}, tag)
    second, _, problem = await ann.call("PUT", f"/channels/{den}", {"topic": "Wasps"}, tag)
    known = {"If-None-Match": changed["Etag"]}
    status, _, read = await ann.call("GET", f"/channels/{den}", headers=known)

    assert (first, answer["privacy_mode"]) == (200, "open")
    assert (second, problem["code"]) == (412, "precondition_failed")
    assert (status, read["channel"]["topic"]) == (200, "Bees")


@pytest.mark.parametrize("privacy_mode", ["private", "confidential"])
async def test_privacy_hides_a_public_channel(ann: Caller, bob: Caller, privacy_mode: str) -> None:
    den = await opened(ann)
    shown = await bob.get("/channels?joinable=true")
    await ann.ok("PATCH", f"/channels/{den}", {"privacy_mode": privacy_mode})
    hidden = await bob.get("/channels?joinable=true")
    status, _, problem = await bob.call("GET", f"/channels/{den}")

    assert [one["id"] for one in shown["channels"]] == [den]
    assert hidden["channels"] == []
    assert (status, problem["code"]) == (404, "channel_absent")


async def test_a_lifecycle_is_set_and_ended(ann: Caller, canopy: Canopy) -> None:
    den = await opened(ann)
    path = f"/channels/{den}/lifecycle"
    short = await ann.ok("PATCH", path, {"ttl_days": 7})
    archived = await ann.ok("PUT", path, {"archived": True})
    refused, _, _ = await ann.call("PATCH", path, {"ttl_days": 731})
    nothing, _, _ = await ann.call("PATCH", path, {})
    adding, _, problem = await ann.call("POST", f"/channels/{den}/members", {"user_id": ann.id})
    may_not, _, scope = await ann.call("DELETE", f"/channels/{den}")
    removed, _ = await (await signed_in(canopy, "ann")).call("DELETE", f"/channels/{den}")
    gone, _, _ = await ann.call("GET", f"/channels/{den}")

    assert (short["lifecycle"]["ttl_days"], short["lifecycle"]["status"]) == (7, "expiring")
    assert archived["lifecycle"]["archived_at"] is not None
    assert archived["lifecycle"]["status"] == "archived"
    assert (refused, nothing) == (400, 400)
    assert (adding, problem["code"]) == (409, "channel_archived")
    assert (may_not, scope["scope"]) == (403, "delete_data")
    assert (removed, gone) == (200, 404)


async def test_unread_is_what_others_have_said_since(ann: Caller, bob: Caller) -> None:
    posts = [
        await ann.post("/channels/messages", {"channel_id": "general", "content": str(nth)})
        for nth in range(3)
    ]
    await bob.post("/channels/messages", {"channel_id": "general", "content": "mine"})
    before = (await bob.get(f"/channels/general?after_seq={posts[-1]['seq']}"))["channel"]
    one = await bob.post("/channels/general/read", {"message_id": posts[1]["message"]["id"]})
    beyond = await bob.post("/channels/general/read", {"seq": 10**15})
    back = await bob.post("/channels/general/read", {"seq": 1})
    unknown, _, _ = await bob.call("POST", "/channels/general/read", {"message_id": "M0"})
    more = await ann.post("/channels/messages", {"channel_id": "general", "content": "more"})
    after = await bob.get(f"/channels/general?after_seq={more['seq']}")

    assert (before["unread_count"], one["unread_count"], beyond["unread_count"]) == (3, 1, 0)
    assert beyond["read_seq"] < 10**15
    assert (back["read_seq"], unknown) == (beyond["read_seq"], 404)
    assert after["channel"]["unread_count"] == 1


async def test_the_past_before_one_came_is_not_unread(canopy: Canopy, ann: Caller) -> None:
    await ann.post("/channels/messages", {"channel_id": "general", "content": "long ago"})
    bob = await canopy.register("bob")
    (general,) = (await bob.get("/channels"))["channels"]

    assert general["unread_count"] == 0
    assert general["last_message_at"] is not None


async def test_what_was_deleted_was_not_the_last_word(ann: Caller) -> None:
    kept = await ann.post("/channels/messages", {"channel_id": "general", "content": "kept"})
    gone = await ann.post("/channels/messages", {"channel_id": "general", "content": "gone"})
    await ann.ok("DELETE", f"/channels/general/messages/{gone['message']['id']}")
    (general,) = (await ann.get("/channels"))["channels"]
    await ann.ok("DELETE", f"/channels/general/messages/{kept['message']['id']}")
    (silent,) = (await ann.get("/channels"))["channels"]

    assert general["last_message_at"] == kept["message"]["created_at"]
    assert silent["last_message_at"] is None


async def test_a_muted_channel_says_so(bob: Caller) -> None:
    await bob.post("/channels/general/mute", {"muted": True})
    muted = await bob.get("/channels/general")
    await bob.post("/channels/general/mute", {"muted": False})
    heard = await bob.get("/channels/general")

    assert not muted["channel"]["notifications_enabled"]
    assert heard["channel"]["notifications_enabled"]


async def test_a_channel_is_opened_once(ann: Caller) -> None:
    once = {"Idempotency-Key": "den-1"}
    _, _, first = await ann.call("POST", "/channels", {"name": "den"}, once)
    await ann.ok("PATCH", f"/channels/{first['channel']['id']}", {"name": "hive"})
    _, _, again = await ann.call("POST", "/channels", {"name": "den"}, once)
    status, _, problem = await ann.call("POST", "/channels", {"name": "lair"}, once)

    assert first == again
    assert (status, problem["code"]) == (422, "idempotency_key_reused")


async def test_accounts_are_listed_in_pages(ann: Caller, bob: Caller) -> None:
    first = await bob.get("/accounts?limit=1")
    second = await bob.get(f"/accounts?limit=1&cursor={first['next']}")
    named = await bob.get("/accounts?username=ANN")
    one = await bob.get(f"/accounts/{ann.id}")
    unknown, _, _ = await bob.call("GET", "/accounts/user_0")

    assert [one["username"] for one in (*first["accounts"], *second["accounts"])] == ["ann", "bob"]
    assert (second["next"], named["count"], unknown) == (None, 1, 404)
    assert one["account"] == named["accounts"][0]
    assert "password" not in str(one)


async def test_a_profile_is_ones_own(ann: Caller, bob: Caller) -> None:
    await bob.post("/profile", {"display_name": "Robert", "bio": "Gardener.", "account_type": "x"})
    profile = await bob.get("/profile")
    refused, _, problem = await bob.call("POST", "/profile", {"agent_directives": "Be brief."})
    nothing, _, _ = await bob.call("POST", "/profile", {})

    assert (profile["display_name"], profile["bio"]) == ("Robert", "Gardener.")
    assert (profile["account_type"], profile["agent_directives_effective"]) == ("human", None)
    assert (refused, problem["code"], nothing) == (403, "not_owner", 400)


async def test_the_owner_directs_agents(canopy: Canopy, ann: Caller) -> None:
    owner = await signed_in(canopy, "ann")
    _, registered = await owner.call(
        "POST", "/register",
        {"username": "bee", "password": "Correct-horse-7", "account_type": "agent"},
    )  # fmt: skip
    bee = replace(canopy.nobody, id=registered["user_id"], key=registered["api_key"])
    default = await bee.get("/agent-instructions")
    await owner.call("POST", f"/accounts/{bee.id}/directives", {"agent_directives": "Be brief."})
    custom = await bee.get("/agent-instructions")
    public = await canopy.nobody.get("/agent-instructions")

    assert default["agent_directives_source"]["source"] == "default"
    assert custom["agent_directives"] == "Be brief."
    assert custom["agent_directives_source"]["source"] == "custom"
    assert "agent_directives" not in public

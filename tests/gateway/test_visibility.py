"""Who is shown which event live, and what nobody is ever shown."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from gateway.directory import Channel
from gateway.policy import Principal, visible
from gateway.redaction import redact
from tests.gateway.people import Town, account, channel

PRIVATE = channel("private", bob="admin")
CONFIDENTIAL = channel("public", "confidential", bob="admin")
PUBLIC = channel("public", bob="admin")


@pytest.mark.parametrize(
    ("place", "noun", "key", "kind", "author", "who"),
    [
        (PRIVATE, "message", "C1.M1", "message_posted", "bob", "b"),
        (PRIVATE, "message", "C9.M1", "message_posted", "bob", ""),
        (PRIVATE, "channel", "C1", "channel_described", "bob", "b"),
        (PRIVATE, "channel", "C9", "channel_described", "bob", ""),
        (CONFIDENTIAL, "channel", "C1", "channel_described", "bob", "b"),
        (PUBLIC, "message", "C1.M1", "message_posted", "bob", "b"),
        (PUBLIC, "channel", "C1", "channel_opened", "bob", "abc"),
        (PUBLIC, "channel", "C1", "channel_described", "bob", "abc"),
        (PUBLIC, "channel", "C1", "member_added", "bob", "b"),
        (PUBLIC, "channel", "C1", "role_changed", "bob", "b"),
        (PUBLIC, "channel", "C1", "member_removed", "bob", "b"),
        (PRIVATE, "channel", "C1", "member_removed", "cyd", "b"),
        (PUBLIC, "message", "general.M1", "message_posted", "bob", "abc"),
        (PUBLIC, "message", "general.M1", "thread_followed", "cyd", "c"),
        (PUBLIC, "channel", "general", "channel_muted", "cyd", "c"),
        (PUBLIC, "cursor", "general.bob", "cursor_advanced", "bob", "b"),
        (PUBLIC, "account", "bob", "profile_changed", "bob", "abc"),
        (PUBLIC, "account", "bob", "key_created", "bob", "b"),
        (PUBLIC, "account", "bob", "session_opened", "bob", "b"),
        (PUBLIC, "account", "bob", "password_changed", "bob", "b"),
        (PUBLIC, "workspace", "main", "workspace_claimed", "system", "abc"),
        (PUBLIC, "workspace", "main", "code_issued", "ann", "a"),
        (PUBLIC, "rumour", "main", "rumour_spread", "ann", ""),
    ],
)
def test_who_sees_what_live(
    place: Channel, noun: str, key: str, kind: str, author: str, who: str
) -> None:
    assert Town(place).seeing(noun, key, kind, author) == who


def test_own_keys_are_seen_with_the_right_to_manage_them() -> None:
    me = Principal(account("bob"), frozenset({"read_feed"}))

    assert not visible(me, Town(PUBLIC), "account", "bob", "key_created")


def test_members_see_that_their_channel_is_removed() -> None:
    town = Town(replace(PRIVATE, removed=True))

    assert town.seeing("channel", "C1", "channel_removed") == "b"
    assert town.seeing("message", "C1.M1", "message_posted") == ""


@pytest.mark.parametrize(
    ("kind", "data", "shown"),
    [
        ("account_registered", {"username": "ann", "password_sealed": "x"}, {"username": "ann"}),
        ("password_changed", {"password_sealed": "x"}, {}),
        ("key_created", {"key_id": "K1", "secret_hash": "x"}, {"key_id": "K1"}),
        ("profile_changed", {"bio": "A bee.", "agent_directives": "Be brief."}, {"bio": "A bee."}),
        ("code_issued", {"code_id": "R1", "secret_hash": "x"}, {"code_id": "R1"}),
        ("session_opened", {"session_id": "S1", "expires_at": "x"}, {"expires_at": "x"}),
        ("message_posted", {"content": "Hi."}, {"content": "Hi."}),
    ],
)
def test_secrets_never_leave(kind: str, data: dict[str, Any], shown: dict[str, Any]) -> None:
    assert redact(kind, data) == shown

"""Rights, walked whole: scope × membership × role × account state × verb.

What is allowed stands here a second time, in the words of the specification, as tables; the rest
of the matrix is refused, and refused in the right words.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import product
from typing import get_args

import msgspec
import pytest

from gateway.directory import Channel
from gateway.errors import CATALOGUE
from gateway.policy import (
    ALL_SCOPES,
    NOBODY,
    NOTHING,
    RULES,
    Principal,
    Subject,
    Verb,
    admit,
    authorise,
    holds,
)
from schemas.account import Scope, Status
from schemas.channel import Role
from schemas.envelope import Refused
from tests.gateway.people import account, channel

VERBS: tuple[Verb, ...] = get_args(Verb)

OPEN: frozenset[Verb] = frozenset({"look", "learn", "measure", "sign_in", "register", "read_info"})
"""Verbs of those who have no account."""

SCOPES: dict[Verb, Scope] = {
    "judge_account": "manage_keys",
    "direct_agent": "manage_keys",
    "issue_codes": "manage_keys",
    "manage_keys": "manage_keys",
    "create_key": "manage_keys",
    "list_accounts": "read_feed",
    "list_channels": "read_feed",
    "open_channel": "write_feed",
    "see_channel": "read_feed",
    "describe_channel": "write_feed",
    "change_privacy": "write_feed",
    "change_lifecycle": "write_feed",
    "remove_channel": "delete_data",
    "list_members": "read_feed",
    "add_member": "write_feed",
    "remove_member": "write_feed",
    "change_role": "write_feed",
    "mute_channel": "write_feed",
    "read_messages": "read_feed",
    "post_message": "write_feed",
    "change_message": "write_feed",
    "take_back": "write_feed",
    "react": "write_messages",
    "advance_cursor": "read_feed",
    "read_thread": "read_feed",
    "follow_thread": "write_feed",
    "follow_log": "read_feed",
    "ask": "read_feed",
    "operate": "delete_data",
}
"""Verbs that need a scope; `read_messages` stands for `read_feed`, `write_messages` likewise."""

MEMBER = frozenset({"member", "admin", "owner member", "owner admin"})
ADMIN = frozenset({"admin", "owner member", "owner admin"})
OWNER_SEES = frozenset({"owner"})
ANYBODY = frozenset({"stranger"})

IN_CHANNELS: dict[Verb, frozenset[str]] = {
    "read_messages": MEMBER,
    "post_message": MEMBER,
    "change_message": MEMBER,
    "take_back": MEMBER,
    "react": MEMBER,
    "advance_cursor": MEMBER,
    "read_thread": MEMBER,
    "follow_thread": MEMBER,
    "list_members": MEMBER,
    "mute_channel": MEMBER,
    "see_channel": MEMBER | OWNER_SEES | ANYBODY,
    "describe_channel": ADMIN | OWNER_SEES,
    "change_privacy": ADMIN | OWNER_SEES,
    "change_lifecycle": ADMIN | OWNER_SEES,
    "remove_channel": ADMIN | OWNER_SEES,
    "change_role": ADMIN | OWNER_SEES,
}
"""Who may do what in a public channel. In a hidden one `owner` and `stranger` see nothing."""

STANDINGS: dict[str, tuple[bool, Role | None]] = {
    "stranger": (False, None),
    "member": (False, "member"),
    "admin": (False, "admin"),
    "owner": (True, None),
    "owner member": (True, "member"),
    "owner admin": (True, "admin"),
}
"""Name → (owner of the workspace, role in the channel)."""

HIDDEN = (
    channel("private"),
    channel(privacy_mode="private"),
    channel(privacy_mode="confidential"),
)
"""Channels that only their members know of."""


def principal(
    status: Status = "active", scopes: frozenset[Scope] = ALL_SCOPES, *, owner: bool = False
) -> Principal:
    return Principal(account(status=status), scopes, owner, session_id="S1")


def outcome(who: Principal, verb: Verb, about: Subject = NOTHING) -> str:
    """`allowed`, or the code of the refusal."""
    try:
        authorise(who, verb, about)
    except Refused as refused:
        return refused.code
    return "allowed"


def subjects() -> Iterator[Subject]:
    """Every kind of thing a verb can be about."""
    places: list[Channel | None] = [
        None, channel(), channel(privacy_mode="guarded"), *HIDDEN, channel("general"),
    ]  # fmt: skip
    roles: tuple[Role | None, ...] = (None, "member", "admin")
    for place, role in product(places, roles):
        yield Subject(place, role if place else None, account_id="bob")
        yield Subject(place, role if place else None, account_id="ann", invited=True, local=True)


def test_every_verb_has_its_rule() -> None:
    assert set(RULES) == set(VERBS)


@pytest.mark.parametrize("verb", VERBS)
def test_nobody_may_do_only_what_is_open(verb: Verb) -> None:
    outcomes = {outcome(NOBODY, verb, about) for about in subjects()}

    assert ("allowed" in outcomes) == (verb in OPEN)
    assert outcomes <= {"allowed", "credential_required", "registration_closed"}


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("owner", [True, False])
def test_the_suspended_may_do_only_what_is_open(verb: Verb, owner: bool) -> None:  # noqa: FBT001
    """And that as anybody may who shows no credential."""
    shut_out = principal("suspended", owner=owner)
    for about in subjects():
        as_nobody = outcome(NOBODY, verb, about)
        needs = as_nobody == "credential_required"

        assert outcome(shut_out, verb, about) == ("account_suspended" if needs else as_nobody)


@pytest.mark.parametrize("verb", VERBS)
def test_the_pending_may_ask_for_their_status(verb: Verb) -> None:
    outcomes = {outcome(principal("pending_approval"), verb, about) for about in subjects()}
    waits = outcomes == {"pending_approval"}

    assert waits == (verb not in OPEN | {"ask_own_status"})


@pytest.mark.parametrize("verb", VERBS)
def test_scopes_are_what_the_specification_says(verb: Verb) -> None:
    needed = SCOPES.get(verb)
    enough = {scope for scope in ALL_SCOPES if needed and holds(frozenset({scope}), needed)}
    passes = {scope for scope in ALL_SCOPES if admitted(frozenset({scope}), verb) == "admitted"}

    assert passes == (enough if needed else ALL_SCOPES)
    assert admitted(frozenset(), verb) == (f"needs {needed}" if needed else "admitted")


def admitted(scopes: frozenset[Scope], verb: Verb) -> str:
    """`admitted`, or what is missing."""
    try:
        admit(principal(scopes=scopes, owner=True), verb)
    except Refused as refused:
        return f"needs {refused.detail['scope']}"
    return "admitted"


def test_messages_stand_for_the_feed_but_never_the_reverse() -> None:
    assert holds(frozenset({"read_messages"}), "read_feed")
    assert holds(frozenset({"write_messages"}), "write_feed")
    assert not holds(frozenset({"read_feed"}), "read_messages")
    assert not holds(frozenset({"write_feed"}), "write_messages")
    assert not holds(frozenset({"write_messages"}), "read_feed")


@pytest.mark.parametrize("verb", IN_CHANNELS)
@pytest.mark.parametrize("standing", STANDINGS)
def test_rights_in_a_public_channel(verb: Verb, standing: str) -> None:
    owner, role = STANDINGS[standing]
    answer = outcome(principal(owner=owner), verb, Subject(channel(), role))

    assert (answer == "allowed") == (standing in IN_CHANNELS[verb])
    assert answer in ("allowed", "channel_absent", "not_admin")


@pytest.mark.parametrize("verb", IN_CHANNELS)
@pytest.mark.parametrize("standing", STANDINGS)
@pytest.mark.parametrize("place", HIDDEN)
def test_rights_in_a_hidden_channel(place: Channel, verb: Verb, standing: str) -> None:
    """Who is not in it does not learn that it exists, not even the owner of the workspace."""
    owner, role = STANDINGS[standing]
    answer = outcome(principal(owner=owner), verb, Subject(place, role))

    assert (answer == "allowed") == (standing in IN_CHANNELS[verb] & (MEMBER | ADMIN))
    assert (answer == "channel_absent") == (role is None)


@pytest.mark.parametrize("verb", IN_CHANNELS)
def test_nothing_is_added_to_an_archived_channel(verb: Verb) -> None:
    """What was said there can be read, and taken back."""
    archived = replace(channel(ann="admin"), archived_ms=1)

    speaks = verb in {"post_message", "change_message", "react"}

    assert outcome(principal(), verb, Subject(archived, "admin")) == (
        "channel_archived" if speaks else "allowed"
    )


@pytest.mark.parametrize("verb", [*IN_CHANNELS, "add_member", "remove_member"])
@pytest.mark.parametrize("owner", [True, False])
def test_the_unknown_and_the_foreign_are_refused_alike(verb: Verb, owner: bool) -> None:  # noqa: FBT001
    refusals = []
    for place in (None, *HIDDEN):
        with pytest.raises(Refused) as refused:
            authorise(principal(owner=owner), verb, Subject(place, account_id="bob"))
        refusals.append((refused.value.code, refused.value.message, refused.value.detail))

    assert all(refusal == refusals[0] for refusal in refusals)
    assert refusals[0][0] == "channel_absent"


@pytest.mark.parametrize(
    ("place", "role", "whom", "wanted", "answer"),
    [
        (channel(), None, "ann", "member", "allowed"),
        (channel(), "member", "bob", "member", "allowed"),
        (channel(), None, "bob", "member", "not_admin"),
        (channel(), None, "ann", "admin", "not_admin"),
        (channel(), "member", "bob", "admin", "not_admin"),
        (channel(), "admin", "bob", "admin", "allowed"),
        (channel(privacy_mode="guarded"), None, "ann", "member", "not_admin"),
        (channel(privacy_mode="guarded"), "member", "bob", "member", "not_admin"),
        (channel(privacy_mode="guarded"), "admin", "bob", "member", "allowed"),
        (channel("private"), "member", "bob", "member", "not_admin"),
        (channel("private"), "admin", "bob", "member", "allowed"),
        (channel("private"), None, "ann", "member", "channel_absent"),
    ],
)
def test_who_may_bring_whom(
    place: Channel, role: Role | None, whom: str, wanted: Role, answer: str
) -> None:
    about = Subject(place, role, account_id=whom, wanted=wanted)

    assert outcome(principal(), "add_member", about) == answer


@pytest.mark.parametrize(
    ("role", "whom", "answer"),
    [("member", "ann", "allowed"), ("member", "bob", "not_admin"), ("admin", "bob", "allowed")],
)
def test_everybody_may_leave_and_admins_remove(role: Role, whom: str, answer: str) -> None:
    about = Subject(channel("private"), role, account_id=whom)

    assert outcome(principal(), "remove_member", about) == answer


@pytest.mark.parametrize("verb", ["judge_account", "direct_agent", "issue_codes", "operate"])
def test_what_is_the_owners(verb: Verb) -> None:
    about = Subject(account_id="bob")

    assert outcome(principal(), verb, about) == "not_owner"
    assert outcome(principal(owner=True), verb, about) == "allowed"


def test_the_owner_cannot_shut_himself_out() -> None:
    about = Subject(account_id="ann")

    assert outcome(principal(owner=True), "judge_account", about) == "owner_is_fixed"


def test_directives_are_the_owners_word() -> None:
    assert outcome(principal(), "change_own_profile") == "allowed"
    assert outcome(principal(), "change_own_profile", Subject(directs=True)) == "not_owner"
    assert outcome(principal(owner=True), "change_own_profile", Subject(directs=True)) == "allowed"


@pytest.mark.parametrize("wanted", sorted(ALL_SCOPES))
def test_nobody_gives_a_key_more_than_he_has(wanted: Scope) -> None:
    held: frozenset[Scope] = frozenset({"manage_keys", "read_messages"})
    about = Subject(scopes=frozenset({wanted}))
    expected = "allowed" if wanted in held | {"read_feed"} else "scope_missing"

    assert outcome(principal(scopes=held), "create_key", about) == expected
    assert outcome(principal(), "create_key", about) == "allowed"


@pytest.mark.parametrize("verb", ["use_session", "change_password"])
def test_what_takes_a_session(verb: Verb) -> None:
    keyed = msgspec.structs.replace(principal(), session_id="", key_id="K1")

    assert outcome(keyed, verb) == "session_required"
    assert outcome(principal(), verb) == "allowed"


def test_a_wrong_credential_is_told_only_where_one_is_needed() -> None:
    faulty = Principal(None, fault=Refused("credential_invalid", "No."))

    assert outcome(faulty, "look") == "allowed"
    assert outcome(faulty, "read_messages") == "credential_invalid"


def test_every_refusal_is_in_the_catalogue() -> None:
    people = [NOBODY, *(principal(s, owner=o) for s in get_args(Status) for o in (True, False))]
    scopeless = principal(scopes=frozenset())
    codes = {
        outcome(who, verb, about)
        for who, verb, about in product([*people, scopeless], VERBS, subjects())
    }

    assert codes - {"allowed"} <= set(CATALOGUE)

"""A channel decides: who belongs, who is admin, and what `general` never does."""

from __future__ import annotations

import pytest

from actors.channel.aggregate import CHANNEL
from schemas.channel import (
    AddMember,
    ChangeLifecycle,
    ChangeRole,
    ChannelDescribed,
    ChannelMuted,
    ChannelOpened,
    ChannelRemoved,
    DescribeChannel,
    LifecycleChanged,
    MemberAdded,
    MemberRemoved,
    MuteChannel,
    OpenChannel,
    RemoveChannel,
    RemoveMember,
    RoleChanged,
)
from schemas.envelope import SYSTEM, Command
from schemas.erasure import ContentErased, RecordErasure
from tests.given import By, given

OPENED = ChannelOpened(name="den", type="private", privacy_mode="private")
GENERAL = ChannelOpened(name="general", type="general", privacy_mode="open")
ANN = MemberAdded(account_id="ann", role="admin")
BOB = MemberAdded(account_id="bob", role="member")
DEN = (OPENED, ANN, BOB)
ARCHIVED = LifecycleChanged(archived=True)


def test_who_opens_a_channel_is_its_first_admin() -> None:
    opening = OpenChannel(name="den", type="private", privacy_mode="private")

    assert given(CHANNEL).when(opening) == (OPENED, ANN)


def test_nobody_is_listed_in_general() -> None:
    opening = OpenChannel(name="general", type="general")

    assert given(CHANNEL).when(opening, by="system") == (GENERAL,)


def test_a_channel_is_opened_once() -> None:
    given(CHANNEL, *DEN).when(OpenChannel(name="den")).refuses("channel_taken")


@pytest.mark.parametrize(
    "command",
    [
        DescribeChannel(topic="bees"),
        ChangeLifecycle(archived=True),
        AddMember(account_id="cyd"),
        ChangeRole(account_id="bob", role="admin"),
        RemoveMember(account_id="bob"),
        MuteChannel(muted=True),
        RemoveChannel(),
    ],
)
def test_nothing_happens_in_a_channel_that_is_not_there(command: Command) -> None:
    given(CHANNEL).when(command).refuses("channel_absent")
    given(CHANNEL, *DEN, ChannelRemoved()).when(command).refuses("channel_absent")


def test_a_removed_channel_is_not_opened_again() -> None:
    """Its id and its history stay; a channel of the same name gets an id of its own."""
    given(CHANNEL, *DEN, ChannelRemoved()).when(OpenChannel(name="den")).refuses("channel_taken")


def test_a_channel_is_described_in_what_was_said() -> None:
    described = (ChannelDescribed(topic="bees"),)

    assert given(CHANNEL, *DEN).when(DescribeChannel(topic="bees")) == described


def test_a_channel_is_archived_and_comes_back() -> None:
    restored = given(CHANNEL, *DEN, ARCHIVED, LifecycleChanged(archived=False))

    assert given(CHANNEL, *DEN).when(ChangeLifecycle(archived=True)) == (ARCHIVED,)
    assert restored.when(AddMember(account_id="cyd")) == (
        MemberAdded(account_id="cyd", role="member"),
    )


def test_how_long_a_channel_lives_says_nothing_about_the_archive() -> None:
    still = given(CHANNEL, *DEN, ARCHIVED, LifecycleChanged(ttl_days=30))

    assert still.state.archived.value is True


def test_an_archived_channel_takes_nobody_in() -> None:
    given(CHANNEL, *DEN, ARCHIVED).when(AddMember(account_id="cyd")).refuses("channel_archived")


def test_a_member_is_added_once() -> None:
    assert given(CHANNEL, OPENED, ANN).when(AddMember(account_id="bob")) == (BOB,)
    assert given(CHANNEL, *DEN).when(AddMember(account_id="bob", role="admin")) == ()


def test_who_has_left_may_come_back() -> None:
    left = given(CHANNEL, *DEN, MemberRemoved(account_id="bob"))

    assert left.when(AddMember(account_id="bob")) == (BOB,)


def test_a_member_becomes_admin_once() -> None:
    promote, promoted = (
        ChangeRole(account_id="bob", role="admin"),
        RoleChanged(account_id="bob", role="admin"),
    )

    assert given(CHANNEL, *DEN).when(promote) == (promoted,)
    assert given(CHANNEL, *DEN, promoted).when(promote) == ()


@pytest.mark.parametrize(
    "command", [ChangeRole(account_id="cyd", role="admin"), RemoveMember(account_id="cyd")]
)
def test_a_stranger_has_no_role_to_change(command: Command) -> None:
    given(CHANNEL, *DEN).when(command).refuses("member_absent")


@pytest.mark.parametrize(
    "command", [ChangeRole(account_id="ann", role="member"), RemoveMember(account_id="ann")]
)
def test_a_channel_keeps_one_admin(command: Command) -> None:
    two = given(CHANNEL, *DEN, RoleChanged(account_id="bob", role="admin"))

    given(CHANNEL, *DEN).when(command).refuses("last_admin")
    assert two.when(command).refused is None


def test_a_member_leaves() -> None:
    removed = (MemberRemoved(account_id="bob"),)

    assert given(CHANNEL, *DEN).when(RemoveMember(account_id="bob"), by="bob") == removed


def test_muting_is_everybodys_own() -> None:
    muted = given(CHANNEL, *DEN, By("bob", ChannelMuted(muted=True)))

    assert muted.when(MuteChannel(muted=True), by="bob") == ()
    assert muted.when(MuteChannel(muted=False), by="bob") == (ChannelMuted(muted=False),)
    assert muted.when(MuteChannel(muted=True), by="ann") == (ChannelMuted(muted=True),)
    assert muted.when(MuteChannel(muted=False), by="ann") == ()


def test_a_channel_is_removed() -> None:
    assert given(CHANNEL, *DEN).when(RemoveChannel()) == (ChannelRemoved(),)


@pytest.mark.parametrize(
    "command",
    [
        AddMember(account_id="cyd"),
        ChangeRole(account_id="ann", role="member"),
        RemoveMember(account_id="ann"),
        RemoveChannel(),
        DescribeChannel(privacy_mode="private"),
        ChangeLifecycle(archived=True),
        ChangeLifecycle(preserved=False),
    ],
)
def test_general_is_everybodys_for_good(command: Command) -> None:
    given(CHANNEL, GENERAL).when(command).refuses("general_is_fixed")


@pytest.mark.parametrize(
    "command",
    [
        DescribeChannel(topic="bees", privacy_mode="open"),
        ChangeLifecycle(ttl_days=30, preserved=True),
        MuteChannel(muted=True),
    ],
)
def test_general_has_a_topic_and_a_volume_like_any_other(command: Command) -> None:
    assert given(CHANNEL, GENERAL).when(command).refused is None


def test_the_erasure_of_a_removed_channel_is_recorded_once() -> None:
    gone = (OPENED, ChannelRemoved())

    assert given(CHANNEL, OPENED).when(RecordErasure(), by=SYSTEM) == ()
    assert given(CHANNEL, *gone).when(RecordErasure(), by=SYSTEM) == (ContentErased(),)
    assert given(CHANNEL, *gone, ContentErased()).when(RecordErasure(), by=SYSTEM) == ()
    given(CHANNEL, *gone).when(RecordErasure(), by="ann").refuses("not_admin")

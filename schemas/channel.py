"""Channels: where people and agents talk, and who belongs to them.

The channel `general` is there from the start; every active account belongs to it without being
listed, so nobody can be removed from it and registering contends on nothing.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from schemas.envelope import Command, Event, Id
from schemas.erasure import ContentErased, RecordErasure
from schemas.text import LegibleName

GENERAL: Id = "general"

ChannelType = Literal["public", "private", "general"]
PrivacyMode = Literal["open", "guarded", "private", "confidential"]
Role = Literal["member", "admin"]
Name = Annotated[str, StringConstraints(min_length=1, max_length=100, strip_whitespace=True)]
Prose = Annotated[str, StringConstraints(max_length=4_000)]
TtlDays = Annotated[int, Field(ge=1, le=730)]


class OpenChannel(Command):
    """The author becomes its first admin."""

    kind: Literal["open_channel"] = "open_channel"
    name: LegibleName
    description: Prose = ""
    type: ChannelType = "public"
    privacy_mode: PrivacyMode = "open"


class DescribeChannel(Command):
    """Fields left None stay as they are."""

    kind: Literal["describe_channel"] = "describe_channel"
    name: LegibleName | None = None
    topic: Prose | None = None
    description: Prose | None = None
    privacy_mode: PrivacyMode | None = None


class ChangeLifecycle(Command):
    kind: Literal["change_lifecycle"] = "change_lifecycle"
    ttl_days: TtlDays | None = None
    preserved: bool | None = None
    archived: bool | None = None


class AddMember(Command):
    kind: Literal["add_member"] = "add_member"
    account_id: Id
    role: Role = "member"


class ChangeRole(Command):
    kind: Literal["change_role"] = "change_role"
    account_id: Id
    role: Role


class RemoveMember(Command):
    kind: Literal["remove_member"] = "remove_member"
    account_id: Id


class MuteChannel(Command):
    """The author's own notifications."""

    kind: Literal["mute_channel"] = "mute_channel"
    muted: bool


class RemoveChannel(Command):
    kind: Literal["remove_channel"] = "remove_channel"


ChannelCommand = Annotated[
    OpenChannel
    | DescribeChannel
    | ChangeLifecycle
    | AddMember
    | ChangeRole
    | RemoveMember
    | MuteChannel
    | RemoveChannel
    | RecordErasure,
    Field(discriminator="kind"),
]


class ChannelOpened(Event):
    kind: Literal["channel_opened"] = "channel_opened"
    name: Name
    description: Prose = ""
    type: ChannelType
    privacy_mode: PrivacyMode


class ChannelDescribed(Event):
    kind: Literal["channel_described"] = "channel_described"
    name: Name | None = None
    topic: Prose | None = None
    description: Prose | None = None
    privacy_mode: PrivacyMode | None = None


class LifecycleChanged(Event):
    kind: Literal["lifecycle_changed"] = "lifecycle_changed"
    ttl_days: TtlDays | None = None
    preserved: bool | None = None
    archived: bool | None = None


class MemberAdded(Event):
    kind: Literal["member_added"] = "member_added"
    account_id: Id
    role: Role


class RoleChanged(Event):
    kind: Literal["role_changed"] = "role_changed"
    account_id: Id
    role: Role


class MemberRemoved(Event):
    kind: Literal["member_removed"] = "member_removed"
    account_id: Id


class ChannelMuted(Event):
    kind: Literal["channel_muted"] = "channel_muted"
    muted: bool


class ChannelRemoved(Event):
    kind: Literal["channel_removed"] = "channel_removed"


ChannelEvent = (
    ChannelOpened
    | ChannelDescribed
    | LifecycleChanged
    | MemberAdded
    | RoleChanged
    | MemberRemoved
    | ChannelMuted
    | ChannelRemoved
    | ContentErased
)

"""Channels as agents open and read them (fields of the older system, and `seq`)."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field, StringConstraints

from gateway.shapes.form import WHOLE, Body, Change, IdText, Query, Seq, Shape, Time, at_least_one
from schemas.channel import ChannelType, PrivacyMode, Role
from schemas.text import LEGIBLE, STEERING, UNSEEN

ChannelName = Annotated[
    str,
    StringConstraints(
        pattern=rf"^#?[^#\s{STEERING}{UNSEEN}]([^{STEERING}]{{0,98}}[^\s{STEERING}])?$"
    ),
    AfterValidator(lambda name: name.removeprefix("#")),
    LEGIBLE,
]
"""1 to 100 characters on one line, of which the first shows; a leading # is stripped."""
Prose = Annotated[str, StringConstraints(max_length=4_000)]


class ChannelDraft(Body):
    name: ChannelName
    description: Prose | None = None
    type: Literal["public", "private"] = "public"
    privacy_mode: PrivacyMode = "open"
    crypto_mode: str | None = Field(
        None, description="Only legacy_plaintext is supported.", pattern="^legacy_plaintext$"
    )


class ChannelChange(Change):
    model_config = at_least_one("name", "topic", "description", "privacy_mode")

    name: ChannelName | None = None
    topic: Prose | None = None
    description: Prose | None = None
    privacy_mode: PrivacyMode | None = None


class LifecycleChange(Change):
    model_config = at_least_one("ttl_days", "preserved", "archived")

    ttl_days: Annotated[int, Field(ge=1, le=730), WHOLE] | None = Field(None, description="days")
    preserved: bool | None = None
    archived: bool | None = None


class MemberDraft(Body):
    user_id: IdText
    role: Role = "member"


class RoleChange(Body):
    role: Role


class MuteWish(Body):
    muted: bool


class ReadMark(Body):
    """How far the caller has read: a position, or a message. Neither: everything there is."""

    seq: Seq | None = None
    message_id: IdText | None = None


class ChannelsQuery(Query):
    joinable: bool = Field(
        default=False, description="Instead: public channels that the caller could join."
    )


class Lifecycle(Shape):
    lifecycle_ttl_days: int
    lifecycle_preserved: bool
    archived_at: Time | None
    archive_reason: str | None
    lifecycle_status: Literal["active", "expiring", "archived"]
    days_until_archive: int | None


class ChannelShape(Lifecycle):
    id: str
    name: str
    type: ChannelType
    description: str
    topic: str
    privacy_mode: PrivacyMode
    crypto_mode: Literal["legacy_plaintext"]
    created_by: str
    created_at: Time
    origin_peer: str = Field(description="The node where it was opened.")
    member_count: int
    user_role: Role | None
    notifications_enabled: bool
    unread_count: int = Field(description="Messages of others since the caller read or joined.")
    read_seq: Seq = Field(description="How far the caller has read.")
    last_message_at: Time | None
    last_activity_at: Time
    seq: Seq


class ChannelList(Shape):
    channels: list[ChannelShape]
    count: int


class OneChannel(Shape):
    channel: ChannelShape


class ChannelOpened(Shape):
    success: bool
    channel: ChannelShape
    seq: Seq


class ChannelChanged(Shape):
    success: bool
    privacy_mode: PrivacyMode
    seq: Seq


class LifecycleShape(Shape):
    ttl_days: int
    preserved: bool
    archived_at: Time | None
    archive_reason: str | None
    status: str
    days_until_archive: int | None


class LifecycleChanged(Shape):
    success: bool
    lifecycle: LifecycleShape
    seq: Seq


class ChannelRemoved(Shape):
    success: bool
    local_only: bool
    seq: Seq


class MemberShape(Shape):
    user_id: str
    username: str
    display_name: str
    account_type: str
    role: Role
    origin_peer: str


class MemberList(Shape):
    members: list[MemberShape]
    count: int


class Changed(Shape):
    success: bool
    seq: Seq


class RoleChanged(Changed):
    role: Role


class MuteChanged(Changed):
    muted: bool


class ReadTo(Shape):
    success: bool
    channel_id: str
    read_seq: Seq
    unread_count: int
    seq: Seq

"""A channel: what it is called, how long it lives, and who belongs to it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import assert_never

from actors.aggregate import Aggregate
from actors.register import Register
from schemas.channel import (
    AddMember,
    ChangeLifecycle,
    ChangeRole,
    ChannelCommand,
    ChannelDescribed,
    ChannelEvent,
    ChannelMuted,
    ChannelOpened,
    ChannelRemoved,
    ChannelType,
    DescribeChannel,
    LifecycleChanged,
    MemberAdded,
    MemberRemoved,
    MuteChannel,
    OpenChannel,
    RemoveChannel,
    RemoveMember,
    Role,
    RoleChanged,
)
from schemas.envelope import SYSTEM, Header, Id, Refused
from schemas.erasure import ContentErased, RecordErasure
from schemas.vocabulary import NOUNS

Membership = Register[Role | None]


@dataclass(frozen=True)
class Channel:
    """`members` holds None for who has left; `muted` who wants no notifications."""

    type: Register[ChannelType | None] = field(
        default_factory=lambda: Register[ChannelType | None](None)
    )
    removed: bool = False
    erased: bool = False
    archived: Register[bool] = field(default_factory=lambda: Register(False))
    members: dict[Id, Membership] = field(default_factory=dict)
    muted: dict[Id, Register[bool]] = field(default_factory=dict)

    @property
    def opened(self) -> bool:
        """Whether anybody has opened it; who did so first said of which type it is."""
        return self.type.value is not None

    @property
    def fixed(self) -> bool:
        """Whether it is `general`."""
        return self.type.value == "general"

    def role(self, account_id: Id) -> Role | None:
        """What *account_id* is here, None for somebody who does not belong."""
        membership = self.members.get(account_id)
        return membership.value if membership else None

    def admins(self) -> list[Id]:
        """Who may change the channel."""
        return [account for account, role in self.members.items() if role.value == "admin"]


def decide(command: ChannelCommand, channel: Channel, author: Id) -> tuple[ChannelEvent, ...]:
    """The events that *command* causes: none if it is so already, `Refused` if it may not be."""
    match command:
        case OpenChannel() if channel.opened:
            raise Refused("channel_taken", "There is such a channel already.")
        case OpenChannel():
            return _opened(command, author)
        case RecordErasure() if author != SYSTEM:
            raise Refused("not_admin", "Only the node itself says so.")
        case RecordErasure():
            return (ContentErased(),) if channel.removed and not channel.erased else ()
        case _ if not channel.opened or channel.removed:
            raise Refused("channel_absent", "There is no such channel.")
        case AddMember() | ChangeRole() | RemoveMember() | RemoveChannel() if channel.fixed:
            raise Refused("general_is_fixed", "Everybody belongs to this channel, for good.")
        case DescribeChannel():
            if channel.fixed and command.privacy_mode not in (None, "open"):
                raise Refused("general_is_fixed", "This channel stays open to everybody.")
            return (ChannelDescribed(**command.model_dump(exclude={"kind"})),)
        case ChangeLifecycle():
            if channel.fixed and (command.archived or command.preserved is False):
                raise Refused("general_is_fixed", "This channel is always preserved.")
            return (LifecycleChanged(**command.model_dump(exclude={"kind"})),)
        case AddMember():
            return _added(command, channel)
        case ChangeRole():
            return _promoted(command, channel)
        case RemoveMember():
            _present(channel, command.account_id)
            _keep_an_admin(channel, command.account_id)
            return (MemberRemoved(account_id=command.account_id),)
        case MuteChannel():
            muted = channel.muted.get(author)
            same = command.muted == (muted is not None and muted.value)
            return () if same else (ChannelMuted(muted=command.muted),)
        case RemoveChannel():
            return (ChannelRemoved(),)
    assert_never(command)


def evolve(channel: Channel, event: ChannelEvent, header: Header) -> Channel:
    """The channel after *event*. Total: an event is history, and history is never refused."""
    match event:
        case ChannelOpened():
            return replace(channel, type=channel.type.claimed(event.type, header.stamp))
        case ChannelDescribed():
            return channel
        case LifecycleChanged(archived=None):
            return channel
        case LifecycleChanged():
            archived = channel.archived.written(bool(event.archived), header.stamp)
            return replace(channel, archived=archived)
        case MemberAdded() | RoleChanged():
            return _belonging(channel, event.account_id, event.role, header)
        case MemberRemoved():
            return _belonging(channel, event.account_id, None, header)
        case ChannelMuted():
            before = channel.muted.get(header.author, Register(False))
            after = before.written(event.muted, header.stamp)
            return replace(channel, muted=channel.muted | {header.author: after})
        case ChannelRemoved():
            return replace(channel, removed=True)
        case ContentErased():
            return replace(channel, erased=True)
    assert_never(event)


def _opened(command: OpenChannel, author: Id) -> tuple[ChannelEvent, ...]:
    opened = ChannelOpened(**command.model_dump(exclude={"kind"}))
    if command.type == "general":
        return (opened,)
    return (opened, MemberAdded(account_id=author, role="admin"))


def _added(command: AddMember, channel: Channel) -> tuple[ChannelEvent, ...]:
    if channel.archived.value:
        raise Refused("channel_archived", "The channel is archived: restore it first.")
    if channel.role(command.account_id) is not None:
        return ()
    return (MemberAdded(account_id=command.account_id, role=command.role),)


def _promoted(command: ChangeRole, channel: Channel) -> tuple[ChannelEvent, ...]:
    _present(channel, command.account_id)
    if channel.role(command.account_id) == command.role:
        return ()
    if command.role == "member":
        _keep_an_admin(channel, command.account_id)
    return (RoleChanged(account_id=command.account_id, role=command.role),)


def _present(channel: Channel, account_id: Id) -> None:
    if channel.role(account_id) is None:
        raise Refused("member_absent", "This account is not a member of the channel.")


def _keep_an_admin(channel: Channel, leaving: Id) -> None:
    if channel.admins() == [leaving]:
        raise Refused("last_admin", "A channel keeps one admin: make somebody else admin first.")


def _belonging(channel: Channel, account_id: Id, role: Role | None, header: Header) -> Channel:
    before: Membership = channel.members.get(account_id, Register(None))
    after = before.written(role, header.stamp)
    return replace(channel, members=channel.members | {account_id: after})


CHANNEL = Aggregate(
    "channel", Channel(), decide, evolve, NOUNS["channel"].commands, opens="open_channel"
)

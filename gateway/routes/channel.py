"""Channels: open, describe, archive, remove; mute, and mark as read."""

from __future__ import annotations

from bus.clock import derived_id, iso, iso_ms
from gateway import about, history, policy, views
from gateway.activity import Activity, activity
from gateway.call import Call, Reply
from gateway.directory import Channel
from gateway.shapes import channel as shape
from gateway.table import Route
from schemas.channel import (
    ChangeLifecycle,
    ChannelOpened,
    DescribeChannel,
    MuteChannel,
    OpenChannel,
    RemoveChannel,
)
from schemas.cursor import AdvanceCursor
from schemas.envelope import Answer

TAG = "Channels"


async def list_channels(call: Call) -> Reply:
    """The caller's channels, or with `joinable` the public ones that he could join."""
    mine = call.directory.channels_of(call.principal.id)
    public = (one for one in call.directory.channels() if one.type == "public")
    others = [one for one in public if not policy.hidden(one) and one not in mine]
    shown = await _shown(call, others if call.query.joinable else mine)
    return Reply({"channels": shown, "count": len(shown)})


async def open_channel(call: Call) -> Reply:
    """Opens a channel; the caller becomes its first admin."""
    draft: shape.ChannelDraft = call.body
    channel_id = derived_id("C", call.id)
    answer = await call.send(
        "channel",
        channel_id,
        OpenChannel(
            name=draft.name,
            description=draft.description or "",
            type=draft.type,
            privacy_mode=draft.privacy_mode,
        ),
    )
    opened = _opened(call, answer, channel_id)
    body = {"success": True, "channel": opened, "seq": answer.seq}
    return Reply(body, status=201, seq=answer.seq, version=answer.seq)


async def read_channel(call: Call) -> Reply:
    """A channel of the caller, or one that is not hidden."""
    (shown,) = await _shown(call, [call.channel])
    return Reply({"channel": shown}, version=call.channel.seq)


async def change_channel(call: Call) -> Reply:
    """Changes name, topic, description or privacy; for admins of the channel and the owner."""
    change: shape.ChannelChange = call.body
    fields = change.model_dump(exclude_none=True)
    answer = await call.send("channel", call.channel.id, DescribeChannel(**fields))
    privacy_mode = change.privacy_mode or call.channel.privacy_mode
    body = {"success": True, "privacy_mode": privacy_mode, "seq": answer.seq}
    return Reply(body, seq=answer.seq, version=answer.seq)


async def change_lifecycle(call: Call) -> Reply:
    """Sets how long the channel lives, or archives and restores it. Nothing is ever deleted."""
    answer = await call.send(
        "channel", call.channel.id, ChangeLifecycle(**call.body.model_dump(exclude_none=True))
    )
    await call.gateway.reads.reached(answer.seq)
    changed = call.directory.channel(call.channel.id) or call.channel
    (shown,) = await _shown(call, [changed])
    lifecycle = {
        "ttl_days": shown["lifecycle_ttl_days"],
        "preserved": shown["lifecycle_preserved"],
        "archived_at": shown["archived_at"],
        "archive_reason": shown["archive_reason"],
        "status": shown["lifecycle_status"],
        "days_until_archive": shown["days_until_archive"],
    }
    body = {"success": True, "lifecycle": lifecycle, "seq": answer.seq}
    return Reply(body, seq=answer.seq, version=answer.seq)


async def remove_channel(call: Call) -> Reply:
    """Removes the channel for everybody. Its history stays in the log."""
    answer = await call.send("channel", call.channel.id, RemoveChannel())
    body = {"success": True, "local_only": False, "seq": answer.seq}
    return Reply(body, seq=answer.seq, version=answer.seq)


async def mute_channel(call: Call) -> Reply:
    """Turns the caller's notifications of this channel off or on; mentions in it are dropped."""
    answer = await call.send("channel", call.channel.id, MuteChannel(muted=call.body.muted))
    body = {"success": True, "muted": call.body.muted, "seq": answer.seq}
    return Reply(body, seq=answer.seq)


async def mark_read(call: Call) -> Reply:
    """Moves the caller's cursor forward; it never goes back."""
    mark: shape.ReadMark = call.body
    head = await call.head()
    to = head if mark.seq is None else min(mark.seq, head)
    to = await history.position(call, call.channel.id, mark.message_id) if mark.message_id else to
    key = f"{call.channel.id}.{call.principal.id}"
    answer = await call.send("cursor", key, AdvanceCursor(seq=to))
    await call.gateway.reads.reached(answer.seq)
    now = (await activity(call, [call.channel]))[call.channel.id]
    body = {
        "success": True,
        "channel_id": call.channel.id,
        "read_seq": now.read_seq,
        "unread_count": now.unread_count,
        "seq": answer.seq,
    }
    return Reply(body, seq=answer.seq)


async def _shown(call: Call, channels: list[Channel]) -> list[views.View]:
    found = await activity(call, channels)
    return [_view(call, one, found[one.id]) for one in channels]


def _view(call: Call, one: Channel, said: Activity) -> views.View:
    me = call.principal.id
    active_at = said.last_message_at or iso_ms(one.created_ms)
    return {
        **views.channel(one, call.directory.role(one.id, me), call.directory, me),
        "unread_count": said.unread_count,
        "read_seq": said.read_seq,
        "last_message_at": said.last_message_at,
        "last_activity_at": active_at,
        **views.lifecycle(one, active_at, call.now_ms),
    }


def _opened(call: Call, answer: Answer, channel_id: str) -> views.View:
    """The channel as it was when it was new, however often the request is repeated."""
    event = ChannelOpened(**answer.facts[0].data)
    created_at = iso(answer.clock)
    return {
        **event.model_dump(exclude={"kind"}),
        "id": channel_id,
        "topic": "",
        "crypto_mode": "legacy_plaintext",
        "created_by": answer.author,
        "created_at": created_at,
        "origin_peer": call.gateway.identity.node_id,
        "member_count": 1,
        "user_role": "admin",
        "notifications_enabled": True,
        "unread_count": 0,
        "read_seq": answer.seq,
        "last_message_at": None,
        "last_activity_at": created_at,
        "lifecycle_ttl_days": views.LIFECYCLE_DAYS,
        "lifecycle_preserved": False,
        "archived_at": None,
        "archive_reason": None,
        "lifecycle_status": "active",
        "days_until_archive": views.LIFECYCLE_DAYS,
        "seq": answer.seq,
    }


ONE = "/channels/{channel_id}"

ROUTES = (
    Route(
        "GET", "/channels", "list_channels", list_channels, "List channels", TAG,
        query=shape.ChannelsQuery, reply=shape.ChannelList,
    ),
    Route(
        "POST", "/channels", "open_channel", open_channel, "Open a channel", TAG,
        body=shape.ChannelDraft, reply=shape.ChannelOpened, status=201, versioned=True,
        codes=("channel_taken", "behind"),
    ),
    Route(
        "GET", ONE, "see_channel", read_channel, "Read about a channel", TAG,
        reply=shape.OneChannel, versioned=True, about=about.channel_in_path,
        codes=("channel_absent", "vault_unusable"),
    ),
    *(
        Route(
            method, ONE, "describe_channel", change_channel, "Change a channel", TAG,
            body=shape.ChannelChange, reply=shape.ChannelChanged, versioned=True,
            about=about.channel_in_path,
            codes=("channel_absent", "not_admin", "general_is_fixed", "behind"),
        )
        for method in ("PATCH", "PUT")
    ),
    *(
        Route(
            method, ONE + "/lifecycle", "change_lifecycle", change_lifecycle,
            "Change a channel's lifecycle", TAG, body=shape.LifecycleChange,
            reply=shape.LifecycleChanged, versioned=True, about=about.channel_in_path,
            codes=("channel_absent", "not_admin", "general_is_fixed", "behind"),
        )
        for method in ("PATCH", "PUT")
    ),
    Route(
        "DELETE", ONE, "remove_channel", remove_channel, "Remove a channel", TAG,
        reply=shape.ChannelRemoved, versioned=True, about=about.channel_in_path,
        codes=("channel_absent", "not_admin", "general_is_fixed", "behind"),
    ),
    Route(
        "POST", ONE + "/mute", "mute_channel", mute_channel, "Mute a channel", TAG,
        body=shape.MuteWish, reply=shape.MuteChanged, about=about.channel_in_path,
        codes=("channel_absent", "behind"),
    ),
    Route(
        "POST", ONE + "/read", "advance_cursor", mark_read, "Mark as read", TAG,
        body=shape.ReadMark, reply=shape.ReadTo, about=about.channel_in_path,
        codes=("channel_absent", "message_absent", "behind"),
    ),
)  # fmt: skip

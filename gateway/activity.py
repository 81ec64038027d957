"""What was said in channels, as far as one account is concerned: read, unread, and when last.

Four statements for any number of channels: how far the account has read, what is beyond that, the
last message of each channel, and whether that one was deleted since. Only a channel whose last
message was deleted is looked at by itself.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from actors.channel import queries as channels
from actors.cursor import queries as cursors
from actors.message import queries as messages
from bus.clock import iso_ms
from gateway import history
from gateway.call import Call
from gateway.directory import Channel
from gateway.pages import NEWEST

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Activity:
    """One channel to one account; `last_message_at` is None where nothing is left."""

    read_seq: int
    unread_count: int
    last_message_at: str | None


async def activity(call: Call, of: Iterable[Channel]) -> dict[str, Activity]:
    """What was said in the channels *of*, by their ids."""
    me, now = call.principal.id, iso_ms(call.now_ms)
    marks = {channel.id: call.directory.joined(channel, me) for channel in of}
    if not marks:
        return {}
    for row in await call.rows(cursors.POSITIONS, me, list(marks)):
        marks[row["channel_id"]] = max(marks[row["channel_id"]], row["read_seq"])
    ids, seqs = list(marks), list(marks.values())
    unread = await call.rows(channels.UNREAD, ids, seqs, min(seqs), me, now)
    counts = {row["channel_id"]: row["unread_count"] for row in unread}
    last = await _last(call, ids)
    return {one: Activity(marks[one], counts.get(one, 0), last.get(one)) for one in ids}


async def _last(call: Call, ids: list[str]) -> dict[str, str | None]:
    """When something that is still there was last said in each channel."""
    rows = await call.rows(channels.LAST, iso_ms(call.now_ms))
    wanted = set(ids)
    mine = {row["channel_id"]: row for row in rows if row["channel_id"] in wanted}
    changes = await call.rows(messages.CHANGES, [row["id"] for row in mine.values()])
    deleted = {change["id"] for change in changes if change["kind"] == "message_deleted"}
    found: dict[str, str | None] = {
        channel_id: iso_ms(row["last_message_ms"]) for channel_id, row in mine.items()
    }
    for channel_id in (channel_id for channel_id, row in mine.items() if row["id"] in deleted):
        page = await history.page(call, channel_id, NEWEST, 1)
        found[channel_id] = page.items[0]["created_at"] if page.items else None
    return found

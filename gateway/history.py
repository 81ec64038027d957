"""Reading messages: pages of a channel, one message, what became of it.

Between the statements of `actors.message.queries` and the routes; every look is at the time of the
call, so what has expired is gone. Of the past (`?at=`) it shows that somebody said something which
has been deleted or has expired since, but not what (ADR 0017).
"""

from __future__ import annotations

from functools import partial
from operator import itemgetter
from typing import Any

from actors.message import queries
from bus.clock import iso_ms
from gateway import pages
from gateway.call import Call
from gateway.errors import refuse
from gateway.opening import contains, opened, readable
from gateway.pages import NEWEST, Page, Start
from gateway.past import Moment
from gateway.read_model import Rows
from schemas.envelope import Refused

Row = dict[str, Any]
NEAR = 4
"""Positions, for each message wanted, among which they are looked for first: where much is said
they are there, and the rest of the table need not be looked at."""


SEARCHES_MAX = 7
"""Fetches for one page of what is found: each message of a private channel has to be opened for it,
some 7,000 for a page of 50. No setting: it bounds what one request may cost all others. A page that
ends here is short, and the cursor to what is older goes on where it ended."""


def limit(call: Call) -> int:
    """How many items the caller gets on a page."""
    settings = call.gateway.settings
    return min(call.query.limit or settings.page_default, settings.page_max)


async def page(call: Call, channel_id: str, start: Start, most: int) -> Page:
    """At most *most* messages of a channel from *start*, from the oldest to the newest."""
    now, head = iso_ms(call.now_ms), call.position

    def read(rows: Rows) -> Page:
        def older(seq: int, count: int) -> list[Row]:
            near = rows(queries.NEAR, channel_id, seq, now, max(0, min(seq, head) - NEAR * count))
            if len(near) < count:
                return rows(queries.NEWEST, channel_id, seq, now, count)
            return sorted(near, key=itemgetter("seq"), reverse=True)[:count]

        def newer(seq: int, count: int) -> list[Row]:
            return rows(queries.OLDEST, channel_id, seq, now, count)

        fetch = older if start.direction == "older" else newer
        return pages.fill(fetch, partial(_present, call, rows), start, most)

    return await call.together(read)


async def thread(call: Call, channel_id: str, root_id: str, start: Start) -> Page:
    """Messages of a thread before *start*, from the oldest to the newest."""
    return await _older(call, queries.THREAD, channel_id, root_id, start, call.now_ms)


async def search(call: Call, channel_id: str, text: str, start: Start) -> Page:
    """Messages of a channel before *start* that contain *text*, from the oldest to the newest.

    What is gone by now is not found in any past: finding it would tell what it said.
    """
    if call.moment and call.moment.today.removed(channel_id):
        return Page((), start, start.seq, more=False)
    now_ms = call.moment.today_ms if call.moment else call.now_ms
    pattern = queries.pattern(text)
    return await _older(call, queries.SEARCH, channel_id, pattern, start, now_ms, text)


async def _older(
    call: Call, sql: str, channel_id: str, wanted: str, start: Start, now_ms: int, text: str = ""
) -> Page:
    now, most = iso_ms(now_ms), limit(call)

    def read(rows: Rows) -> Page:
        def fetch(seq: int, count: int) -> list[Row]:
            return rows(sql, channel_id, seq, now, count, wanted)

        def present(found: list[Row]) -> list[Row]:
            return [one for one in _present(call, rows, found) if contains(one, text)]

        return pages.fill(fetch, present, start, most, SEARCHES_MAX)

    return await call.together(read)


def _present(call: Call, rows: Rows, found: list[Row]) -> list[Row]:
    changes = rows(queries.CHANGES, [one["id"] for one in found]) if found else []
    return [opened(call.gateway.vault, one) for one in _standing(call, found, changes)]


def _standing(call: Call, rows: list[Row], changes: list[Row]) -> list[Row]:
    """The messages of *rows* as they stood at the moment that is asked about."""
    moment = call.moment
    if moment is None:
        return queries.present(rows, changes)
    return [_withheld(moment, row) for row in queries.present(rows, changes, moment.seq)]


def _withheld(moment: Moment, row: Row) -> Row:
    """*row*; when that is gone by now without what it said and to whom, and with the reason."""
    expired = row["expires_at"] is not None and row["expires_at"] <= iso_ms(moment.today_ms)
    removed = moment.today.removed(row["channel_id"])
    otherwise = "expired" if expired else "channel_removed" if removed else None
    reason = row["ended"] or otherwise
    gone: Row = {"content": "", "attachments": [], "mentions": [], "security": {}}
    gone["withheld"] = reason
    state = "erased" if row["hidden"] else "plaintext"
    return {**row, **gone, "hidden": [], "state": state} if reason else row


async def start(call: Call, channel_id: str) -> Start:
    """Where the page begins that `cursor` or `before` ask for; the newest page without either."""
    what = f"messages {channel_id}"
    if call.query.cursor is not None:
        return call.gateway.cursors.read(what, call.query.cursor)
    if call.query.before is not None:
        found = await call.rows(queries.SEQ, call.query.before)
        return Start("older", existing_one(_within(found, channel_id))["seq"])
    return NEWEST


async def one(call: Call, channel_id: str, message_id: str) -> Row:
    """A message as it stands. Raises `Refused` (message_absent)."""
    row, changes = await _with_changes(call, channel_id, message_id)
    return await _readable(call, existing_one(_standing(call, [row], changes)))


async def versions(call: Call, channel_id: str, message_id: str) -> list[Row]:
    """Every version of a message that is still there. Raises `Refused` (message_absent)."""
    row, changes = await _with_changes(call, channel_id, message_id)
    if existing_one(_standing(call, [row], changes)).get("withheld"):
        raise refuse("message_absent", "It was there then, and is gone by now.")
    found, vault = queries.history(row, changes), call.gateway.vault
    if not any(one["hidden"] for one in found):
        return [opened(vault, one) for one in found]
    return await call.together(lambda _: [opened(vault, one) for one in found])


async def _readable(call: Call, row: Row) -> Row:
    """*row* with all that it says; what hides nothing needs no thread for that. Raises `Refused`
    (content_damaged)."""
    if not row["hidden"]:
        return readable(call.gateway.vault, row)
    return await call.together(lambda _: readable(call.gateway.vault, row))


async def _with_changes(call: Call, channel_id: str, message_id: str) -> tuple[Row, list[Row]]:
    rows = await _find(call, channel_id, message_id)
    changes = await call.rows(queries.CHANGES_OF_ONE, message_id)
    return existing_one(rows), changes


async def position(call: Call, channel_id: str, message_id: str) -> int:
    """Where in the log a message was posted. Raises `Refused` (message_absent)."""
    return int(existing_one(await _latest(call, channel_id, message_id))["seq"])


async def root(call: Call, channel_id: str, message_id: str) -> Row:
    """The root of the thread that a message is in. Raises `Refused` (message_absent)."""
    found = existing_one(await _latest(call, channel_id, message_id))
    if found["thread_id"] is None:
        return found
    return existing_one(await _latest(call, channel_id, found["thread_id"]))


async def root_id(call: Call, channel_id: str, message_id: str) -> str:
    """The id of that root, even if it is there no more. Raises `Refused` (message_absent)."""
    found = await call.rows(queries.SEQ, message_id)
    return existing_one(_within(found, channel_id))["thread_id"] or message_id


async def all_changes(call: Call, message_id: str) -> list[Row]:
    """All that has happened to a message."""
    return await call.rows(queries.CHANGES_OF_ONE, message_id)


async def changes(call: Call, message_id: str, until: int) -> list[Row]:
    """What has happened to a message up to a position, in the order of the stamps."""
    rows = await call.rows(queries.CHANGES_OF_ONE, message_id)
    return sorted((row for row in rows if row["seq"] <= until), key=queries.stamp)


async def parent(call: Call, channel_id: str, message_id: str) -> Row:
    """The message that a reply answers. Raises `Refused` (parent_absent)."""
    found = await _latest(call, channel_id, message_id)
    if not found:
        raise refuse("parent_absent", errors=[_FAULT])
    return found[0]


async def content(call: Call, channel_id: str, message_id: str) -> str:
    """What a message says now. Raises `Refused` (message_absent)."""
    found = existing_one(await _latest(call, channel_id, message_id))
    return str((await _readable(call, found))["content"])


async def _latest(call: Call, channel_id: str, message_id: str) -> list[Row]:
    """The message as it stands, or nothing.

    It stands as the caller has left it. It may also be newer than the tables: before saying that
    there is none, they are given the time to reach the end of the log.
    """
    if call.moment is None:
        await call.gateway.reads.reached(call.gateway.seen.of(call.principal.id))
    rows = await _find(call, channel_id, message_id)
    if not rows and call.moment is None:
        await call.gateway.reads.reached(await call.head())
        rows = await _find(call, channel_id, message_id)
    return _standing(call, rows, await call.rows(queries.CHANGES_OF_ONE, message_id))


async def _find(call: Call, channel_id: str, message_id: str) -> list[Row]:
    rows = await call.rows(queries.ONE, message_id, iso_ms(call.now_ms))
    return _within(rows, channel_id)


def _within(rows: list[Row], channel_id: str) -> list[Row]:
    return [row for row in rows if row["channel_id"] == channel_id]


_FAULT = {
    "field": "parent_message_id",
    "message": "There is no such message in this channel.",
    "code": "absent",
}


def existing_one(rows: list[Row]) -> Row:
    """The only row. Raises `Refused` (message_absent) when there is none."""
    if not rows:
        raise _absent()
    return rows[0]


def _absent() -> Refused:
    return refuse("message_absent", "There is no message of that id in this channel.")

"""What the tables of messages say: pages of a channel, and one message with all that came after.

A page takes two statements: `NEWEST` (or one of its sisters) gives rows that were posted and have
not expired; `CHANGES` gives what happened to them; `present` puts both together and leaves out
what was deleted. Neither joins the two tables: a page of 50 among 1,000,000 messages would pay
30 ms for what two scans do in 4.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

import orjson

Row = dict[str, Any]

OUTLASTING = {"message_change": "kind = 'message_deleted'"}
"""What is told of tables as they were at a position although it came later: what has been deleted
is gone from every past (ADR 0017)."""

_ROW = """
SELECT seq, id, channel_id, user_id, clock, origin, content, type, thread_id, parent_message_id,
       attachments, mentions, security, sealed,
       strftime(time, '%Y-%m-%dT%H:%M:%S.%gZ') AS created_at,
       strftime(expires_at, '%Y-%m-%dT%H:%M:%S.%gZ') AS expires_at
FROM """

END = 2**63 - 1
"""A position later than any."""

_ALIVE = "(expires_at IS NULL OR expires_at > $3::TIMESTAMP)"

NEWEST = f"""{_ROW} (
    SELECT * FROM message WHERE channel_id = $1 AND seq < $2 AND {_ALIVE}
    ORDER BY seq DESC LIMIT $4
) ORDER BY seq DESC"""
"""The last `$4` messages of channel `$1` before position `$2` at the time `$3`, newest first."""

NEAR = f"{_ROW} message WHERE channel_id = $1 AND seq < $2 AND seq >= $4 AND {_ALIVE}"
"""The messages of channel `$1` before position `$2` and not before `$4` at the time `$3`, in any
order: where much is said, a third of the price of `NEWEST`."""

OLDEST = f"""{_ROW} (
    SELECT * FROM message WHERE channel_id = $1 AND seq > $2 AND {_ALIVE}
    ORDER BY seq LIMIT $4
) ORDER BY seq"""
"""The first `$4` messages of channel `$1` after position `$2` at the time `$3`, oldest first."""

THREAD = f"""{_ROW} (
    SELECT * FROM message
    WHERE channel_id = $1 AND seq < $2 AND {_ALIVE} AND (thread_id = $5 OR id = $5)
    ORDER BY seq DESC LIMIT $4
) ORDER BY seq DESC"""
"""Like `NEWEST`, within the thread whose root is `$5`."""

SEARCH = f"""{_ROW} (
    SELECT m.* FROM message m
    LEFT JOIN (
        SELECT id, arg_max(coalesce(data->>'content', ''), (clock, origin)) AS content,
               arg_max((data->'sealed') IS NOT NULL, (clock, origin)) AS sealed
        FROM message_change
        WHERE channel_id = $1 AND kind = 'message_edited' GROUP BY id
    ) e ON e.id = m.id
    ANTI JOIN (
        SELECT id FROM message_change WHERE channel_id = $1 AND kind = 'message_deleted'
    ) d ON d.id = m.id
    WHERE m.channel_id = $1 AND m.seq < $2 AND {_ALIVE}
      AND (coalesce(e.sealed, m.sealed IS NOT NULL)
           OR coalesce(e.content, m.content) ILIKE $5 ESCAPE '\\')
    ORDER BY m.seq DESC LIMIT $4
) ORDER BY seq DESC"""
"""Like `NEWEST`, of messages whose present content is like `$5` (escaped with a backslash), or is
sealed: whoever can open it has to look."""

ONE = f"""{_ROW} message WHERE id = $1 AND {_ALIVE.replace("$3", "$2")}"""
"""Message `$1`, alive at the time `$2`, whatever its channel: asking for that too would make DuckDB
scan the table instead of using the index.
"""

_CHANGE = """
SELECT seq, id, channel_id, user_id, clock, origin, kind, data,
       strftime(time, '%Y-%m-%dT%H:%M:%S.%gZ') AS time
FROM message_change"""

CHANGES = f"{_CHANGE} WHERE list_contains($1::VARCHAR[], id)"
"""All that happened to the messages `$1`."""

CHANGES_OF_ONE = f"{_CHANGE} WHERE id = $1"
"""All that happened to one message, found by the index."""

SEQ = "SELECT seq, channel_id, thread_id FROM message WHERE id = $1"
"""Where a message was posted, and in which thread, whatever became of it."""

COUNT = "SELECT count(*) AS messages FROM message"


EXPIRED = """
SELECT m.id, m.channel_id FROM message m
WHERE m.expires_at <= $1::TIMESTAMP
  AND (m.sealed IS NOT NULL OR EXISTS (
      SELECT 1 FROM message_change c
      WHERE c.id = m.id AND c.kind = 'message_edited' AND (c.data->'sealed') IS NOT NULL))
  AND NOT EXISTS (
      SELECT 1 FROM message_change c WHERE c.id = m.id AND c.kind = 'message_deleted')
ORDER BY m.expires_at LIMIT $2
"""
"""At most `$2` messages with sealed content that have expired at the time `$1` and are still there,
the longest ago first."""


def pattern(text: str) -> str:
    """The ILIKE pattern for content that contains *text* literally."""
    escaped = text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
    return f"%{escaped}%"


def present(rows: Iterable[Row], changes: Iterable[Row], at: int = END) -> list[Row]:
    """The messages of *rows* as they stood after *changes* at the position *at*, in order, without
    those that were deleted by then.

    An id that two nodes have posted is the earlier one's. Adds `edited_at` (None when never
    edited), `reactions` ({reaction: [account ids]} in the order of reacting), `version` (the
    position of the last commit of the message by then) and `ended`: how that came to an end later,
    `deleted` or `expired`, None when it did not.
    `hidden` is what of it is sealed, the first posting and then the last edit: what
    `gateway.opening` fills in.
    """
    by_id: defaultdict[str, list[Row]] = defaultdict(list)
    for change in changes:
        by_id[change["id"]].append(change)
    first: dict[str, Row] = {}
    for row in rows:
        if row["id"] not in first or stamp(row) < stamp(first[row["id"]]):
            first[row["id"]] = row
    return [
        _present(row, by_id.get(row["id"], ()), at)
        for row in first.values()
        if not any(_deletion(change, 0, at) for change in by_id.get(row["id"], ()))
    ]


def _deletion(change: Row, after: int, until: int) -> bool:
    return bool(change["kind"] == "message_deleted" and after < change["seq"] <= until)


def _ending(deletions: Sequence[Row]) -> str | None:
    """What came first, if any: by its author or by time."""
    if not deletions:
        return None
    first = min(deletions, key=stamp)
    return "expired" if orjson.loads(first["data"]).get("expired") else "deleted"


def _present(row: Row, changes: Sequence[Row], at: int) -> Row:
    ordered = sorted(changes, key=stamp)
    edits = [change for change in ordered if change["kind"] == "message_edited"]
    message = {
        **row,
        "attachments": orjson.loads(row["attachments"]),
        "mentions": orjson.loads(row["mentions"]),
        "security": orjson.loads(row["security"] or "{}"),
        "edited_at": None,
        "hidden": hidden(row, "message_posted", row["sealed"]),
        "reactions": reactions(ordered),
        "version": max((row["seq"], *(one["seq"] for one in changes if one["seq"] <= at))),
        "ended": _ending([change for change in changes if _deletion(change, at, END)]),
    }
    if edits:
        latest = orjson.loads(edits[-1]["data"])
        message["content"] = latest.get("content", "")
        message["attachments"] = latest.get("attachments", [])
        message["mentions"] = latest.get("mentions", [])
        message["edited_at"] = edits[-1]["time"]
        message["hidden"] += hidden(edits[-1], "message_edited", latest.get("sealed"))
    return message


def hidden(row: Row, kind: str, sealed: Any) -> list[Row]:
    """What an event of *kind* hides, and where it stands; nothing when it hides nothing."""
    if sealed is None:
        return []
    place = {
        "noun": "message", "key": f"{row['channel_id']}.{row['id']}", "author": row["user_id"],
        "origin": row["origin"], "clock": row["clock"], "kind": kind,
    }  # fmt: skip
    return [{"place": place, "sealed": orjson.loads(sealed) if isinstance(sealed, str) else sealed}]


def stamp(change: Row) -> tuple[str, str]:
    """What orders changes: the later one wins."""
    return (change["clock"], change["origin"])


def reactions(changes: Iterable[Row]) -> dict[str, list[str]]:
    """Who reacts how, from *changes* in the order of their stamps."""
    present: dict[str, dict[str, None]] = {}
    for change in changes:
        if change["kind"] == "reaction_added":
            accounts = present.setdefault(orjson.loads(change["data"])["reaction"], {})
            accounts.setdefault(change["user_id"])
        elif change["kind"] == "reaction_removed":
            reaction = orjson.loads(change["data"])["reaction"]
            present.get(reaction, {}).pop(change["user_id"], None)
    return {reaction: list(accounts) for reaction, accounts in present.items() if accounts}


def history(row: Row, changes: Iterable[Row]) -> list[Row]:
    """Every version of the content, oldest first: `{content, attachments, edited_at, hidden}`."""
    first = {
        "content": row["content"],
        "attachments": orjson.loads(row["attachments"]),
        "edited_at": row["created_at"],
        "hidden": hidden(row, "message_posted", row["sealed"]),
    }
    edits = sorted((c for c in changes if c["kind"] == "message_edited"), key=stamp)
    return [first, *(_version(edit) for edit in edits)]


def _version(edit: Row) -> Row:
    data = orjson.loads(edit["data"])
    return {
        "content": data.get("content", ""),
        "attachments": data.get("attachments", []),
        "edited_at": edit["time"],
        "hidden": hidden(edit, "message_edited", data.get("sealed")),
    }


def followed(changes: Iterable[Row], account_id: str) -> bool | None:
    """Whether the account asked to follow the thread of this root; None when it never said."""
    wishes = [c for c in changes if c["kind"] == "thread_followed" and c["user_id"] == account_id]
    if not wishes:
        return None
    return bool(orjson.loads(max(wishes, key=stamp)["data"])["followed"])

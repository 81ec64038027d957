"""What may be asked about the log itself in SQL: the commits whose events one may see.

The conditions are those of `gateway.policy.visible`, event by event; a test holds the two against
each other.
"""

from __future__ import annotations

from actors.view import Column, View

COMMITS = View(
    "commits",
    "The log: every commit of which you may see an event, with the kinds of those events.",
    (
        Column("seq", "BIGINT", "The position of the log."),
        Column("time", "TIMESTAMP", "When it was decided, UTC."),
        Column("noun", "VARCHAR", "What it is about: `message`, `channel`, `account` and so on."),
        Column("key", "VARCHAR", "The aggregate within its noun."),
        Column("id", "VARCHAR", "The commit."),
        Column("author", "VARCHAR", "The account in whose name it was decided."),
        Column("origin", "VARCHAR", "The node where it was decided."),
        Column("cause", "VARCHAR", "The command that caused it."),
        Column("correlation", "VARCHAR", "The request at the beginning of the chain of causes."),
        Column("parent", "VARCHAR", "The commit that called for it; empty for none."),
        Column("kinds", "VARCHAR[]", "The kinds of its events, as far as you may see them."),
    ),
    """
SELECT seq::BIGINT AS seq, time, noun, key, id, author, origin, cause, correlation, parent,
       visible AS kinds
FROM (
    SELECT *, CASE noun
        WHEN 'message' THEN
            CASE WHEN mine AND author = $reader THEN kinds
                 WHEN mine THEN list_filter(kinds, lambda k: k <> 'thread_followed') END
        WHEN 'channel' THEN list_filter(kinds, lambda k:
            CASE WHEN k = 'channel_muted' AND author <> $reader THEN false
                 WHEN k IN ('member_added', 'role_changed', 'member_removed') THEN listed
                 ELSE listed OR known END)
        WHEN 'account' THEN
            CASE WHEN key = $reader AND $keeper THEN kinds
                 ELSE list_filter(kinds, lambda k: k NOT IN (
                     'password_changed', 'key_created', 'key_revoked', 'session_opened',
                     'session_closed')) END
        WHEN 'cursor' THEN CASE WHEN split_part(key, '.', 2) = $reader THEN kinds END
        WHEN 'workspace' THEN
            CASE WHEN $rules THEN kinds
                 ELSE list_filter(kinds, lambda k: k = 'workspace_claimed') END
        END AS visible
    FROM (
        SELECT *,
               noun = 'message'
                   AND split_part(key, '.', 1) IN (SELECT unnest($mine::VARCHAR[])) AS mine,
               noun = 'channel' AND key IN (SELECT unnest($listed::VARCHAR[])) AS listed,
               noun = 'channel' AND key IN (SELECT unnest($open::VARCHAR[])) AS known
        FROM commit WHERE seq <= $at
    )
)
WHERE len(visible) > 0
""",
)

VIEWS = (COMMITS,)

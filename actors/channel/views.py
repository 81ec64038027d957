"""What may be asked about channels and their members in SQL."""

from __future__ import annotations

from actors.view import Column, View

CHANNELS = View(
    "channels",
    "The channels that you may know of: your own, and those that are not hidden.",
    (
        Column("id", "VARCHAR", "The channel."),
        Column("name", "VARCHAR", "Its name, without the #."),
        Column("type", "VARCHAR", "`public`, `private` or `general`."),
        Column("privacy_mode", "VARCHAR", "`open`, `guarded`, `private` or `confidential`."),
        Column("topic", "VARCHAR", "What is talked about at present."),
        Column("description", "VARCHAR", "What it is for."),
        Column("created_by", "VARCHAR", "The account that opened it."),
        Column("created_at", "TIMESTAMP", "When it was opened, UTC."),
        Column("archived_at", "TIMESTAMP", "Since when it is archived, UTC; NULL when it is not."),
        Column("ttl_days", "INTEGER", "Days to live without activity; NULL for the usual ones."),
        Column("preserved", "BOOLEAN", "Whether it lives on whatever happens."),
        Column("is_member", "BOOLEAN", "Whether you belong to it, and so may read it."),
        Column("origin", "VARCHAR", "The node where it was opened."),
        Column("seq", "BIGINT", "The position of the log at which it was opened."),
    ),
    """
WITH latest AS (
    SELECT id,
           arg_max(name, (clock, origin)) AS name,
           arg_max(topic, (clock, origin)) AS topic,
           arg_max(description, (clock, origin)) AS description,
           arg_max(privacy_mode, (clock, origin)) AS privacy_mode,
           arg_max(ttl_days, (clock, origin)) AS ttl_days,
           arg_max(preserved, (clock, origin)) AS preserved,
           arg_max(archived, (clock, origin)) AS archived,
           max_by(time, (clock, origin)) FILTER (archived IS NOT NULL) AS archived_at
    FROM channel_change WHERE seq <= $at GROUP BY id
), opened AS (
    SELECT id,
           arg_min(name, (clock, origin)) AS name,
           arg_min(description, (clock, origin)) AS description,
           arg_min(type, (clock, origin)) AS type,
           arg_min(privacy_mode, (clock, origin)) AS privacy_mode,
           arg_min(author, (clock, origin)) AS author,
           arg_min(origin, (clock, origin)) AS origin,
           arg_min(time, (clock, origin)) AS time,
           min(seq) AS seq
    FROM channel WHERE seq <= $at GROUP BY id
)
SELECT o.id, coalesce(c.name, o.name) AS name, o.type,
       coalesce(c.privacy_mode, o.privacy_mode) AS privacy_mode, coalesce(c.topic, '') AS topic,
       coalesce(c.description, o.description) AS description, o.author AS created_by,
       o.time AS created_at, CASE WHEN c.archived THEN c.archived_at END AS archived_at,
       c.ttl_days, coalesce(c.preserved, false) AS preserved,
       list_contains($mine::VARCHAR[], o.id) AS is_member, o.origin, o.seq::BIGINT AS seq
FROM opened o LEFT JOIN latest c ON c.id = o.id
WHERE o.id IN (SELECT unnest($known::VARCHAR[]))
""",
)

MEMBERS = View(
    "members",
    "Who belongs to the channels that you belong to. Everybody active belongs to `general`.",
    (
        Column("channel_id", "VARCHAR", "The channel."),
        Column("account_id", "VARCHAR", "The account."),
        Column("role", "VARCHAR", "`member` or `admin`."),
        Column("joined_at", "TIMESTAMP", "When it came, UTC; to `general` when it registered."),
        Column("seq", "BIGINT", "The position of the log at which it came."),
    ),
    """
WITH listed AS (
    SELECT channel_id, account_id,
           arg_max(coalesce(role, ''), (clock, origin)) AS role,
           max(time) FILTER (came) AS joined_at,
           max(seq) FILTER (came) AS seq
    FROM channel_member
    WHERE seq <= $at AND channel_id <> 'general'
      AND channel_id IN (SELECT unnest($mine::VARCHAR[]))
    GROUP BY channel_id, account_id
    HAVING role <> ''
)
SELECT l.channel_id, l.account_id, l.role, l.joined_at, l.seq::BIGINT AS seq FROM listed l
WHERE l.account_id IN (SELECT id FROM account WHERE seq <= $at)
UNION ALL
SELECT 'general', a.id, CASE WHEN a.id = $owner THEN 'admin' ELSE 'member' END,
       a.time, a.seq::BIGINT
FROM (SELECT id, min(time) AS time, min(seq) AS seq FROM account WHERE seq <= $at GROUP BY id) a
JOIN (
    SELECT id FROM account_change WHERE seq <= $at
    GROUP BY id HAVING arg_max(status, (clock, origin)) = 'active'
) c ON c.id = a.id
WHERE list_contains($mine::VARCHAR[], 'general')
""",
)

VIEWS = (CHANNELS, MEMBERS)

"""What the tables of channels say today: facts resolved by the greatest (clock, origin).

Statements that take `$1` as channel ids take NULL for all of them.
"""

from __future__ import annotations

CHANNELS = """
WITH latest AS (
    SELECT id,
           arg_max(name, (clock, origin)) AS name,
           arg_max(topic, (clock, origin)) AS topic,
           arg_max(description, (clock, origin)) AS description,
           arg_max(privacy_mode, (clock, origin)) AS privacy_mode,
           arg_max(ttl_days, (clock, origin)) AS ttl_days,
           arg_max(preserved, (clock, origin)) AS preserved,
           arg_max(archived, (clock, origin)) AS archived,
           max_by(time, (clock, origin)) FILTER (archived IS NOT NULL) AS archived_at,
           bool_or(removed) AS removed
    FROM channel_change GROUP BY id
), position AS (
    SELECT id, max(seq) AS seq FROM (
        SELECT id, seq FROM channel
        UNION ALL SELECT id, seq FROM channel_change
        UNION ALL SELECT channel_id, seq FROM channel_member
        UNION ALL SELECT channel_id, seq FROM channel_mute
    ) GROUP BY id
), opened AS (
    SELECT id,
           arg_min(name, (clock, origin)) AS name,
           arg_min(description, (clock, origin)) AS description,
           arg_min(type, (clock, origin)) AS type,
           arg_min(privacy_mode, (clock, origin)) AS privacy_mode,
           arg_min(author, (clock, origin)) AS author,
           arg_min(origin, (clock, origin)) AS origin,
           arg_min(time, (clock, origin)) AS time,
           min(seq) AS since
    FROM channel GROUP BY id
)
SELECT o.id,
       coalesce(c.name, o.name) AS name,
       o.type,
       coalesce(c.description, o.description) AS description,
       coalesce(c.topic, '') AS topic,
       coalesce(c.privacy_mode, o.privacy_mode) AS privacy_mode,
       o.author AS created_by,
       epoch_ms(o.time) AS created_ms,
       o.origin,
       c.ttl_days,
       coalesce(c.preserved, false) AS preserved,
       CASE WHEN c.archived THEN epoch_ms(c.archived_at) END AS archived_ms,
       coalesce(c.removed, false) AS removed,
       o.since,
       p.seq
FROM opened o
JOIN position p ON p.id = o.id
LEFT JOIN latest c ON c.id = o.id
WHERE $1::VARCHAR[] IS NULL OR list_contains($1::VARCHAR[], o.id)
ORDER BY o.since
"""
"""One row a channel, oldest first, removed ones too; `seq` is the position of its last commit."""

MEMBERS = """
SELECT channel_id, account_id,
       arg_max(coalesce(role, ''), (clock, origin)) AS role,
       epoch_ms(max(time) FILTER (came)) AS joined_ms,
       max(seq) FILTER (came) AS since
FROM channel_member
WHERE $1::VARCHAR[] IS NULL OR list_contains($1::VARCHAR[], channel_id)
GROUP BY channel_id, account_id
HAVING role <> ''
ORDER BY since
"""
"""Present members with their roles, in the order in which they came."""

MUTES = """
SELECT channel_id, account_id
FROM channel_mute
WHERE $1::VARCHAR[] IS NULL OR list_contains($1::VARCHAR[], channel_id)
GROUP BY channel_id, account_id
HAVING arg_max(muted, (clock, origin))
"""

UNREAD = """
WITH mark AS (
    SELECT unnest($1::VARCHAR[]) AS channel_id, unnest($2::UBIGINT[]) AS seq
)
SELECT m.channel_id, count(*) AS unread_count
FROM message m
JOIN mark ON mark.channel_id = m.channel_id AND m.seq > mark.seq
ANTI JOIN (SELECT id FROM message_change WHERE kind = 'message_deleted') d ON d.id = m.id
WHERE m.seq > $3 AND m.user_id <> $4 AND (m.expires_at IS NULL OR m.expires_at > $5::TIMESTAMP)
GROUP BY m.channel_id
"""
"""How many messages of others there are in each of the channels `$1` beyond the positions `$2`,
none of which is below `$3`, to the account `$4` at the time `$5`. No row for none.
"""

LAST = """
SELECT channel_id, id, epoch_ms(time) AS last_message_ms
FROM message
WHERE seq IN (
    SELECT max(seq) FROM message
    WHERE expires_at IS NULL OR expires_at > $1::TIMESTAMP
    GROUP BY channel_id
)
"""
"""The last message of every channel at the time `$1`, deleted or not."""

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

ACTIVITY = """
WITH caller AS (
    SELECT unnest($1::VARCHAR[]) AS channel_id, unnest($2::UBIGINT[]) AS since
), position AS (
    SELECT c.channel_id, greatest(c.since, coalesce(max(r.read_seq), 0)) AS read_seq
    FROM caller c
    LEFT JOIN cursor r ON r.channel_id = c.channel_id AND r.account_id = $3
    GROUP BY c.channel_id, c.since
), heard AS (
    SELECT m.channel_id, m.id, m.time,
           m.seq > p.read_seq AND m.user_id <> $3 AS unread
    FROM message m
    JOIN position p ON p.channel_id = m.channel_id
    WHERE (m.expires_at IS NULL OR m.expires_at > $4::TIMESTAMP)
)
SELECT p.channel_id, p.read_seq,
       count(*) FILTER (h.unread) AS unread_count,
       epoch_ms(max(h.time)) AS last_message_ms
FROM position p
LEFT JOIN (
    SELECT * FROM heard
    WHERE id NOT IN (SELECT id FROM message_change WHERE kind = 'message_deleted')
) h ON h.channel_id = p.channel_id
GROUP BY p.channel_id, p.read_seq
"""
"""`$1` channels, `$2` the positions at which account `$3` joined each, `$4` now (UTC): how far it
has read, how much it has not, and when something was last said there.
"""

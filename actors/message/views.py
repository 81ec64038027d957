"""What may be asked about messages in SQL: what is there now, in the asker's own channels.

What was deleted, has expired or was said in a channel that is removed is gone, also from what was
true before. What is sealed stays so: no key comes near a statement.
"""

from __future__ import annotations

from actors.view import Column, View

_THERE = """
    m.seq <= $at AND m.channel_id IN (SELECT unnest($told::VARCHAR[]))
    AND (m.expires_at IS NULL OR m.expires_at > $today::TIMESTAMP)
    AND m.id NOT IN (SELECT id FROM message_change WHERE kind = 'message_deleted')
"""

MESSAGES = View(
    "messages",
    "The messages of your channels as they stand: edited ones with their present content, without "
    "those that were deleted or have expired.",
    (
        Column("seq", "BIGINT", "The position of the log at which it was posted."),
        Column("id", "VARCHAR", "The message."),
        Column("channel_id", "VARCHAR", "The channel it was posted in."),
        Column("user_id", "VARCHAR", "The account that posted it."),
        Column("created_at", "TIMESTAMP", "When it was posted, UTC."),
        Column("content", "VARCHAR", "What it says now; NULL for what is sealed."),
        Column(
            "sealed",
            "BOOLEAN",
            "Whether the content is sealed, as in private channels: REST opens it, SQL does not.",
        ),
        Column("type", "VARCHAR", "`text`, `system`, `file`, `image`, `link` or `thread_reply`."),
        Column("thread_id", "VARCHAR", "The root of its thread; NULL for what is in none."),
        Column("parent_message_id", "VARCHAR", "The message it replies to; NULL for none."),
        Column(
            "mentions",
            "VARCHAR[]",
            "The accounts it mentions; they are not sealed, as little as who wrote it and when.",
        ),
        Column(
            "attachments",
            "VARCHAR",
            "The files it refers to: JSON, a list of objects; NULL for sealed ones.",
        ),
        Column("edited_at", "TIMESTAMP", "When it was last edited, UTC; NULL for never."),
        Column("expires_at", "TIMESTAMP", "When it will be gone, UTC; NULL for never."),
        Column("origin", "VARCHAR", "The node where it was posted."),
    ),
    f"""
WITH edit AS (
    SELECT id, arg_max(data, (clock, origin)) AS data, max_by(time, (clock, origin)) AS time
    FROM message_change
    WHERE kind = 'message_edited' AND seq <= $at
      AND channel_id IN (SELECT unnest($told::VARCHAR[]))
    GROUP BY id
)
SELECT m.seq::BIGINT AS seq, m.id, m.channel_id, m.user_id, m.time AS created_at,
       CASE WHEN hidden THEN NULL
            WHEN e.id IS NULL THEN m.content ELSE coalesce(e.data->>'content', '') END AS content,
       hidden AS sealed,
       m.type, m.thread_id, m.parent_message_id,
       CAST(CASE WHEN e.id IS NULL THEN m.mentions ELSE coalesce(e.data->'mentions', '[]') END
            AS VARCHAR[]) AS mentions,
       CASE WHEN hidden THEN NULL WHEN e.id IS NULL THEN m.attachments
            ELSE coalesce(e.data->'attachments', '[]') END::VARCHAR AS attachments,
       e.time AS edited_at, m.expires_at, m.origin
FROM message m LEFT JOIN edit e ON e.id = m.id, LATERAL (
    SELECT CASE WHEN e.id IS NULL THEN m.sealed IS NOT NULL
                ELSE (e.data->'sealed') IS NOT NULL END AS hidden
)
WHERE {_THERE}
""",  # noqa: S608  # constants of ours
)

VERSIONS = View(
    "message_versions",
    "Every version of the messages of your channels that are still there, the first one included.",
    (
        Column("message_id", "VARCHAR", "The message."),
        Column("channel_id", "VARCHAR", "Its channel."),
        Column("user_id", "VARCHAR", "The account that wrote this version."),
        Column("written_at", "TIMESTAMP", "When, UTC."),
        Column("content", "VARCHAR", "What it said then; NULL for what is sealed."),
        Column("sealed", "BOOLEAN", "Whether that is sealed."),
        Column("seq", "BIGINT", "The position of the log at which it was written."),
    ),
    f"""
SELECT m.id AS message_id, m.channel_id, m.user_id, m.time AS written_at,
       CASE WHEN m.sealed IS NULL THEN m.content END AS content, m.sealed IS NOT NULL AS sealed,
       m.seq::BIGINT AS seq
FROM message m WHERE {_THERE}
UNION ALL
SELECT c.id, c.channel_id, c.user_id, c.time,
       CASE WHEN (c.data->'sealed') IS NULL THEN coalesce(c.data->>'content', '') END,
       (c.data->'sealed') IS NOT NULL, c.seq::BIGINT
FROM message_change c JOIN message m ON m.id = c.id AND m.channel_id = c.channel_id
WHERE c.kind = 'message_edited' AND c.seq <= $at AND {_THERE}
""",  # noqa: S608  # constants of ours
)

REACTIONS = View(
    "reactions",
    "Who reacts how to the messages of your channels, at present.",
    (
        Column("message_id", "VARCHAR", "The message."),
        Column("channel_id", "VARCHAR", "Its channel."),
        Column("account_id", "VARCHAR", "The account that reacts."),
        Column("reaction", "VARCHAR", "`like`, `love`, `laugh` and so on."),
        Column("created_at", "TIMESTAMP", "When it reacted, UTC."),
        Column("seq", "BIGINT", "The position of the log at which it did."),
    ),
    f"""
SELECT r.id AS message_id, r.channel_id, r.account_id, r.reaction, r.time AS created_at,
       r.seq::BIGINT AS seq
FROM (
    SELECT id, channel_id, user_id AS account_id, data->>'reaction' AS reaction,
           arg_max(kind, (clock, origin)) AS kind, max_by(time, (clock, origin)) AS time,
           max_by(seq, (clock, origin)) AS seq
    FROM message_change
    WHERE kind IN ('reaction_added', 'reaction_removed') AND seq <= $at
      AND channel_id IN (SELECT unnest($told::VARCHAR[]))
    GROUP BY ALL
) r JOIN message m ON m.id = r.id AND m.channel_id = r.channel_id
WHERE r.kind = 'reaction_added' AND {_THERE}
""",  # noqa: S608  # constants of ours
)

THREADS = View(
    "threads",
    "The threads of your channels: roots that were answered.",
    (
        Column("id", "VARCHAR", "The message that is the root."),
        Column("channel_id", "VARCHAR", "The channel."),
        Column("started_by", "VARCHAR", "The account that wrote the root; NULL if it is gone."),
        Column("replies", "BIGINT", "How many answers are there."),
        Column("participants", "BIGINT", "How many accounts have answered."),
        Column("last_reply_at", "TIMESTAMP", "When the last answer came, UTC."),
        Column("seq", "BIGINT", "The position of the log at which the last answer came."),
    ),
    f"""
SELECT t.id, t.channel_id, r.user_id AS started_by, t.replies, t.participants, t.last_reply_at,
       t.seq
FROM (
    SELECT m.thread_id AS id, m.channel_id, count(*) AS replies,
           count(DISTINCT m.user_id) AS participants, max(m.time) AS last_reply_at,
           max(m.seq)::BIGINT AS seq
    FROM message m WHERE m.thread_id IS NOT NULL AND {_THERE}
    GROUP BY m.thread_id, m.channel_id
) t LEFT JOIN (SELECT m.id, m.channel_id, m.user_id FROM message m WHERE {_THERE}) r
    ON r.id = t.id AND r.channel_id = t.channel_id
""",  # noqa: S608  # constants of ours
)

VIEWS = (MESSAGES, VERSIONS, REACTIONS, THREADS)

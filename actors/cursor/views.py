"""What may be asked about read cursors in SQL."""

from __future__ import annotations

from actors.view import Column, View

READ_CURSORS = View(
    "read_cursors",
    "How far you have read your channels. Nobody else's cursors are told.",
    (
        Column("channel_id", "VARCHAR", "The channel."),
        Column("read_seq", "BIGINT", "The position of the log up to which you have read it."),
        Column("moved_at", "TIMESTAMP", "When the cursor last moved, UTC."),
        Column("seq", "BIGINT", "The position of the log at which it did."),
    ),
    """
SELECT channel_id, max(read_seq)::BIGINT AS read_seq, max_by(time, read_seq) AS moved_at,
       max_by(seq, read_seq)::BIGINT AS seq
FROM cursor
WHERE account_id = $reader AND seq <= $at AND channel_id IN (SELECT unnest($mine::VARCHAR[]))
GROUP BY channel_id
""",
)

VIEWS = (READ_CURSORS,)

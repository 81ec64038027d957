"""What the table of cursors says. (Unread counts are asked for in `actors.channel.queries`.)"""

from __future__ import annotations

POSITIONS = """
SELECT channel_id, max(read_seq) AS read_seq FROM cursor
WHERE account_id = $1 AND list_contains($2::VARCHAR[], channel_id)
GROUP BY channel_id
"""
"""How far the account `$1` has read each of the channels `$2`: log positions, no row for none."""

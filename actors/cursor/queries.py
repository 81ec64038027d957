"""What the table of cursors says. (Unread counts join it in `actors.channel.queries`.)"""

from __future__ import annotations

POSITION = """
SELECT coalesce(max(read_seq), 0) FROM cursor WHERE channel_id = ? AND account_id = ?
"""
"""How far one account has read one channel: a log position, 0 for not at all."""

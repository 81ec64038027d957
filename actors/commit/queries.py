"""What the table of commits says: positions by time, by command, by whom."""

from __future__ import annotations

DONE = """
SELECT seq, fingerprint FROM commit
WHERE cause = $1 AND fingerprint <> '' AND noun <> 'receipt'
ORDER BY seq LIMIT 1
"""
"""The position of what the keyed command `$1` has done, and which request it was; no row for
nothing."""

"""What the table of commits says: positions by time, by command, by whom."""

from __future__ import annotations

DONE = """
SELECT seq, fingerprint FROM commit
WHERE cause = $1 AND fingerprint <> '' AND noun <> 'receipt'
ORDER BY seq LIMIT 1
"""
"""The position of what the keyed command `$1` has done, and which request it was; no row for
nothing."""

BY_TIME = "SELECT min(seq) - 1 AS seq FROM commit WHERE time > $1::TIMESTAMP"
"""The last position before anything that happened later than `$1`; NULL when nothing did.

Not the last commit that is not later: a commit that comes from another node may be told long after
its time, and what this node knew then must not hold it (ADR 0017).
"""

STANDING = """
SELECT (SELECT epoch_ms(time) FROM commit WHERE seq = $1) AS ms,
       coalesce(max(seq), 0) AS standing
FROM commit WHERE seq <= $1 AND noun IN ('account', 'channel', 'workspace')
"""
"""When the position `$1` was, NULL for none, and the last one by then that rights may hang on."""

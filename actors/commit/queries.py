"""What the table of commits says: positions by time, by command, by whom."""

from __future__ import annotations

DONE = """
SELECT seq, fingerprint, origin FROM commit
WHERE cause = $1 AND fingerprint <> '' AND noun <> 'receipt'
ORDER BY seq LIMIT 1
"""
"""The position of what the keyed command `$1` has done, which request it was and which node did it;
no row for nothing."""

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

_COMMIT = """
SELECT seq, noun, key, id, author, origin, cause, correlation, parent, kinds,
       strftime(time, '%Y-%m-%dT%H:%M:%S.%gZ') AS time
FROM commit
"""

NAMED = f"""{_COMMIT}
WHERE seq IN (
    SELECT seq FROM commit WHERE id = $1
    UNION SELECT seq FROM commit WHERE cause = $1
    UNION SELECT seq FROM commit WHERE correlation = $1
    UNION SELECT seq FROM commit WHERE key = $1
    UNION SELECT seq FROM message WHERE id = $1
    UNION SELECT seq FROM message_change WHERE id = $1
) ORDER BY seq LIMIT $2
"""
"""The first `$2` commits that the id `$1` names: a commit, a command, a chain of causes, or what
commits are about. One condition at a time: together they would take DuckDB three times as long."""

AT = f"{_COMMIT} WHERE seq = $1"
"""The commit at the position `$1`."""

PARENTS = f"{_COMMIT} WHERE id IN (SELECT unnest($1::VARCHAR[])) ORDER BY seq LIMIT $2"
"""The commits called `$1`."""

RELATED = f"""{_COMMIT}
WHERE seq IN (
    SELECT seq FROM commit WHERE correlation IN (SELECT unnest($1::VARCHAR[]))
    UNION SELECT seq FROM commit WHERE parent IN (SELECT unnest($2::VARCHAR[]))
) ORDER BY greatest($3 - seq, seq - $4, 0), seq LIMIT $5
"""
"""Of the commits of the chains `$1`, and those that the commits `$2` have called for, the `$5` that
are nearest to the positions from `$3` to `$4`."""

_WANTED = """($2 = '' OR noun = $2) AND ($3 = '' OR key = $3) AND ($4 = '' OR author = $4)
  AND ($5 = '' OR cause = $5) AND ($6 = '' OR correlation = $6)"""

BEFORE = f"SELECT seq FROM commit WHERE seq < $1 AND {_WANTED} ORDER BY seq DESC LIMIT $7"
"""The last `$7` positions before `$1` of the noun `$2`, the key `$3`, the author `$4`, the command
`$5` and the chain `$6`, newest first; what is empty does not matter."""

AFTER = f"SELECT seq FROM commit WHERE seq > $1 AND {_WANTED} ORDER BY seq LIMIT $7"
"""The first ones after `$1`, oldest first."""

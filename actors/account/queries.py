"""What the tables of accounts say today: facts resolved by the greatest (clock, origin).

Every statement takes one list of account ids, or NULL for all of them.
"""

from __future__ import annotations

ACCOUNTS = """
WITH first AS (
    SELECT id,
           arg_min(username, (clock, origin)) AS username,
           arg_min(public_key, (clock, origin)) AS public_key,
           arg_min(origin, (clock, origin)) AS origin,
           arg_min(time, (clock, origin)) AS time,
           min(seq) AS since
    FROM account GROUP BY id
), latest AS (
    SELECT id,
           arg_max(status, (clock, origin)) AS status,
           arg_max(password_sealed, (clock, origin)) AS password_sealed,
           arg_max(display_name, (clock, origin)) AS display_name,
           arg_max(bio, (clock, origin)) AS bio,
           arg_max(avatar_file_id, (clock, origin)) AS avatar_file_id,
           arg_max(account_type, (clock, origin)) AS account_type,
           arg_max(agent_directives, (clock, origin)) AS agent_directives,
           max(time) AS time
    FROM account_change GROUP BY id
), position AS (
    SELECT id, max(seq) AS seq FROM (
        SELECT id, seq FROM account_change
        UNION ALL SELECT account_id, seq FROM api_key
        UNION ALL SELECT account_id, seq FROM api_key_revocation
        UNION ALL SELECT account_id, seq FROM session
        UNION ALL SELECT account_id, seq FROM session_closing
    ) GROUP BY id
)
SELECT a.id,
       a.username,
       c.display_name,
       c.account_type,
       c.status,
       c.password_sealed,
       a.public_key,
       coalesce(c.bio, '') AS bio,
       coalesce(c.avatar_file_id, '') AS avatar_file_id,
       coalesce(c.agent_directives, '') AS agent_directives,
       a.origin,
       epoch_ms(a.time) AS created_ms,
       epoch_ms(c.time) AS updated_ms,
       a.since,
       p.seq
FROM first a
JOIN position p ON p.id = a.id
JOIN latest c ON c.id = a.id
WHERE $1::VARCHAR[] IS NULL OR list_contains($1::VARCHAR[], a.id)
ORDER BY a.since
"""
"""One row an account, oldest first; `since` is where its first commit is, `seq` of its last."""

KEYS = """
SELECT k.id, k.account_id, k.secret_hash, k.scopes, k.label,
       epoch_ms(k.time) AS created_ms, epoch_ms(k.expires_at) AS expires_ms,
       r.id IS NOT NULL AS revoked
FROM api_key k
LEFT JOIN (SELECT DISTINCT account_id, id FROM api_key_revocation) r
    ON r.account_id = k.account_id AND r.id = k.id
WHERE $1::VARCHAR[] IS NULL OR list_contains($1::VARCHAR[], k.account_id)
ORDER BY k.seq
"""

SESSIONS = """
SELECT s.id, s.account_id, epoch_ms(s.expires_at) AS expires_ms
FROM session s
ANTI JOIN session_closing c ON c.account_id = s.account_id AND c.id = s.id
WHERE s.expires_at > $2::TIMESTAMP
  AND ($1::VARCHAR[] IS NULL OR list_contains($1::VARCHAR[], s.account_id))
ORDER BY s.seq
"""
"""Sessions that are neither closed nor, at the time `$2`, expired."""

"""What the tables of the workspace say: the first claim and the first use of a code win."""

from __future__ import annotations

OWNER = "SELECT arg_min(account_id, (clock, origin)) AS account_id FROM workspace_claim"
"""One row: the owner's account id, or NULL."""

CODES = """
SELECT c.id, c.secret_hash, epoch_ms(c.expires_at) AS expires_ms, c.label, c.author,
       epoch_ms(c.time) AS created_ms,
       arg_min(u.account_id, (u.clock, u.origin)) AS redeemed_by
FROM registration_code c
LEFT JOIN registration_code_use u ON u.id = c.id
GROUP BY c.seq, c.id, c.secret_hash, c.expires_at, c.label, c.author, c.time
ORDER BY c.seq
"""

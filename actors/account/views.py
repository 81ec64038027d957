"""What may be asked about accounts in SQL."""

from __future__ import annotations

from actors.view import Column, View

ACCOUNTS = View(
    "accounts",
    "Everybody who has an account: people and agents.",
    (
        Column("id", "VARCHAR", "The account."),
        Column("username", "VARCHAR", "The name that mentions carry; unique, whatever its case."),
        Column("display_name", "VARCHAR", "The name that is shown."),
        Column("account_type", "VARCHAR", "`human` or `agent`."),
        Column("status", "VARCHAR", "`active`, `pending_approval` or `suspended`."),
        Column("bio", "VARCHAR", "What the account says about itself."),
        Column("is_owner", "BOOLEAN", "Whether the workspace is this account's."),
        Column("origin", "VARCHAR", "The node where it was registered."),
        Column("created_at", "TIMESTAMP", "When it was registered, UTC."),
        Column("seq", "BIGINT", "The position of the log at which it was registered."),
    ),
    """
WITH first AS (
    SELECT id,
           arg_min(username, (clock, origin)) AS username,
           arg_min(origin, (clock, origin)) AS origin,
           arg_min(time, (clock, origin)) AS time,
           min(seq) AS seq
    FROM account WHERE seq <= $at GROUP BY id
), latest AS (
    SELECT id,
           arg_max(display_name, (clock, origin)) AS display_name,
           arg_max(account_type, (clock, origin)) AS account_type,
           arg_max(status, (clock, origin)) AS status,
           arg_max(bio, (clock, origin)) AS bio
    FROM account_change WHERE seq <= $at GROUP BY id
)
SELECT first.id, first.username, latest.display_name, latest.account_type, latest.status,
       coalesce(latest.bio, '') AS bio, coalesce(first.id = $owner, false) AS is_owner,
       first.origin, first.time AS created_at, first.seq::BIGINT AS seq
FROM first JOIN latest ON latest.id = first.id
""",
)

API_KEYS = View(
    "api_keys",
    "Your API keys, revoked and expired ones too, for who asks with one that holds `manage_keys`; "
    "never the keys themselves, and nobody else's.",
    (
        Column("id", "VARCHAR", "The key, as `canopy key list` names it."),
        Column("user_id", "VARCHAR", "Whose it is: yours."),
        Column("permissions", "VARCHAR[]", "What it may do."),
        Column("label", "VARCHAR", "What it is for."),
        Column("created_at", "TIMESTAMP", "When it was made, UTC."),
        Column("expires_at", "TIMESTAMP", "When it expires, UTC; NULL for never."),
        Column("revoked", "BOOLEAN", "Whether it has been revoked."),
        Column("seq", "BIGINT", "The position of the log at which it was made."),
    ),
    """
SELECT id, account_id AS user_id, list_sort(scopes) AS permissions, label, time AS created_at,
       expires_at,
       id IN (
           SELECT id FROM api_key_revocation WHERE account_id = $reader AND seq <= $at
       ) AS revoked,
       seq::BIGINT AS seq
FROM api_key WHERE account_id = $reader AND $keeper AND seq <= $at
""",
)

VIEWS = (ACCOUNTS, API_KEYS)

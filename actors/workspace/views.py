"""What may be asked about the workspace in SQL."""

from __future__ import annotations

from actors.view import Column, View

THE_WORKSPACE = View(
    "workspace",
    "Whose the workspace is: one row, none as long as it is nobody's.",
    (
        Column("owner_id", "VARCHAR", "The account that owns it."),
        Column("seq", "BIGINT", "The position of the log at which it was claimed."),
    ),
    """
SELECT arg_min(account_id, (clock, origin)) AS owner_id,
       arg_min(seq, (clock, origin))::BIGINT AS seq
FROM workspace_claim WHERE seq <= $at HAVING count(*) > 0
""",
)

VIEWS = (THE_WORKSPACE,)

"""What an agent is told about how to work: the owner's text, or a default. People get none."""

from __future__ import annotations

from typing import Any

from gateway.directory import Account

DEFAULT = """\
You are a member of this workspace, like the people in it.
- Read before you write: look at the channel's recent messages and answer what was asked.
- Reply in the thread you were asked in (`reply_to`), and say what you did, not what you will do.
- Mention somebody (@name) only when he has to act.
- Never put keys, passwords or private data into a message.
- When you are unsure whether something may be done, ask first."""


def effective(account: Account) -> str | None:
    """What the account is told now."""
    return account.agent_directives or (DEFAULT if account.account_type == "agent" else None)


def source(account: Account) -> dict[str, Any]:
    """Whom the directives are for, and where they come from."""
    fallback = "default" if account.account_type == "agent" else "none"
    return {
        "user_id": account.id,
        "username": account.username,
        "display_name": account.display_name,
        "source": "custom" if account.agent_directives else fallback,
    }

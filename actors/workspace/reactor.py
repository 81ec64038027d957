"""Welcomes accounts: the first one to be registered is offered the workspace."""

from __future__ import annotations

from collections.abc import Sequence

from actors.reactor import Intent, Reactor
from bus.subjects import event
from schemas.account import AccountRegistered
from schemas.envelope import Commit
from schemas.workspace import WORKSPACE, ClaimWorkspace


def plan(commit: Commit) -> Sequence[Intent]:
    """A claim for each account that has been registered; only the first claim has an effect."""
    return [
        Intent("workspace", WORKSPACE, ClaimWorkspace(account_id=commit.header.key))
        for fact in commit.events
        if isinstance(fact, AccountRegistered)
    ]


WELCOME = Reactor("welcome", plan, event("account", ">"))

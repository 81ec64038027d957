"""The workspace: who owns this node, and which one-time codes let others register."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from schemas.envelope import Command, Event, Id
from schemas.text import LegibleLabel

WORKSPACE: Id = "main"
"""The key of the one workspace of a node."""

Label = Annotated[str, StringConstraints(max_length=100)]


class ClaimWorkspace(Command):
    """The first account to claim it owns it; later claims change nothing."""

    kind: Literal["claim_workspace"] = "claim_workspace"
    account_id: Id


class IssueCode(Command):
    kind: Literal["issue_code"] = "issue_code"
    code_id: Id
    secret_hash: str
    expires_at: str
    label: LegibleLabel = ""


class RedeemCode(Command):
    """Uses a code up for one account; the same account may try again."""

    kind: Literal["redeem_code"] = "redeem_code"
    code_id: Id
    account_id: Id


WorkspaceCommand = Annotated[ClaimWorkspace | IssueCode | RedeemCode, Field(discriminator="kind")]


class WorkspaceClaimed(Event):
    kind: Literal["workspace_claimed"] = "workspace_claimed"
    account_id: Id


class CodeIssued(Event):
    kind: Literal["code_issued"] = "code_issued"
    code_id: Id
    secret_hash: str
    expires_at: str
    label: Label = ""


class CodeRedeemed(Event):
    kind: Literal["code_redeemed"] = "code_redeemed"
    code_id: Id
    account_id: Id


WorkspaceEvent = WorkspaceClaimed | CodeIssued | CodeRedeemed

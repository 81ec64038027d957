"""The workspace: owned by the first account that claimed it; each of its codes lets one in."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import assert_never

from actors.aggregate import Aggregate
from actors.register import Register
from schemas.envelope import Header, Id, Refused
from schemas.vocabulary import NOUNS
from schemas.workspace import (
    ClaimWorkspace,
    CodeIssued,
    CodeRedeemed,
    IssueCode,
    RedeemCode,
    WorkspaceClaimed,
    WorkspaceCommand,
    WorkspaceEvent,
)


@dataclass(frozen=True)
class Workspace:
    """`codes` are the ones ever issued, `redeemed` who came in with which."""

    owner: Register[Id | None] = field(default_factory=lambda: Register[Id | None](None))
    codes: tuple[Id, ...] = ()
    redeemed: dict[Id, Register[Id]] = field(default_factory=dict)


def decide(
    command: WorkspaceCommand, workspace: Workspace, author: Id
) -> tuple[WorkspaceEvent, ...]:
    """The events that *command* causes: none if it is so already, `Refused` if it may not be."""
    match command:
        case ClaimWorkspace():
            claimed = WorkspaceClaimed(account_id=command.account_id)
            return () if workspace.owner.value else (claimed,)
        case IssueCode():
            issued = CodeIssued(**command.model_dump(exclude={"kind"}))
            return () if command.code_id in workspace.codes else (issued,)
        case RedeemCode() if command.code_id not in workspace.codes:
            raise Refused("code_absent", "This code is not known here: ask the owner for one.")
        case RedeemCode():
            return _redeemed(command, workspace)
    assert_never(command)


def evolve(workspace: Workspace, event: WorkspaceEvent, header: Header) -> Workspace:
    """The workspace after *event*. Total: an event is history, and history is never refused."""
    match event:
        case WorkspaceClaimed():
            return replace(workspace, owner=workspace.owner.claimed(event.account_id, header.stamp))
        case CodeIssued():
            return replace(workspace, codes=tuple(sorted({*workspace.codes, event.code_id})))
        case CodeRedeemed():
            before = workspace.redeemed.get(event.code_id, Register(event.account_id))
            after = before.claimed(event.account_id, header.stamp)
            return replace(workspace, redeemed=workspace.redeemed | {event.code_id: after})
    assert_never(event)


def _redeemed(command: RedeemCode, workspace: Workspace) -> tuple[WorkspaceEvent, ...]:
    before = workspace.redeemed.get(command.code_id)
    if before is None:
        return (CodeRedeemed(code_id=command.code_id, account_id=command.account_id),)
    if before.value == command.account_id:
        return ()
    raise Refused("code_used", "This code has been used: ask the owner for a fresh one.")


WORKSPACE = Aggregate("workspace", Workspace(), decide, evolve, NOUNS["workspace"].commands)

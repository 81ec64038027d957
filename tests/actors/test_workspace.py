"""The workspace decides: one owner, and every code lets one in."""

from __future__ import annotations

from actors.workspace.aggregate import WORKSPACE
from schemas.workspace import (
    ClaimWorkspace,
    CodeIssued,
    CodeRedeemed,
    IssueCode,
    RedeemCode,
    WorkspaceClaimed,
)
from tests.given import given

CLAIMED = WorkspaceClaimed(account_id="ann")
ISSUE = IssueCode(code_id="c1", secret_hash="aa", expires_at="2030-01-01T00:00:00Z", label="bob")
ISSUED = CodeIssued(code_id="c1", secret_hash="aa", expires_at="2030-01-01T00:00:00Z", label="bob")
REDEEMED = CodeRedeemed(code_id="c1", account_id="bob")


def test_who_claims_first_owns_the_workspace() -> None:
    assert given(WORKSPACE).when(ClaimWorkspace(account_id="ann")) == (CLAIMED,)
    assert given(WORKSPACE, CLAIMED).when(ClaimWorkspace(account_id="bob")) == ()


def test_an_earlier_claim_that_is_heard_late_still_wins() -> None:
    assert given(WORKSPACE, CLAIMED, WorkspaceClaimed(account_id="bob")).state.owner.value == "ann"


def test_a_code_is_issued_once() -> None:
    assert given(WORKSPACE).when(ISSUE) == (ISSUED,)
    assert given(WORKSPACE, ISSUED).when(ISSUE) == ()


def test_a_code_lets_one_account_in() -> None:
    redeem = RedeemCode(code_id="c1", account_id="bob")

    assert given(WORKSPACE, ISSUED).when(redeem) == (REDEEMED,)
    assert given(WORKSPACE, ISSUED, REDEEMED).when(redeem) == ()


def test_a_used_code_lets_nobody_else_in() -> None:
    redeem = RedeemCode(code_id="c1", account_id="cyd")

    given(WORKSPACE, ISSUED, REDEEMED).when(redeem).refuses("code_used")


def test_an_unknown_code_lets_nobody_in() -> None:
    given(WORKSPACE).when(RedeemCode(code_id="c9", account_id="bob")).refuses("code_absent")

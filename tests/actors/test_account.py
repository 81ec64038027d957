"""An account decides: who it is, what speaks for it, and that nothing revoked comes back."""

from __future__ import annotations

from actors.account.aggregate import ACCOUNT
from schemas.account import (
    AccountRegistered,
    ChangePassword,
    ChangeProfile,
    ChangeStatus,
    CloseSession,
    CreateKey,
    KeyCreated,
    KeyRevoked,
    NewKey,
    OpenSession,
    PasswordChanged,
    ProfileChanged,
    RegisterAccount,
    RevokeKey,
    SessionClosed,
    SessionOpened,
    StatusChanged,
)
from tests.given import given

FIRST = NewKey(key_id="K1", secret_hash="aa")
SECOND = NewKey(key_id="K2", secret_hash="bb", label="laptop", expires_at="2030-01-01T00:00:00Z")
REGISTER = RegisterAccount(
    username="ann", display_name="Ann", password_sealed="sealed", public_key="pub", key=FIRST
)
REGISTERED = AccountRegistered(
    username="ann",
    display_name="Ann",
    account_type="human",
    status="active",
    password_sealed="sealed",
    public_key="pub",
)
FIRST_CREATED = KeyCreated(key_id="K1", secret_hash="aa", scopes=FIRST.scopes)
LATER = "2030-01-01T00:00:00Z"
ANN = (REGISTERED, FIRST_CREATED)


def test_an_account_is_registered_with_its_first_key() -> None:
    """Both facts are one commit, so no account exists that nobody can use."""
    assert given(ACCOUNT).when(REGISTER) == ANN


def test_a_name_is_taken_once() -> None:
    given(ACCOUNT, *ANN).when(REGISTER).refuses("username_taken")


def test_nothing_can_be_done_to_an_account_that_does_not_exist() -> None:
    given(ACCOUNT).when(ChangeStatus(status="suspended")).refuses("account_absent")


def test_an_account_is_suspended_once() -> None:
    suspend = ChangeStatus(status="suspended")

    assert given(ACCOUNT, *ANN).when(suspend) == (StatusChanged(status="suspended"),)
    assert given(ACCOUNT, *ANN, StatusChanged(status="suspended")).when(suspend) == ()


def test_a_suspended_account_becomes_active_again() -> None:
    suspended = given(ACCOUNT, *ANN, StatusChanged(status="suspended"))

    assert suspended.when(ChangeStatus(status="active")) == (StatusChanged(status="active"),)


def test_a_profile_changes_in_what_was_said() -> None:
    assert given(ACCOUNT, *ANN).when(ChangeProfile(bio="Hi.")) == (ProfileChanged(bio="Hi."),)


def test_a_password_is_replaced() -> None:
    changed = (PasswordChanged(password_sealed="other"),)

    assert given(ACCOUNT, *ANN).when(ChangePassword(password_sealed="other")) == changed


def test_a_key_is_created_with_all_that_was_asked_for() -> None:
    created = KeyCreated(**SECOND.model_dump())

    assert given(ACCOUNT, *ANN).when(CreateKey(key=SECOND)) == (created,)


def test_a_key_is_created_once() -> None:
    assert given(ACCOUNT, *ANN).when(CreateKey(key=FIRST)) == ()


def test_a_key_is_revoked_once() -> None:
    revoke, revoked = RevokeKey(key_id="K1"), KeyRevoked(key_id="K1")

    assert given(ACCOUNT, *ANN).when(revoke) == (revoked,)
    assert given(ACCOUNT, *ANN, revoked).when(revoke) == ()


def test_a_revoked_key_is_not_created_again() -> None:
    revoked = given(ACCOUNT, *ANN, KeyRevoked(key_id="K1"), FIRST_CREATED)

    assert revoked.when(CreateKey(key=FIRST)) == ()
    assert revoked.state.keys == {"K1": False}


def test_an_unknown_key_cannot_be_revoked() -> None:
    given(ACCOUNT, *ANN).when(RevokeKey(key_id="K9")).refuses("key_absent")


def test_a_session_is_opened_and_closed_once() -> None:
    opened = SessionOpened(session_id="S1", expires_at=LATER)
    closed = SessionClosed(session_id="S1")
    opening = OpenSession(session_id="S1", expires_at=LATER)
    closing = CloseSession(session_id="S1")

    assert given(ACCOUNT, *ANN).when(opening) == (opened,)
    assert given(ACCOUNT, *ANN, opened).when(opening) == ()
    assert given(ACCOUNT, *ANN, opened).when(closing) == (closed,)
    assert given(ACCOUNT, *ANN, opened, closed).when(closing) == ()


def test_a_closed_session_stays_closed_when_its_opening_is_heard_late() -> None:
    closed = given(ACCOUNT, *ANN, SessionClosed(session_id="S1"))
    late = given(
        ACCOUNT,
        *ANN,
        SessionClosed(session_id="S1"),
        SessionOpened(session_id="S1", expires_at=LATER),
    )

    assert late.state == closed.state


def test_an_unknown_session_cannot_be_closed() -> None:
    given(ACCOUNT, *ANN).when(CloseSession(session_id="S9")).refuses("session_absent")

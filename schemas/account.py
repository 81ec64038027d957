"""Accounts: people and agents, their keys and their browser sessions.

An account's id derives from its node and username, so a name is taken once without any register.
Passwords arrive sealed (`bus.crypto`): neither log nor tables hold anything to guess at.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from schemas.envelope import Command, Event, Id, Message
from schemas.text import LegibleLabel, LegibleName

AccountType = Literal["human", "agent"]
Status = Literal["active", "pending_approval", "suspended"]
Scope = Literal[
    "read_messages",
    "write_messages",
    "read_files",
    "write_files",
    "read_feed",
    "write_feed",
    "voice_call",
    "manage_keys",
    "view_trust",
    "delete_data",
]
DEFAULT_SCOPES: tuple[Scope, ...] = ("read_messages", "write_messages", "read_feed", "write_feed")

Username = Annotated[
    str, StringConstraints(pattern=r"^[A-Za-z0-9](?:[A-Za-z0-9_.-]{0,47}[A-Za-z0-9])$")
]
"""2 to 49 characters that an @-mention can carry."""
DisplayName = Annotated[str, StringConstraints(min_length=1, max_length=100)]
Text = Annotated[str, StringConstraints(max_length=10_000)]


class NewKey(Message):
    """An API key as it is stored: `secret_hash` is the SHA-256 (hex) of 256 random bits."""

    key_id: Id
    secret_hash: str
    scopes: tuple[Scope, ...] = DEFAULT_SCOPES
    label: LegibleLabel = ""
    expires_at: str | None = None


class RegisterAccount(Command):
    kind: Literal["register_account"] = "register_account"
    username: Username
    display_name: LegibleName
    account_type: AccountType = "human"
    status: Status = "active"
    password_sealed: str
    public_key: str
    key: NewKey


class ChangeStatus(Command):
    kind: Literal["change_status"] = "change_status"
    status: Literal["active", "suspended"]


class ChangeProfile(Command):
    """Fields left None stay as they are; an empty text clears."""

    kind: Literal["change_profile"] = "change_profile"
    display_name: LegibleName | None = None
    bio: Text | None = None
    avatar_file_id: Id | Literal[""] | None = None
    account_type: AccountType | None = None
    agent_directives: Text | None = None


class ChangePassword(Command):
    kind: Literal["change_password"] = "change_password"
    password_sealed: str


class CreateKey(Command):
    kind: Literal["create_key"] = "create_key"
    key: NewKey


class RevokeKey(Command):
    kind: Literal["revoke_key"] = "revoke_key"
    key_id: Id


class OpenSession(Command):
    kind: Literal["open_session"] = "open_session"
    session_id: Id
    expires_at: str


class CloseSession(Command):
    kind: Literal["close_session"] = "close_session"
    session_id: Id


AccountCommand = Annotated[
    RegisterAccount
    | ChangeStatus
    | ChangeProfile
    | ChangePassword
    | CreateKey
    | RevokeKey
    | OpenSession
    | CloseSession,
    Field(discriminator="kind"),
]


class AccountRegistered(Event):
    kind: Literal["account_registered"] = "account_registered"
    username: Username
    display_name: DisplayName
    account_type: AccountType
    status: Status
    password_sealed: str
    public_key: str


class StatusChanged(Event):
    kind: Literal["status_changed"] = "status_changed"
    status: Status


class ProfileChanged(Event):
    kind: Literal["profile_changed"] = "profile_changed"
    display_name: DisplayName | None = None
    bio: Text | None = None
    avatar_file_id: Id | Literal[""] | None = None
    account_type: AccountType | None = None
    agent_directives: Text | None = None


class PasswordChanged(Event):
    kind: Literal["password_changed"] = "password_changed"
    password_sealed: str


class KeyCreated(Event):
    kind: Literal["key_created"] = "key_created"
    key_id: Id
    secret_hash: str
    scopes: tuple[Scope, ...]
    label: str = ""
    expires_at: str | None = None


class KeyRevoked(Event):
    kind: Literal["key_revoked"] = "key_revoked"
    key_id: Id


class SessionOpened(Event):
    kind: Literal["session_opened"] = "session_opened"
    session_id: Id
    expires_at: str


class SessionClosed(Event):
    kind: Literal["session_closed"] = "session_closed"
    session_id: Id


AccountEvent = (
    AccountRegistered
    | StatusChanged
    | ProfileChanged
    | PasswordChanged
    | KeyCreated
    | KeyRevoked
    | SessionOpened
    | SessionClosed
)

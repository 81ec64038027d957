"""Accounts, keys, sessions and codes as they are sent and shown."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, StringConstraints, field_validator

from gateway.shapes.form import WHOLE, Body, Change, IdText, Query, Seq, Shape, Time, at_least_one
from schemas.account import (
    DEFAULT_SCOPES,
    AccountType,
    Scope,
    Status,
    Text,
    Username,
)
from schemas.text import LegibleLabel, LegibleName

Password = Annotated[
    str,
    StringConstraints(min_length=1, max_length=1024),
    Field(json_schema_extra={"format": "password"}),
]
CodeText = Annotated[str, StringConstraints(max_length=200)]


class Registration(Body):
    username: Username = Field(description="2 to 49 letters, digits, `_ . -`.")
    password: Password = Field(
        description="8 characters or more: upper and lower case, a digit, a special character."
    )
    display_name: LegibleName | None = None
    account_type: AccountType = "human"
    setup_code: CodeText | None = Field(
        None, description="The setup code of the node, or a one-time code of the owner."
    )


class Registered(Shape):
    user_id: str
    username: str
    display_name: str
    account_type: AccountType
    status: Status
    api_key: str = Field(description="Shown this once.")
    public_key: str = Field(description="Ed25519, base64.")
    message: str
    seq: Seq


class OwnStatus(Shape):
    user_id: str
    username: str
    display_name: str
    account_type: AccountType
    status: Status
    permissions: list[Scope]
    is_owner: bool


class DirectiveSource(Shape):
    user_id: str
    username: str
    display_name: str
    source: Literal["custom", "default", "none"]


class Profile(Shape):
    id: str
    user_id: str
    username: str
    display_name: str
    bio: str
    avatar_file_id: str | None
    avatar_url: str | None
    account_type: AccountType
    status: Status
    public_key: str
    created_at: Time
    updated_at: Time
    agent_directives: str | None
    agent_directives_effective: str | None
    agent_directives_source: DirectiveSource


class ProfileChange(Change):
    model_config = at_least_one(
        "display_name", "bio", "avatar_file_id", "account_type", "agent_directives"
    )

    display_name: LegibleName | None = None
    bio: Text | None = None
    avatar_file_id: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{0,100}$")] | None = None
    account_type: str | None = Field(None, max_length=50, description="agent; all else is human.")
    agent_directives: Text | None = Field(None, description="Only the owner may set his own here.")


class Directives(Body):
    agent_directives: Text = Field(description="Empty: back to the default.")


class ProfileChanged(Shape):
    success: bool
    seq: Seq


class KeyDraft(Body):
    permissions: list[Scope] | Scope | None = Field(
        None, description="Scopes; none: read and write messages and feed."
    )
    expires_days: Annotated[int, Field(ge=1, le=3650), WHOLE] | None = Field(
        None, description="days"
    )
    label: LegibleLabel | None = None

    @property
    def scopes(self) -> tuple[Scope, ...]:
        """The scopes that are asked for, each once."""
        asked = [self.permissions] if isinstance(self.permissions, str) else self.permissions
        return tuple(dict.fromkeys(asked or DEFAULT_SCOPES))


class KeyMade(Shape):
    id: str
    api_key: str = Field(description="Shown this once.")
    user_id: str
    permissions: list[Scope]
    label: str
    expires_days: int | None
    expires_at: Time | None
    seq: Seq


class KeyShape(Shape):
    id: str
    user_id: str
    permissions: list[Scope]
    label: str
    created_at: Time
    expires_at: Time | None
    revoked: bool


class KeyList(Shape):
    keys: list[KeyShape]


class KeyRevoked(Shape):
    message: str
    seq: Seq


class AccountsQuery(Query):
    limit: int | None = Field(None, ge=1, description="Default 50, at most 200 count.")
    cursor: str | None = Field(None, description="`next` of an earlier page.")
    status: Status | None = None
    username: str | None = Field(None, description="Only the account of this name.")


class AccountShape(Shape):
    user_id: str
    username: str
    display_name: str
    account_type: AccountType
    status: Status
    bio: str
    avatar_file_id: str | None
    origin_peer: str
    public_key: str
    created_at: Time


class AccountPage(Shape):
    accounts: list[AccountShape]
    count: int
    next: str | None


class OneAccount(Shape):
    account: AccountShape


class Judged(Shape):
    success: bool
    user_id: str
    status: Status
    seq: Seq


class Login(Body):
    username: str = Field(min_length=1, max_length=100)
    password: Password

    @field_validator("username")
    @classmethod
    def _bare(cls, value: str) -> str:
        return value.strip()


class SessionShape(Shape):
    user_id: str
    username: str
    display_name: str
    account_type: AccountType
    status: Status
    is_owner: bool
    csrf_token: str = Field(description="Send it as X-CSRF-Token with every change.")


class SessionOpened(SessionShape):
    expires_at: Time
    seq: Seq


class SessionClosed(Shape):
    message: str
    seq: Seq


class PasswordChange(Body):
    current_password: Password
    new_password: Password


class PasswordChanged(Shape):
    success: bool
    seq: Seq


class CodeDraft(Body):
    label: LegibleLabel | None = None
    expires_days: Annotated[int, Field(ge=1, le=365), WHOLE] | None = Field(
        None, description="days; default 7"
    )


class CodeMade(Shape):
    id: str
    code: str = Field(description="Lets one account register. Shown this once.")
    label: str
    expires_at: Time
    seq: Seq


class CodeShape(Shape):
    id: str
    label: str
    created_at: Time
    expires_at: Time | None
    redeemed_by: IdText | None


class CodeList(Shape):
    codes: list[CodeShape]

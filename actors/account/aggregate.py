"""An account: its standing, its profile, and the keys and sessions that speak for it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import assert_never

from actors.aggregate import Aggregate
from actors.register import Register
from schemas.account import (
    AccountCommand,
    AccountEvent,
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
    Status,
    StatusChanged,
)
from schemas.envelope import Header, Id, Refused
from schemas.vocabulary import NOUNS


@dataclass(frozen=True)
class Account:
    """Keys and sessions map to whether they still hold: once revoked, they never hold again."""

    registered: bool = False
    status: Register[Status] = field(default_factory=lambda: Register[Status]("active"))
    keys: dict[Id, bool] = field(default_factory=dict)
    sessions: dict[Id, bool] = field(default_factory=dict)


def decide(command: AccountCommand, account: Account, author: Id) -> tuple[AccountEvent, ...]:
    """The events that *command* causes: none if it is so already, `Refused` if it may not be."""
    match command:
        case RegisterAccount() if account.registered:
            raise Refused("username_taken", "This username is taken: choose another one.")
        case RegisterAccount():
            registered = AccountRegistered(
                username=command.username,
                display_name=command.display_name,
                account_type=command.account_type,
                status=command.status,
                password_sealed=command.password_sealed,
                public_key=command.public_key,
            )
            return (registered, _key(command.key))
        case _ if not account.registered:
            raise Refused("account_absent", "There is no such account.")
        case ChangeStatus():
            same = command.status == account.status.value
            return () if same else (StatusChanged(status=command.status),)
        case ChangeProfile():
            return (ProfileChanged(**command.model_dump(exclude={"kind"})),)
        case ChangePassword():
            return (PasswordChanged(password_sealed=command.password_sealed),)
        case CreateKey():
            return () if command.key.key_id in account.keys else (_key(command.key),)
        case RevokeKey():
            return _ended(command.key_id, account.keys, "key", KeyRevoked(key_id=command.key_id))
        case OpenSession():
            opened = SessionOpened(session_id=command.session_id, expires_at=command.expires_at)
            return () if command.session_id in account.sessions else (opened,)
        case CloseSession():
            closed = SessionClosed(session_id=command.session_id)
            return _ended(command.session_id, account.sessions, "session", closed)
    assert_never(command)


def evolve(account: Account, event: AccountEvent, header: Header) -> Account:
    """The account after *event*. Total: an event is history, and history is never refused."""
    match event:
        case AccountRegistered():
            status = account.status.written(event.status, header.stamp)
            return replace(account, registered=True, status=status)
        case StatusChanged():
            return replace(account, status=account.status.written(event.status, header.stamp))
        case ProfileChanged() | PasswordChanged():
            return account
        case KeyCreated():
            return replace(account, keys={event.key_id: True} | account.keys)
        case KeyRevoked():
            return replace(account, keys=account.keys | {event.key_id: False})
        case SessionOpened():
            return replace(account, sessions={event.session_id: True} | account.sessions)
        case SessionClosed():
            return replace(account, sessions=account.sessions | {event.session_id: False})
    assert_never(event)


def _key(key: NewKey) -> KeyCreated:
    return KeyCreated(**key.model_dump())


def _ended(
    token: Id, holding: dict[Id, bool], noun: str, event: AccountEvent
) -> tuple[AccountEvent, ...]:
    if token not in holding:
        raise Refused(f"{noun}_absent", f"There is no such {noun}.")
    return (event,) if holding[token] else ()


ACCOUNT = Aggregate(
    "account", Account(), decide, evolve, NOUNS["account"].commands, opens="register_account"
)

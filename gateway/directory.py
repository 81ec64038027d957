"""Who is who and who belongs where, in memory: what rights are decided from.

A copy of the tables of accounts, channels and the workspace at the position of the projection:
loaded once, then refreshed after each folded batch for what the batch touched. Lookups are
dictionary reads, so a check of rights costs microseconds. One writer (the projector's task); every
value is frozen and replaced whole, never between two awaits of a reader.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from actors.account import queries as accounts
from actors.channel import queries as channels
from actors.workspace import queries as workspace
from bus.clock import iso_ms, wall_ms
from schemas.account import AccountType, Scope, Status
from schemas.channel import GENERAL, ChannelType, PrivacyMode, Role

Row = dict[str, Any]
Rows = Callable[[str, Sequence[Any]], Awaitable[list[Row]]]
"""Runs a statement with its arguments; one dictionary a row."""


@dataclass(frozen=True, slots=True)
class Account:
    """An account today. `since` is the position of its first commit, `seq` of its last."""

    id: str
    username: str
    display_name: str
    account_type: AccountType
    status: Status
    password_sealed: str = field(repr=False)
    public_key: str
    bio: str
    avatar_file_id: str
    agent_directives: str
    origin: str
    created_ms: int
    updated_ms: int
    since: int
    seq: int


@dataclass(frozen=True, slots=True)
class ApiKey:
    id: str
    account_id: str
    secret_hash: bytes = field(repr=False)
    scopes: frozenset[Scope]
    label: str
    created_ms: int
    expires_ms: int | None
    revoked: bool


@dataclass(frozen=True, slots=True)
class Session:
    id: str
    account_id: str
    expires_ms: int


@dataclass(frozen=True, slots=True)
class Member:
    account_id: str
    role: Role
    joined_ms: int
    since: int


@dataclass(frozen=True, slots=True)
class Channel:
    """A channel today. `members` are those listed; of `general` every active account is one."""

    id: str
    name: str
    type: ChannelType
    description: str
    topic: str
    privacy_mode: PrivacyMode
    created_by: str
    created_ms: int
    origin: str
    ttl_days: int | None
    preserved: bool
    archived_ms: int | None
    removed: bool
    since: int
    seq: int
    members: Mapping[str, Member]
    muted: frozenset[str]


@dataclass(frozen=True, slots=True)
class Code:
    """A one-time code for registering."""

    id: str
    secret_hash: bytes = field(repr=False)
    expires_ms: int | None
    label: str
    author: str
    created_ms: int
    redeemed_by: str | None


class Directory:
    """Lookups over the tables at one position."""

    def __init__(self) -> None:
        self.owner_id: str | None = None
        self._accounts: dict[str, Account] = {}
        self._names: dict[str, str] = {}
        self._keys: dict[str, ApiKey] = {}
        self._keys_of: dict[str, tuple[ApiKey, ...]] = {}
        self._sessions: dict[str, Session] = {}
        self._sessions_of: dict[str, tuple[str, ...]] = {}
        self._channels: dict[str, Channel] = {}
        self._channels_of: dict[str, set[str]] = {}
        self._codes: dict[str, Code] = {}

    async def load(self, rows: Rows) -> None:
        """Read everything."""
        await self._read_accounts(rows, None)
        await self._read_channels(rows, None)
        await self._read_workspace(rows)

    async def refresh(self, rows: Rows, touched: Iterable[tuple[str, str]]) -> None:
        """Read again the aggregates *touched*: pairs of noun and key."""
        keys: dict[str, set[str]] = {}
        for noun, key in touched:
            keys.setdefault(noun, set()).add(key)
        if "account" in keys:
            await self._read_accounts(rows, sorted(keys["account"]))
        if "channel" in keys:
            await self._read_channels(rows, sorted(keys["channel"]))
        if "workspace" in keys:
            await self._read_workspace(rows)

    def account(self, account_id: str) -> Account | None:
        return self._accounts.get(account_id)

    def by_username(self, username: str) -> Account | None:
        """The account of that name, whatever its case."""
        return self._accounts.get(self._names.get(username.casefold(), ""))

    def accounts(self) -> Iterator[Account]:
        """All accounts, oldest first."""
        return iter(self._accounts.values())

    def key(self, key_id: str) -> ApiKey | None:
        return self._keys.get(key_id)

    def keys_of(self, account_id: str) -> tuple[ApiKey, ...]:
        """All keys of an account, oldest first, revoked and expired ones included."""
        return self._keys_of.get(account_id, ())

    def session(self, session_id: str) -> Session | None:
        """An open session; whoever asks compares `expires_ms` with the time."""
        return self._sessions.get(session_id)

    def sessions_of(self, account_id: str) -> tuple[str, ...]:
        """The ids of an account's open sessions."""
        return self._sessions_of.get(account_id, ())

    def code(self, code_id: str) -> Code | None:
        return self._codes.get(code_id)

    def codes(self) -> Iterator[Code]:
        return iter(self._codes.values())

    def channel(self, channel_id: str) -> Channel | None:
        """A channel that has not been removed."""
        channel = self._channels.get(channel_id)
        return None if channel is None or channel.removed else channel

    def removed(self, channel_id: str) -> Channel | None:
        """A channel that has been removed, as it was."""
        channel = self._channels.get(channel_id)
        return channel if channel is not None and channel.removed else None

    def channels(self) -> Iterator[Channel]:
        """All channels that have not been removed, oldest first."""
        return (channel for channel in self._channels.values() if not channel.removed)

    def all_channels(self) -> Iterator[Channel]:
        """All channels that there ever were, removed ones too."""
        return iter(self._channels.values())

    def role(self, channel_id: str, account_id: str) -> Role | None:
        """The role of an account in a channel, None for who does not belong to it.

        Every active account belongs to `general`, where the owner is admin.
        """
        channel = self.channel(channel_id)
        if channel is None:
            return None
        if channel_id == GENERAL:
            return self._role_in_general(account_id)
        member = channel.members.get(account_id)
        return member.role if member else None

    def _role_in_general(self, account_id: str) -> Role | None:
        account = self._accounts.get(account_id)
        if account is None or account.status != "active":
            return None
        return "admin" if account_id == self.owner_id else "member"

    def channels_of(self, account_id: str) -> list[Channel]:
        """The channels an account belongs to, oldest first."""
        mine = self._channels_of.get(account_id, set()) | {GENERAL}
        found = [
            self._channels[channel_id] for channel_id in mine if self.role(channel_id, account_id)
        ]
        return sorted(found, key=lambda channel: channel.since)

    def members(self, channel: Channel) -> list[tuple[Account, Role]]:
        """Who belongs to a channel, with their roles, in the order in which they came."""
        listed = self._accounts if channel.id == GENERAL else channel.members
        return [
            (self._accounts[account_id], role)
            for account_id in listed
            if account_id in self._accounts and (role := self.role(channel.id, account_id))
        ]

    def joined(self, channel: Channel, account_id: str) -> int:
        """The position at which an account came to a channel: what is earlier is not unread."""
        if (member := channel.members.get(account_id)) is not None:
            return member.since
        account = self._accounts.get(account_id)
        return max(channel.since, account.since) if account else channel.since

    async def _read_accounts(self, rows: Rows, ids: list[str] | None) -> None:
        found = await rows(accounts.ACCOUNTS, [ids])
        keys = await rows(accounts.KEYS, [ids])
        sessions = await rows(accounts.SESSIONS, [ids, iso_ms(wall_ms())])
        for row in found:
            account = Account(**row)
            self._accounts[account.id] = account
            self._names[account.username.casefold()] = account.id
            for session_id in self._sessions_of.pop(account.id, ()):
                self._sessions.pop(session_id, None)
        for account_id, group in _groups(keys, "account_id").items():
            self._keys_of[account_id] = tuple(_key(row) for row in group)
            self._keys.update({key.id: key for key in self._keys_of[account_id]})
        for account_id, group in _groups(sessions, "account_id").items():
            self._sessions_of[account_id] = tuple(row["id"] for row in group)
            self._sessions.update({row["id"]: Session(**row) for row in group})

    async def _read_channels(self, rows: Rows, ids: list[str] | None) -> None:
        found = await rows(channels.CHANNELS, [ids])
        members = _groups(await rows(channels.MEMBERS, [ids]), "channel_id")
        mutes = _groups(await rows(channels.MUTES, [ids]), "channel_id")
        for row in found:
            listed = {
                member["account_id"]: _member(member) for member in members.get(row["id"], ())
            }
            muted = frozenset(mute["account_id"] for mute in mutes.get(row["id"], ()))
            self._replace(Channel(**row, members=listed, muted=muted))

    def _replace(self, channel: Channel) -> None:
        before = self._channels.get(channel.id)
        for account_id in before.members if before else ():
            self._channels_of[account_id].discard(channel.id)
        for account_id in channel.members:
            self._channels_of.setdefault(account_id, set()).add(channel.id)
        self._channels[channel.id] = channel

    async def _read_workspace(self, rows: Rows) -> None:
        owners = await rows(workspace.OWNER, [])
        codes = await rows(workspace.CODES, [])
        self.owner_id = owners[0]["account_id"]
        self._codes = {row["id"]: _code(row) for row in codes}


def _groups(rows: Iterable[Row], column: str) -> dict[str, list[Row]]:
    groups: dict[str, list[Row]] = {}
    for row in rows:
        groups.setdefault(row[column], []).append(row)
    return groups


def _key(row: Row) -> ApiKey:
    secret, scopes = bytes.fromhex(row.pop("secret_hash")), frozenset(row.pop("scopes"))
    return ApiKey(**row, secret_hash=secret, scopes=scopes)


def _member(row: Row) -> Member:
    return Member(row["account_id"], row["role"], row["joined_ms"], row["since"])


def _code(row: Row) -> Code:
    return Code(**row | {"secret_hash": bytes.fromhex(row["secret_hash"])})

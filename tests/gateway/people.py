"""Accounts and channels as the directory knows them, made up for tests of what is pure."""

from __future__ import annotations

from gateway.directory import Account, Channel, Directory, Member
from gateway.policy import ALL_SCOPES, Principal, visible
from schemas.account import AccountType, Status
from schemas.channel import ChannelType, PrivacyMode, Role


def account(
    name: str = "ann", status: Status = "active", account_type: AccountType = "human"
) -> Account:
    """An account whose id is its name."""
    return Account(
        id=name,
        username=name,
        display_name=name.title(),
        account_type=account_type,
        status=status,
        password_sealed="",
        public_key="",
        bio="",
        avatar_file_id="",
        agent_directives="",
        origin="n1",
        created_ms=0,
        updated_ms=0,
        since=1,
        seq=1,
    )


def channel(
    kind: ChannelType = "public",
    privacy_mode: PrivacyMode = "open",
    muted: frozenset[str] = frozenset(),
    **roles: Role,
) -> Channel:
    """A channel with the members that *roles* name."""
    return Channel(
        id="general" if kind == "general" else "C1",
        name="bees",
        type=kind,
        description="",
        topic="",
        privacy_mode=privacy_mode,
        created_by="ann",
        created_ms=0,
        origin="n1",
        ttl_days=None,
        preserved=False,
        archived_ms=None,
        removed=False,
        since=1,
        seq=1,
        members={name: Member(name, role, 0, 1) for name, role in roles.items()},
        muted=muted,
    )


class Town(Directory):
    """A directory of three: ann owns the house, bob is a member of C1, cyd a stranger."""

    def __init__(self, place: Channel) -> None:
        super().__init__()
        self._accounts = {name: account(name) for name in ("ann", "bob", "cyd")}
        self.owner_id = "ann"
        self._replace(place)
        self._replace(channel("general"))

    def sees(self, who: str, noun: str, key: str, kind: str, author: str = "") -> bool:
        me = Principal(self.account(who), ALL_SCOPES, owner=who == self.owner_id)
        return visible(me, self, noun, key, kind, author)

    def seeing(self, noun: str, key: str, kind: str, author: str = "") -> str:
        """Who sees an event, by their initials."""
        return "".join(w[0] for w in ("ann", "bob", "cyd") if self.sees(w, noun, key, kind, author))

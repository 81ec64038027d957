"""Who may do what: the one place where rights are decided, for writes, reads and live pages alike.

Read `RULES`: a verb, the scope a credential must hold, and a check of the caller against what the
verb is about. Everything here is pure; `tests/gateway/test_policy.py` walks the whole matrix of
scope × membership × role × account state × verb. What does not exist and what the caller must not
know of are refused alike.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal, get_args

from msgspec import Struct

from gateway.directory import Account, Channel, Directory
from schemas.account import Scope
from schemas.channel import PrivacyMode, Role
from schemas.envelope import Refused

ALL_SCOPES: frozenset[Scope] = frozenset(get_args(Scope))
IMPLIED: Mapping[Scope, Scope] = {"read_feed": "read_messages", "write_feed": "write_messages"}
"""A key with the scope on the right may do what the one on the left allows, never the reverse."""
HIDING: frozenset[PrivacyMode] = frozenset({"private", "confidential"})
"""Privacy that hides a channel, whatever its type."""


class Principal(Struct, frozen=True):
    """Who asks: an account and what its credential allows. Nobody has no account.

    A browser session acts for the whole account, so it holds every scope.
    """

    account: Account | None
    scopes: frozenset[Scope] = frozenset()
    owner: bool = False
    session_id: str = ""
    key_id: str = ""
    fault: Refused | None = None
    """Why a credential that was sent is none; nobody asks on open routes."""

    @property
    def id(self) -> str:
        """The account id; empty for nobody."""
        return self.account.id if self.account else ""

    @property
    def active(self) -> bool:
        """Whether the caller has an account that is approved and not suspended."""
        return self.account is not None and self.account.status == "active"

    @property
    def suspended(self) -> bool:
        """Whether the caller has been shut out: on open routes he is nobody in particular."""
        return self.account is not None and self.account.status == "suspended"


NOBODY = Principal(None)


class Subject(Struct, frozen=True):
    """What a verb is about: a channel and the caller's role in it, another account, a door.

    `wanted` is the role that a member is to have, `scopes` those of a key to be made; `directs`
    tells that an agent is told how to work, `invited` that the caller may register (see
    `gateway.auth.Doors`), `local` that the request comes from this machine itself.
    """

    channel: Channel | None = None
    role: Role | None = None
    account_id: str = ""
    wanted: Role = "member"
    scopes: frozenset[Scope] = frozenset()
    directs: bool = False
    invited: bool = False
    local: bool = False


NOTHING = Subject()

Check = Callable[[Principal, Subject], None]
Standing = Literal["nobody", "pending", "active"]


@dataclass(frozen=True, slots=True)
class Rule:
    """`standing` is the least the caller must have, `scope` what its credential must hold."""

    scope: Scope | None
    check: Check
    standing: Standing = "active"


def _anyone(principal: Principal, subject: Subject) -> None:
    """No condition."""


def _member(principal: Principal, subject: Subject) -> None:
    if subject.channel is None or subject.role is None:
        raise absent_channel()


def _speaks(principal: Principal, subject: Subject) -> None:
    """Members, as long as the channel is not archived; what was said there can still be read."""
    _member(principal, subject)
    if subject.channel is not None and subject.channel.archived_ms is not None:
        raise Refused("channel_archived", "The channel is archived: an admin can restore it.")


def _sees(principal: Principal, subject: Subject) -> None:
    """Members see their channel; everybody sees that one exists which is not hidden."""
    if subject.channel is None or (subject.role is None and hidden(subject.channel)):
        raise absent_channel()


def _admin(principal: Principal, subject: Subject) -> None:
    """Admins of the channel; the owner of the workspace, for every channel he sees."""
    _sees(principal, subject)
    if subject.role != "admin" and not principal.owner:
        raise Refused("not_admin", "Ask an admin of the channel to do this.")


def _adds(principal: Principal, subject: Subject) -> None:
    """Into an open public channel anybody comes by himself and members bring others."""
    _sees(principal, subject)
    channel = subject.channel
    is_open = channel is not None and channel.type == "public" and channel.privacy_mode == "open"
    comes = subject.account_id == principal.id or subject.role is not None
    if not (is_open and comes and subject.wanted == "member"):
        _admin(principal, subject)


def _removes(principal: Principal, subject: Subject) -> None:
    """Everybody may leave; admins remove others."""
    _sees(principal, subject)
    if subject.account_id != principal.id:
        _admin(principal, subject)


def _owner(principal: Principal, subject: Subject) -> None:
    if not principal.owner:
        raise Refused("not_owner", "Only the owner of this workspace may do this.")


def _owner_of_others(principal: Principal, subject: Subject) -> None:
    _owner(principal, subject)
    if subject.account_id == principal.id:
        raise Refused("owner_is_fixed", "The owner stays active: nobody else could undo it.")


def _grants(principal: Principal, subject: Subject) -> None:
    """Nobody gives a key more than his own credential may do."""
    for scope in sorted(subject.scopes):
        _require(principal, scope)


def _directs(principal: Principal, subject: Subject) -> None:
    """Directives come from the owner; the rest of a profile is its account's."""
    if subject.directs:
        _owner(principal, subject)


def _invited(principal: Principal, subject: Subject) -> None:
    if not subject.invited:
        raise Refused(
            "registration_closed",
            "Send the setup code that `canopy up` printed, or a one-time code from the owner, "
            "as `setup_code` or in the header X-Setup-Code.",
        )


def _session(principal: Principal, subject: Subject) -> None:
    if not principal.session_id:
        raise Refused("session_required", "Sign in with POST /api/v1/session.")


def _local(principal: Principal, subject: Subject) -> None:
    """Requests from this machine itself, or with any credential that is not shut out."""
    if not subject.local:
        _require_account(principal)


Verb = Literal[
    "look", "learn", "measure", "sign_in", "register", "ask_own_status", "read_own_profile",
    "change_own_profile", "change_password", "use_session", "read_info", "list_accounts",
    "judge_account", "direct_agent", "issue_codes", "manage_keys", "create_key", "list_channels",
    "open_channel", "see_channel", "describe_channel", "change_privacy", "change_lifecycle",
    "remove_channel", "list_members", "add_member", "remove_member", "change_role", "mute_channel",
    "read_messages", "post_message", "change_message", "take_back", "react", "advance_cursor",
    "read_thread", "follow_thread", "follow_log", "ask", "operate",
]  # fmt: skip

RULES: Mapping[Verb, Rule] = {
    "look": Rule(None, _anyone, "nobody"),
    "learn": Rule(None, _anyone, "nobody"),
    "measure": Rule(None, _local, "nobody"),
    "sign_in": Rule(None, _anyone, "nobody"),
    "register": Rule(None, _invited, "nobody"),
    "ask_own_status": Rule(None, _anyone, "pending"),
    "read_info": Rule(None, _anyone, "nobody"),
    "read_own_profile": Rule(None, _anyone),
    "change_own_profile": Rule(None, _directs),
    "change_password": Rule(None, _session),
    "use_session": Rule(None, _session),
    "manage_keys": Rule("manage_keys", _anyone),
    "create_key": Rule("manage_keys", _grants),
    "list_accounts": Rule("read_feed", _anyone),
    "judge_account": Rule("manage_keys", _owner_of_others),
    "direct_agent": Rule("manage_keys", _owner),
    "issue_codes": Rule("manage_keys", _owner),
    "list_channels": Rule("read_feed", _anyone),
    "open_channel": Rule("write_feed", _anyone),
    "see_channel": Rule("read_feed", _sees),
    "describe_channel": Rule("write_feed", _admin),
    "change_privacy": Rule("write_feed", _admin),
    "change_lifecycle": Rule("write_feed", _admin),
    "remove_channel": Rule("delete_data", _admin),
    "list_members": Rule("read_feed", _member),
    "add_member": Rule("write_feed", _adds),
    "remove_member": Rule("write_feed", _removes),
    "change_role": Rule("write_feed", _admin),
    "mute_channel": Rule("write_feed", _member),
    "read_messages": Rule("read_feed", _member),
    "post_message": Rule("write_feed", _speaks),
    "change_message": Rule("write_feed", _speaks),
    "take_back": Rule("write_feed", _member),
    "react": Rule("write_messages", _speaks),
    "advance_cursor": Rule("read_feed", _member),
    "read_thread": Rule("read_feed", _member),
    "follow_thread": Rule("write_feed", _member),
    "follow_log": Rule("read_feed", _anyone),
    "ask": Rule("read_feed", _anyone),
    "operate": Rule("delete_data", _owner),
}


def admit(principal: Principal, verb: Verb) -> None:
    """What can be refused before knowing what *verb* is about: credential, account state, scope.

    Raises `Refused`.
    """
    rule = RULES[verb]
    if rule.standing == "nobody":
        return
    account = _require_account(principal)
    if account.status == "pending_approval" and rule.standing == "active":
        raise Refused(
            "pending_approval",
            "The owner has yet to approve this account: ask GET /api/v1/auth/status again later.",
            {"status": "pending_approval"},
        )
    if rule.scope is not None:
        _require(principal, rule.scope)


def authorise(principal: Principal, verb: Verb, subject: Subject = NOTHING) -> None:
    """None when *principal* may do *verb* to *subject*; raises `Refused` when not."""
    admit(principal, verb)
    allow(principal, verb, subject)


def allow(principal: Principal, verb: Verb, subject: Subject) -> None:
    """What is left to refuse about *verb* once it is known what it is about.

    Raises `Refused`.
    """
    RULES[verb].check(principal, subject)


def _require_account(principal: Principal) -> Account:
    if principal.account is None:
        raise principal.fault or Refused(
            "credential_required",
            "Send an API key as `X-API-Key: <key>` or `Authorization: Bearer <key>`.",
        )
    if principal.suspended:
        raise Refused("account_suspended", "The owner of this workspace has suspended the account.")
    return principal.account


def _require(principal: Principal, scope: Scope) -> None:
    if not holds(principal.scopes, scope):
        raise Refused("scope_missing", f"The key must hold {scope}.", {"scope": scope})


def holds(scopes: frozenset[Scope], scope: Scope) -> bool:
    """Whether *scopes* allow what needs *scope*."""
    return scope in scopes or IMPLIED.get(scope) in scopes


def hidden(channel: Channel) -> bool:
    """Whether nobody but its members may know that *channel* exists."""
    return channel.type == "private" or channel.privacy_mode in HIDING


def private(channel: Channel) -> bool:
    """Whether what is said in *channel* is sealed: not everybody may come and read it."""
    return hidden(channel) or channel.privacy_mode != "open"


def absent_channel() -> Refused:
    """There is no such channel, or the caller must not know of it."""
    return Refused("channel_absent", "There is no channel of that id that this account can see.")


OWN_ACCOUNT_KINDS = frozenset(
    {"password_changed", "key_created", "key_revoked", "session_opened", "session_closed"}
)
OWN_WISHES = frozenset({"channel_muted", "thread_followed"})
MEMBERSHIP = frozenset({"member_added", "role_changed", "member_removed"})
"""Who belongs to a channel is its members' business, as it is for `list_members`."""


def visible(
    principal: Principal, directory: Directory, noun: str, key: str, kind: str, author: str = ""
) -> bool:
    """Whether *principal* may see an event of *kind* by *author* in a commit of one aggregate.

    Decided from what holds now, not then: who has left a channel no longer sees its past.
    """
    match noun:
        case "account" if kind in OWN_ACCOUNT_KINDS:
            may = key == principal.id and holds(principal.scopes, "manage_keys")
        case "channel" | "message" if kind in OWN_WISHES and author != principal.id:
            may = False
        case "channel":
            may = _sees_channel(principal, directory, key, kind)
        case "message":
            may = directory.role(key.partition(".")[0], principal.id) is not None
        case "cursor":
            may = key.partition(".")[2] == principal.id
        case "workspace":
            may = kind == "workspace_claimed" or principal.owner
        case _:
            may = noun == "account"
    return may


def _sees_channel(who: Principal, directory: Directory, channel_id: str, kind: str) -> bool:
    channel = directory.channel(channel_id) or directory.removed(channel_id)
    if channel is None:
        return False
    return who.id in channel.members or not (kind in MEMBERSHIP or hidden(channel))

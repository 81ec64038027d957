"""Accounts: register, one's own profile, who is here, and the owner's word on who may stay."""

from __future__ import annotations

import asyncio
from base64 import b64encode

import structlog

from bus.clock import derived_id, iso_ms
from gateway import about, arrival, policy, views
from gateway.auth import require_strength, secret_hash, token
from gateway.call import Call, Reply, existing
from gateway.directives import effective, source
from gateway.directory import Account
from gateway.errors import refuse
from gateway.pages import Start
from gateway.policy import Subject
from gateway.read_model import Behind
from gateway.shapes import account as shape
from gateway.table import Route
from schemas.account import (
    AccountRegistered,
    AccountType,
    ChangeProfile,
    ChangeStatus,
    NewKey,
    RegisterAccount,
    Status,
)
from schemas.workspace import WORKSPACE, RedeemCode

TAG = "Accounts"
log = structlog.get_logger()


async def register(call: Call) -> Reply:
    """Makes an account and its first key, which can read and post and nothing else.

    On a new node the first to register owns the workspace. Without a code this works only from
    the machine itself, while the node runs for the first time, and for the owner.
    """
    gateway, draft = call.gateway, call.body
    require_strength(draft.password)
    account_id = own_id(call)
    sealed = await gateway.passwords.seal(account_id, draft.password)
    async with gateway.doors.one_at_a_time:
        policy.authorise(call.principal, "register", door(call))
        for code in filter(None, (gateway.doors.usable(offered(call), account_id),)):
            _require_free(call, account_id)
            redeem = RedeemCode(code_id=code.id, account_id=account_id)
            await call.send("workspace", WORKSPACE, redeem, author=account_id, step="redeem")
        key_id, secret = new_key(call, account_id)
        answer = await call.send(
            "account",
            account_id,
            RegisterAccount(
                username=draft.username,
                display_name=draft.display_name or draft.username,
                account_type=draft.account_type,
                status=_first_status(call),
                password_sealed=sealed,
                public_key=b64encode(gateway.identity.account_key(account_id)).decode(),
                key=NewKey(key_id=key_id, secret_hash=secret_hash(secret).hex()),
            ),
            author=account_id,
        )
        await _owned(call)
    event = AccountRegistered(**answer.facts[0].data)
    return Reply(
        {
            "user_id": account_id,
            "username": event.username,
            "display_name": event.display_name,
            "account_type": event.account_type,
            "status": event.status,
            "api_key": token("key", key_id, secret),
            "public_key": event.public_key,
            "message": _WELCOME[event.status],
            "seq": answer.seq,
        },
        status=201,
        seq=answer.seq,
    )


_WELCOME = {
    "active": "Keep the key: it is shown this once. Begin with GET /api/v1/agent-instructions.",
    "pending_approval": "Keep the key: it is shown this once. The owner has to approve the "
    "account; ask GET /api/v1/auth/status until it is active.",
    "suspended": "",
}


async def _owned(call: Call) -> None:
    """Waits until somebody owns the workspace: the first account is offered it by a reactor."""
    reads = call.gateway.reads
    try:
        async with asyncio.timeout(call.gateway.settings.read_wait_s):
            while call.directory.owner_id is None:
                await reads.reached(reads.position + 1)
    except (Behind, TimeoutError):
        log.warning("workspace_not_owned_yet", position=reads.position, cause=call.id)


def own_id(call: Call) -> str:
    """The id of the account that is registered: a name is taken once on a node, also by those who
    were here when the node had another id (its log was restored)."""
    node_id = call.gateway.identity.node_id
    if (known := call.directory.by_username(call.body.username)) is not None:
        return known.id
    return derived_id("user_", node_id, call.body.username.casefold())


def offered(call: Call) -> str:
    """The code that comes along, in the body or in the header."""
    return str(call.body.setup_code or arrival.visible(call.request.headers, "X-Setup-Code") or "")


def knock(call: Call) -> Subject:
    """The same as `door`, at the first asking: every attempt counts, so codes cannot be guessed."""
    call.gateway.throttles.registrations.take(call.address)
    return door(call)


def door(call: Call) -> Subject:
    """Whether the caller may register; also who asks again for what he was granted before."""
    account_id = own_id(call)
    key_id, secret = new_key(call, account_id)
    key = call.directory.key(key_id)
    granted = key is not None and key.secret_hash == secret_hash(secret)
    local = arrival.is_local(call.request)
    doors = call.gateway.doors
    invited = doors.invited(call.principal, offered(call), account_id, local=local)
    return Subject(invited=invited or granted)


def new_key(call: Call, account_id: str) -> tuple[str, bytes]:
    """The id and the secret of the key that this request makes for an account."""
    key_id = derived_id("K", call.id, account_id)
    return key_id, call.gateway.identity.derive("api-key", call.id, account_id)


def _require_free(call: Call, account_id: str) -> None:
    """Raises `Refused` before a code is used up for a name that is taken."""
    key_id, _ = new_key(call, account_id)
    if call.directory.account(account_id) and not call.directory.key(key_id):
        raise refuse("username_taken")


def _first_status(call: Call) -> Status:
    """Agents wait for approval, if there is anybody who could give it."""
    waits = (
        call.body.account_type == "agent"
        and not call.gateway.settings.auto_approve_agents
        and call.directory.owner_id is not None
        and not call.principal.owner
    )
    return "pending_approval" if waits else "active"


async def read_status(call: Call) -> Reply:
    """Who the caller is and whether he is approved: what waiting agents ask again and again."""
    me = caller(call)
    return Reply(
        {
            "user_id": me.id,
            "username": me.username,
            "display_name": me.display_name,
            "account_type": me.account_type,
            "status": me.status,
            "permissions": sorted(call.principal.scopes),
            "is_owner": call.principal.owner,
        }
    )


async def read_profile(call: Call) -> Reply:
    """The caller's own profile."""
    me = caller(call)
    avatar = me.avatar_file_id
    return Reply(
        {
            **{k: v for k, v in views.account(me).items() if k != "origin_peer"},
            "id": me.id,
            "avatar_url": f"/api/v1/files/{avatar}" if avatar else None,
            "updated_at": iso_ms(me.updated_ms),
            "agent_directives": me.agent_directives or None,
            "agent_directives_effective": effective(me),
            "agent_directives_source": source(me),
        },
        version=me.seq,
    )


async def change_profile(call: Call) -> Reply:
    """Changes the caller's own profile; fields left out stay as they are."""
    change: shape.ProfileChange = call.body
    fields = change.model_dump(exclude_none=True, exclude={"account_type"})
    kind: AccountType = "agent" if change.account_type == "agent" else "human"
    command = ChangeProfile(**fields, account_type=kind if change.account_type else None)
    answer = await call.send("account", call.principal.id, command)
    return _changed(answer.seq)


async def direct_agent(call: Call) -> Reply:
    """The owner tells an agent how to work; an empty text returns it to the default."""
    command = ChangeProfile(agent_directives=call.body.agent_directives)
    answer = await call.send("account", call.path["account_id"], command)
    return _changed(answer.seq)


def _changed(seq: int) -> Reply:
    return Reply({"success": True, "seq": seq}, seq=seq, version=seq)


async def list_accounts(call: Call) -> Reply:
    """Everybody who is here, in the order in which they came."""
    query: shape.AccountsQuery = call.query
    cursors, what = call.gateway.cursors, f"accounts {query.status} {query.username}"
    start = cursors.read(what, query.cursor) if query.cursor else Start("newer", 0)
    limit = min(query.limit or call.gateway.settings.page_default, call.gateway.settings.page_max)
    found = [
        one
        for one in call.directory.accounts()
        if one.since > start.seq
        and query.status in (None, one.status)
        and (query.username or one.username).casefold() == one.username.casefold()
    ]
    page, rest = found[:limit], found[limit:]
    after = cursors.write(what, Start("newer", page[-1].since)) if rest else None
    accounts = [views.account(one) for one in page]
    return Reply({"accounts": accounts, "count": len(accounts), "next": after})


async def read_account(call: Call) -> Reply:
    """What everybody may know of one account."""
    found = call.directory.account(call.path["account_id"])
    one: Account = existing(found, lambda: refuse("account_absent"))
    return Reply({"account": views.account(one)}, version=one.seq)


async def approve_account(call: Call) -> Reply:
    """Lets an agent in that awaits approval."""
    return await _judge(call, "active")


async def suspend_account(call: Call) -> Reply:
    """Shuts an account out, with all its keys and sessions, until it is reinstated."""
    return await _judge(call, "suspended")


async def reinstate_account(call: Call) -> Reply:
    """Lets a suspended account in again."""
    return await _judge(call, "active")


async def _judge(call: Call, status: Status) -> Reply:
    account_id = call.path["account_id"]
    command = ChangeStatus(status="suspended" if status == "suspended" else "active")
    answer = await call.send("account", account_id, command)
    body = {"success": True, "user_id": account_id, "status": status, "seq": answer.seq}
    return Reply(body, seq=answer.seq, version=answer.seq)


def caller(call: Call) -> Account:
    """The account that asks. The policy has seen to it that there is one."""
    if call.principal.account is None:
        raise LookupError("the verb of this route does not ask for an account")
    return call.principal.account


JUDGED = ("not_owner", "owner_is_fixed", "account_absent", "behind")

ROUTES = (
    Route(
        "POST", "/register", "register", register, "Register an account", TAG,
        body=shape.Registration, reply=shape.Registered, status=201, about=knock,
        headers=(("X-Setup-Code", "The same as setup_code in the body."),),
        codes=("registration_closed", "weak_password", "username_taken", "code_absent",
               "code_used", "behind"),
    ),
    Route(
        "GET", "/auth/status", "ask_own_status", read_status, "Ask for the own status", TAG,
        reply=shape.OwnStatus, timeless=True,
    ),
    Route(
        "GET", "/profile", "read_own_profile", read_profile, "Read the own profile", TAG,
        reply=shape.Profile, versioned=True,
    ),
    Route(
        "POST", "/profile", "change_own_profile", change_profile, "Change the own profile", TAG,
        body=shape.ProfileChange, reply=shape.ProfileChanged, versioned=True,
        about=about.own_profile, codes=("not_owner", "behind"),
    ),
    Route(
        "GET", "/accounts", "list_accounts", list_accounts, "List accounts", TAG,
        query=shape.AccountsQuery, reply=shape.AccountPage, codes=("invalid_cursor",),
    ),
    Route(
        "GET", "/accounts/{account_id}", "list_accounts", read_account, "Read an account", TAG,
        reply=shape.OneAccount, versioned=True, codes=("account_absent",),
    ),
    *(
        Route(
            "POST", f"/accounts/{{account_id}}/{word}", "judge_account", handler,
            f"{word.capitalize()} an account", TAG, reply=shape.Judged, versioned=True,
            about=about.account_in_path, codes=JUDGED,
        )
        for word, handler in (
            ("approve", approve_account),
            ("suspend", suspend_account),
            ("reinstate", reinstate_account),
        )
    ),
    Route(
        "POST", "/accounts/{account_id}/directives", "direct_agent", direct_agent,
        "Direct an agent", TAG, body=shape.Directives, reply=shape.ProfileChanged, versioned=True,
        about=about.account_in_path, codes=("not_owner", "account_absent", "behind"),
    ),
)  # fmt: skip

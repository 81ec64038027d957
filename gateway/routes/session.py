"""Browser sessions: a cookie that scripts cannot read, and a token that other sites cannot send."""

from __future__ import annotations

from bus.clock import derived_id, iso_ms
from gateway import policy
from gateway.auth import require_strength
from gateway.call import Call, Reply
from gateway.directory import Account
from gateway.policy import Principal
from gateway.routes.account import caller
from gateway.shapes import account as shape
from gateway.table import Route
from schemas.account import ChangePassword, CloseSession, OpenSession, SessionOpened

TAG = "Sessions"


async def open_session(call: Call) -> Reply:
    """Signs in with username and password: sets a cookie, and answers the token that every change
    made with it has to carry. Unknown names take as long and are answered like wrong passwords.
    """
    gateway, login = call.gateway, call.body
    gateway.throttles.logins.take(f"address {call.address}")
    gateway.throttles.logins.take(f"account {login.username.casefold()}")
    found = call.directory.by_username(login.username)
    account = await gateway.passwords.require(found, login.password)
    policy.admit(Principal(account), "ask_own_status")
    ttl_s = gateway.settings.session_ttl_s
    session_id = derived_id("S", call.id, account.id, digits=32)
    command = OpenSession(session_id=session_id, expires_at=iso_ms(call.now_ms + ttl_s * 1000))
    answer = await call.send("account", account.id, command, author=account.id)
    event = SessionOpened(**answer.facts[0].data)
    body = _shown(call, account, session_id) | {"expires_at": event.expires_at, "seq": answer.seq}
    cookie = _cookie(call, gateway.credentials.sign(session_id), ttl_s)
    return Reply(body, status=201, seq=answer.seq, headers=(cookie,))


async def read_session(call: Call) -> Reply:
    """Who is signed in, and the token that changes have to carry."""
    return Reply(_shown(call, caller(call), call.principal.session_id))


async def close_session(call: Call) -> Reply:
    """Signs out: the session ends everywhere at once."""
    command = CloseSession(session_id=call.principal.session_id)
    answer = await call.send("account", call.principal.id, command)
    body = {"message": "Signed out.", "seq": answer.seq}
    return Reply(body, seq=answer.seq, headers=(_cookie(call, "", 0),))


async def change_password(call: Call) -> Reply:
    """Changes the caller's password and ends all his other sessions."""
    me, gateway = caller(call), call.gateway
    gateway.throttles.logins.take(f"account {me.username.casefold()}")
    require_strength(call.body.new_password)
    await gateway.passwords.require(me, call.body.current_password)
    sealed = await gateway.passwords.seal(me.id, call.body.new_password)
    answer = await call.send("account", me.id, ChangePassword(password_sealed=sealed))
    for session_id in set(call.directory.sessions_of(me.id)) - {call.principal.session_id}:
        command = CloseSession(session_id=session_id)
        await call.send("account", me.id, command, step=session_id)
    return Reply({"success": True, "seq": answer.seq}, seq=answer.seq)


def _shown(call: Call, account: Account, session_id: str) -> dict[str, object]:
    return {
        "user_id": account.id,
        "username": account.username,
        "display_name": account.display_name,
        "account_type": account.account_type,
        "status": account.status,
        "is_owner": call.directory.owner_id == account.id,
        "csrf_token": call.gateway.credentials.csrf(session_id),
    }


def _cookie(call: Call, value: str, ttl_s: int) -> tuple[str, str]:
    """The header that sets the session cookie for *ttl_s* seconds; 0 takes it back."""
    secure = "; Secure" if call.gateway.settings.secure_cookies else ""
    name = call.gateway.credentials.cookie
    attributes = f"Path=/; HttpOnly; SameSite=Strict; Max-Age={ttl_s}{secure}"
    return ("Set-Cookie", f"{name}={value}; {attributes}")


ROUTES = (
    Route(
        "POST", "/session", "sign_in", open_session, "Sign in", TAG,
        body=shape.Login, reply=shape.SessionOpened, status=201,
        codes=("login_failed", "account_absent", "account_suspended"),
    ),
    Route(
        "GET", "/session", "use_session", read_session, "Read the session", TAG,
        reply=shape.SessionShape, timeless=True, codes=("session_required",),
    ),
    Route(
        "DELETE", "/session", "use_session", close_session, "Sign out", TAG,
        reply=shape.SessionClosed, codes=("session_required", "session_absent"),
    ),
    Route(
        "POST", "/password", "change_password", change_password, "Change the password", TAG,
        body=shape.PasswordChange, reply=shape.PasswordChanged,
        codes=("session_required", "weak_password", "login_failed"),
    ),
)  # fmt: skip

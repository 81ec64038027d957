"""API keys of the caller, and the owner's one-time codes: made, listed, revoked."""

from __future__ import annotations

from bus.clock import derived_id, iso_ms
from gateway import about, views
from gateway.auth import secret_hash, token
from gateway.call import Call, Reply
from gateway.shapes import account as shape
from gateway.table import Route
from schemas.account import CreateKey, KeyCreated, NewKey, RevokeKey
from schemas.workspace import WORKSPACE, CodeIssued, IssueCode

TAG = "Keys"
DAY_MS = 86_400_000


async def create_key(call: Call) -> Reply:
    """Makes a key for the caller, with no more scopes than the credential at hand has."""
    draft: shape.KeyDraft = call.body
    me = call.principal.id
    key_id = derived_id("K", call.id, me)
    secret = call.gateway.identity.derive("api-key", call.id, me)
    expires_at = [iso_ms(call.now_ms + days * DAY_MS) for days in (draft.expires_days,) if days]
    key = NewKey(
        key_id=key_id,
        secret_hash=secret_hash(secret).hex(),
        scopes=draft.scopes,
        label=draft.label or "",
        expires_at=next(iter(expires_at), None),
    )
    answer = await call.send("account", me, CreateKey(key=key))
    event = KeyCreated(**answer.facts[0].data)
    body = {
        "id": key_id,
        "api_key": token("key", key_id, secret),
        "user_id": me,
        "permissions": event.scopes,
        "label": event.label,
        "expires_days": draft.expires_days,
        "expires_at": event.expires_at,
        "seq": answer.seq,
    }
    return Reply(body, status=201, seq=answer.seq)


async def list_keys(call: Call) -> Reply:
    """All keys of the caller, revoked and expired ones too; never the keys themselves."""
    return Reply({"keys": [views.key(one) for one in call.directory.keys_of(call.principal.id)]})


async def revoke_key(call: Call) -> Reply:
    """Revokes a key of the caller, for good and at once."""
    command = RevokeKey(key_id=call.path["key_id"])
    answer = await call.send("account", call.principal.id, command)
    return Reply({"message": "The key is revoked.", "seq": answer.seq}, seq=answer.seq)


async def issue_code(call: Call) -> Reply:
    """Makes a one-time code with which one account may register."""
    draft: shape.CodeDraft = call.body
    code_id = derived_id("R", call.id)
    secret = call.gateway.identity.derive("code", call.id)
    ttl_ms = (draft.expires_days or 0) * DAY_MS or call.gateway.settings.code_ttl_s * 1000
    command = IssueCode(
        code_id=code_id,
        secret_hash=secret_hash(secret).hex(),
        expires_at=iso_ms(call.now_ms + ttl_ms),
        label=draft.label or "",
    )
    answer = await call.send("workspace", WORKSPACE, command)
    event = CodeIssued(**answer.facts[0].data)
    body = {
        "id": code_id,
        "code": token("code", code_id, secret),
        "label": event.label,
        "expires_at": event.expires_at,
        "seq": answer.seq,
    }
    return Reply(body, status=201, seq=answer.seq)


async def list_codes(call: Call) -> Reply:
    """All one-time codes ever made, and who came in with which."""
    return Reply({"codes": [views.code(one) for one in call.directory.codes()]})


ROUTES = (
    Route(
        "POST", "/keys", "create_key", create_key, "Make a key", TAG,
        body=shape.KeyDraft, reply=shape.KeyMade, status=201, about=about.new_key,
    ),
    Route("GET", "/keys", "manage_keys", list_keys, "List keys", TAG, reply=shape.KeyList),
    Route(
        "DELETE", "/keys/{key_id}", "manage_keys", revoke_key, "Revoke a key", TAG,
        reply=shape.KeyRevoked, codes=("key_absent",),
    ),
    Route(
        "POST", "/registration-codes", "issue_codes", issue_code, "Make a registration code", TAG,
        body=shape.CodeDraft, reply=shape.CodeMade, status=201, codes=("not_owner",),
    ),
    Route(
        "GET", "/registration-codes", "issue_codes", list_codes, "List registration codes", TAG,
        reply=shape.CodeList, codes=("not_owner",),
    ),
)  # fmt: skip

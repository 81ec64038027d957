"""What can go wrong, in one table, and how it is told: problem details (RFC 9457).

A body is `{type, title, status, detail, instance, code, correlation_id}` with what older agents
read, `error` (the title) and `message` (the detail), and what the refusal adds: `errors` for the
fields of a request, `reason`, `status` of an account, `scope` that is missing. `type` leads to a
page about the code, `/problems/<code>`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import orjson
from pydantic import BaseModel, Field, ValidationError

from schemas.envelope import Refused

MEDIA_TYPE = "application/problem+json"
MOMENTARY = 503
RETRY_AFTER_S = "1"
"""Said with every 503: what it is about passes."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One code: its HTTP status, its short constant title, and what to do about it."""

    status: int
    title: str
    remedy: str


CATALOGUE: Mapping[str, Entry] = {
    "invalid_http": Entry(
        400,
        "Unreadable request",
        "Send HTTP/1.1, no line longer than 8 kB, and the body as it is or as gzip or deflate.",
    ),
    "invalid_json": Entry(400, "Invalid JSON", "Send one JSON object as the body."),
    "invalid_body": Entry(
        400, "Unreadable body", "Send the body whole, and encoded as Content-Encoding says."
    ),
    "invalid_request": Entry(400, "Invalid request", "Correct the fields named in `errors`."),
    "invalid_command": Entry(400, "Invalid request", "Correct the fields of the request."),
    "invalid_header": Entry(400, "Invalid header", "Correct or leave out the header named here."),
    "invalid_cursor": Entry(422, "No such page", "Begin again without a cursor."),
    "no_past": Entry(
        400, "No past", "Ask again without `at`: what this route tells is only true now."
    ),
    "sql_invalid": Entry(
        400, "Invalid SQL", "Correct the statement; GET /api/v1/sql lists views and functions."
    ),
    "sql_forbidden": Entry(
        403, "Not allowed in SQL", "Send one SELECT over the views that GET /api/v1/sql lists."
    ),
    "sql_too_large": Entry(
        422, "Too much memory", "Name fewer columns, or less of the rows with WHERE."
    ),
    "sql_too_long": Entry(422, "Too much time", "Ask for less: name columns, add WHERE or LIMIT."),
    "sql_busy": Entry(429, "Too many at once", "Wait until your other statement is answered."),
    "nothing_to_update": Entry(400, "Nothing to update", "Send at least one field to change."),
    "weak_password": Entry(
        400,
        "Password too weak",
        "Use 8 characters or more, with an upper-case and a lower-case letter, a digit and a "
        "special character.",
    ),
    "empty_message": Entry(400, "Message is empty", "Send content or at least one attachment."),
    "parent_absent": Entry(
        400, "No such parent message", "Reply to a message that exists in the same channel."
    ),
    "crypto_unsupported": Entry(
        400, "Unsupported crypto_mode", "Leave crypto_mode out, or send legacy_plaintext."
    ),
    "credential_required": Entry(
        401, "API key required", "Send X-API-Key: <key> or Authorization: Bearer <key>."
    ),
    "login_failed": Entry(
        401, "Wrong username or password", "Check both; after some failures, wait a minute."
    ),
    "credential_invalid": Entry(
        403,
        "Invalid or expired API key",
        "Check the key for missing characters, or ask its owner for a new one.",
    ),
    "session_required": Entry(403, "Session required", "Sign in with POST /api/v1/session."),
    "csrf_failed": Entry(
        403,
        "Missing or wrong CSRF token",
        "Send the csrf_token of GET /api/v1/session as X-CSRF-Token.",
    ),
    "account_suspended": Entry(403, "Account suspended", "Ask the owner of the workspace."),
    "pending_approval": Entry(
        403, "Account pending approval", "Ask GET /api/v1/auth/status until the status is active."
    ),
    "scope_missing": Entry(
        403, "Insufficient permissions", "Use a key that holds the scope named here."
    ),
    "registration_closed": Entry(
        403, "Registration needs a code", "Send the setup code, or a code from the owner."
    ),
    "code_absent": Entry(403, "Unknown or expired code", "Ask the owner for a new code."),
    "code_used": Entry(403, "The code has been used", "Ask the owner for a new code."),
    "before_account": Entry(
        403, "Not registered then", "Ask for a position after the account was registered."
    ),
    "not_owner": Entry(403, "Owner only", "Ask the owner of the workspace."),
    "owner_is_fixed": Entry(403, "Owner is fixed", "Do this to another account."),
    "not_admin": Entry(403, "Not authorised", "Ask an admin of the channel."),
    "not_author": Entry(403, "Not the author", "Only its author may change a message."),
    "general_is_fixed": Entry(403, "#general is fixed", "Open another channel for this."),
    "host_refused": Entry(
        403, "Unknown Host", "Add the name to the setting allowed_hosts if it is yours."
    ),
    "origin_refused": Entry(
        403, "Foreign Origin", "Add the origin to the setting allowed_origins if it is yours."
    ),
    "not_found": Entry(404, "Not found", "See /openapi.json for what there is."),
    "cause_absent": Entry(
        404, "Not found", "Ask by the id of a commit, a command, a request, or what it was about."
    ),
    "channel_absent": Entry(404, "Not found", "Ask GET /api/v1/channels for your channels."),
    "message_absent": Entry(404, "Not found", "It was deleted, has expired, or never was."),
    "account_absent": Entry(404, "Not found", "Ask GET /api/v1/accounts for the accounts."),
    "member_absent": Entry(404, "Not found", "The account is not a member of the channel."),
    "key_absent": Entry(404, "Not found", "Ask GET /api/v1/keys for your keys."),
    "session_absent": Entry(404, "Not found", "The session has ended."),
    "method_not_allowed": Entry(405, "Method not allowed", "Use a method of the header Allow."),
    "position_ahead": Entry(
        409, "No such position", "Ask for a position that the log has; a new log begins anew."
    ),
    "username_taken": Entry(409, "Username already taken", "Choose another name."),
    "channel_taken": Entry(409, "Channel already exists", "Choose another name."),
    "answer_unreadable": Entry(
        409,
        "Dealt with before",
        "A request with this Idempotency-Key was dealt with before this node was restored, and its "
        "answer cannot be read here: look what came of it, and do not send it under another key.",
    ),
    "message_present": Entry(409, "Not expired yet", "Wait until its `expires_at`."),
    "message_taken": Entry(409, "Message already exists", "Use a new Idempotency-Key."),
    "last_admin": Entry(409, "Last admin", "Make another member admin first."),
    "channel_archived": Entry(409, "Channel archived", "Unarchive the channel first."),
    "precondition_failed": Entry(
        412, "Changed in the meantime", "Read it again and decide anew with its new ETag."
    ),
    "content_erased": Entry(
        410, "Erased", "What it said is gone for good: its key was destroyed. Say it anew."
    ),
    "body_too_large": Entry(413, "Body too large", "Send less at once."),
    "unsupported_media_type": Entry(
        415, "Unsupported media type", "Send JSON with Content-Type: application/json."
    ),
    "idempotency_key_reused": Entry(
        422, "Idempotency-Key reused", "Use a new key for a different request."
    ),
    "rate_limited": Entry(429, "Too many requests", "Wait as long as Retry-After says."),
    "internal_error": Entry(
        500, "Internal error", "Report it with the correlation_id; the log of the node has more."
    ),
    "answer_too_large": Entry(
        500, "Answer too large", "Read what came of it: the request was dealt with all the same."
    ),
    "content_damaged": Entry(
        500,
        "Content cannot be read",
        "Nobody has erased it, but its key or its text was changed on the disk: ask the operator "
        "to put back a backup of the data directory with its keys.",
    ),
    "unavailable": Entry(
        503, "Not available now", "Send the same request again, with the same Idempotency-Key."
    ),
    "behind": Entry(
        503, "Not caught up yet", "Ask again after Retry-After; what was written is safe."
    ),
    "unacknowledged": Entry(
        503, "Outcome unknown", "Send the same request again, with the same Idempotency-Key."
    ),
    "contended": Entry(503, "Too busy", "Send the same request again."),
    "log_full": Entry(
        507, "The log is full", "Free disk space on the node; if it has some, raise log_bytes_max."
    ),
    "log_damaged": Entry(
        503,
        "The log is damaged",
        "Nothing is written any more, and reads go on: restore a backup of the node.",
    ),
    "vault_unusable": Entry(
        503,
        "The vault is out of reach",
        "What is private is neither read nor written without its keys, the rest goes on: ask the "
        "operator to look at `canopy doctor`, and to put the vault back.",
    ),
    "timed_out": Entry(503, "Took too long", "Send the same request again, later."),
}
"""Every code this gateway answers with."""


class FieldError(BaseModel):
    """What is wrong with one field of a request."""

    field: str = Field(description="Path of the field, dots between names; `body` for the whole.")
    message: str = Field(description="What is wrong and what would be right.")
    code: str = Field(description="A constant word for the kind of fault.")


class Problem(BaseModel):
    """Problem details (RFC 9457). `error` and `message` are for older agents."""

    type: str = Field(description="Address of a page about the code.")
    title: str = Field(description="Short text, constant for the code.")
    status: int | str = Field(description="HTTP status; for accounts awaiting approval, theirs.")
    detail: str = Field(description="What happened, and what to do.")
    instance: str = Field(description="The path that was asked for.")
    code: str = Field(description="Constant word for the kind of problem.")
    error: str = Field(description="Same as `title`.")
    message: str = Field(description="Same as `detail`.")
    correlation_id: str = Field(description="Names this request in the node's log.")
    reason: str | None = Field(None, description="Why governance refuses.")
    scope: str | None = Field(None, description="The scope that is missing.")
    errors: list[FieldError] = Field([], description="Faults of single fields.")


@dataclass(frozen=True, slots=True)
class Told:
    """A problem ready to be sent."""

    status: int
    body: bytes
    headers: Mapping[str, str]


def tell(refused: Refused, instance: str, correlation: str) -> Told:
    """*refused* as problem details. A code outside the catalogue is a bug: KeyError."""
    entry = CATALOGUE[refused.code]
    detail = dict(refused.detail)
    headers = {str(k): str(v) for k, v in detail.pop("headers", {}).items()}
    if entry.status == MOMENTARY:
        headers.setdefault("Retry-After", RETRY_AFTER_S)
    problem: dict[str, Any] = {
        "type": f"/problems/{refused.code}",
        "title": entry.title,
        "status": entry.status,
        "detail": refused.message or entry.remedy,
        "instance": instance,
        "code": refused.code,
        "error": entry.title,
        "message": refused.message or entry.remedy,
        "correlation_id": correlation,
    }
    return Told(entry.status, orjson.dumps(problem | detail), headers)


def refuse(code: str, message: str = "", **detail: Any) -> Refused:
    """A refusal of the catalogue; its remedy is the message when none is given."""
    return Refused(code, message or CATALOGUE[code].remedy, detail)


def invalid(error: ValidationError, given: Callable[[], Any]) -> Refused:
    """The faults that a model found in a request, field by field, as they are named in what was
    *given*; that is asked for only if it could be parsed.
    """
    found = error.errors(include_url=False, include_context=False, include_input=False)
    if found[0]["type"] == "json_invalid":
        return refuse("invalid_json", found[0]["msg"])
    request = given()
    faults = [
        {
            "field": _field(fault["loc"], request, missing=fault["type"] == "missing") or "body",
            "message": fault["msg"],
            "code": fault["type"],
        }
        for fault in found
    ]
    return refuse("invalid_request", f"{faults[0]['field']}: {faults[0]['message']}", errors=faults)


def _field(path: tuple[int | str, ...], given: Any, *, missing: bool) -> str:
    """*path* without the names of the alternatives that the model has tried on the way: those
    are not in what was *given*, nor is the last part of what is *missing*.
    """
    named = []
    for part in path:
        in_object = isinstance(given, Mapping) and part in given
        in_list = isinstance(given, list) and isinstance(part, int)
        if in_object or in_list:
            given = given[part]
        elif not (missing and part == path[-1]):
            continue
        named.append(str(part))
    return ".".join(named)


def wrong(field: str, message: str, code: str = "invalid_request", kind: str = "value") -> Refused:
    """A fault of one field that no model can see."""
    return refuse(code, message, errors=[{"field": field, "message": message, "code": kind}])

"""From what agents send to what a message is: attachments, expiry, security fields.

Pure; refuses what cannot be meant, naming the field.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any, cast, get_args

import orjson

from bus.clock import iso_ms
from gateway.errors import wrong
from gateway.shapes.message import AttachmentDraft, MessageDraft, Security
from schemas.message import Attachment, Reaction

DAY_MS = 86_400_000
TTL_DEFAULT_MS = 90 * DAY_MS
TTL_NEVER_MS = 365 * DAY_MS
"""What `never` is coerced to."""
TTL_MAX_MS = 730 * DAY_MS

LAYOUTS = frozenset({"grid", "hero", "strip", "stack"})
REACTIONS: frozenset[str] = frozenset(get_args(Reaction))
SECURITY_BYTES_MAX = 16_384
SECURITY_VALUE_BYTES_MAX = 4_096


def attachments(drafts: Iterable[str | AttachmentDraft] | None) -> tuple[Attachment, ...]:
    """References to files in their one spelling."""
    return tuple(
        Attachment(id=draft) if isinstance(draft, str) else _attachment(draft)
        for draft in drafts or ()
    )


def _attachment(draft: AttachmentDraft) -> Attachment:
    name = draft.name or draft.filename or draft.original_name or draft.file_name
    media_type = draft.type or draft.content_type or draft.mime_type or draft.mime
    hint = draft.layout_hint if draft.layout_hint in LAYOUTS else None
    return Attachment(
        id=cast(str, draft.id or draft.file_id),
        name=name or "file",
        type=media_type or "application/octet-stream",
        size=draft.size,
        layout_hint=cast(Any, hint),
    )


def parent_id(draft: MessageDraft) -> str | None:
    """The message that a draft answers, under either name. Raises `Refused` for two of them."""
    named = {draft.parent_message_id, draft.reply_to} - {None, ""}
    if len(named) > 1:
        raise wrong("reply_to", "reply_to and parent_message_id name different messages.")
    return draft.parent_message_id or draft.reply_to or None


def expiry(draft: MessageDraft, now_ms: int) -> str:
    """When the message expires (ISO 8601): 90 days from now unless said otherwise, at most 730.

    Raises `Refused` for a time that cannot be read or lies in the past.
    """
    if draft.ttl_mode is not None:
        ttl_ms = TTL_NEVER_MS
    elif draft.ttl_seconds is not None:
        ttl_ms = draft.ttl_seconds * 1000
    elif draft.expires_at is not None:
        ttl_ms = _milliseconds(draft.expires_at) - now_ms
    else:
        ttl_ms = TTL_DEFAULT_MS
    if ttl_ms <= 0:
        raise wrong("expires_at", "expires_at lies in the past.")
    return iso_ms(now_ms + min(ttl_ms, TTL_MAX_MS))


def _milliseconds(text: str) -> int:
    try:
        time = datetime.fromisoformat(text)
    except ValueError as error:
        raise wrong("expires_at", "expires_at must be ISO 8601.", kind="datetime") from error
    aware = time if time.tzinfo else time.replace(tzinfo=UTC)
    return int(aware.timestamp() * 1000)


def security(draft: Security | None) -> dict[str, Any] | None:
    """The security fields, if they are small enough. Raises `Refused`."""
    if draft is None:
        return None
    fields = draft.model_dump(exclude_none=True)
    for name, value in fields.items():
        if len(orjson.dumps(value)) > SECURITY_VALUE_BYTES_MAX:
            raise wrong(f"security.{name}", "A security value has at most 4 kB.", kind="size")
    if len(orjson.dumps(fields)) > SECURITY_BYTES_MAX:
        raise wrong("security", "security has at most 16 kB.", kind="size")
    return fields or None


def reaction(text: str | None) -> Reaction:
    """The reaction that is meant; anything unknown is a like."""
    return cast(Reaction, text) if text in REACTIONS else "like"

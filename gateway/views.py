"""How accounts, channels, keys and messages look from outside: the fields of the older system.

Pure: from the directory and rows of the tables to what becomes JSON.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from bus.clock import iso, iso_ms
from gateway.directory import Account, ApiKey, Channel, Code, Directory
from schemas.channel import Role
from schemas.envelope import Answer

DAY_MS = 86_400_000
LIFECYCLE_DAYS = 180
"""A channel's days to live without activity when nothing is set."""
WARNING_DAYS = 14

View = dict[str, Any]


def account(one: Account) -> View:
    """What every member may know of an account."""
    return {
        "user_id": one.id,
        "username": one.username,
        "display_name": one.display_name,
        "account_type": one.account_type,
        "status": one.status,
        "bio": one.bio,
        "avatar_file_id": one.avatar_file_id or None,
        "origin_peer": one.origin,
        "public_key": one.public_key,
        "created_at": iso_ms(one.created_ms),
    }


def key(one: ApiKey) -> View:
    """What its owner may know of a key that he has; never the key itself."""
    return {
        "id": one.id,
        "user_id": one.account_id,
        "permissions": sorted(one.scopes),
        "label": one.label,
        "created_at": iso_ms(one.created_ms),
        "expires_at": _iso(one.expires_ms),
        "revoked": one.revoked,
    }


def code(one: Code) -> View:
    """What the owner may know of a one-time code; never the code itself."""
    return {
        "id": one.id,
        "label": one.label,
        "created_at": iso_ms(one.created_ms),
        "expires_at": _iso(one.expires_ms),
        "redeemed_by": one.redeemed_by,
    }


def channel(one: Channel, role: Role | None, directory: Directory, reader_id: str) -> View:
    """A channel to one reader, without what was said in it."""
    return {
        "id": one.id,
        "name": one.name,
        "type": one.type,
        "description": one.description,
        "topic": one.topic,
        "privacy_mode": one.privacy_mode,
        "crypto_mode": "legacy_plaintext",
        "created_by": one.created_by,
        "created_at": iso_ms(one.created_ms),
        "origin_peer": one.origin,
        "member_count": len(directory.members(one)),
        "user_role": role,
        "notifications_enabled": reader_id not in one.muted,
        "seq": one.seq,
    }


def lifecycle(one: Channel, active_at: str, now_ms: int) -> View:
    """How long a channel lives that was last active at *active_at* (ISO 8601)."""
    ttl_days = one.ttl_days or LIFECYCLE_DAYS
    preserved = one.preserved or one.type == "general"
    active_ms = datetime.fromisoformat(active_at).timestamp() * 1000
    left = max(0, ttl_days - int(now_ms - active_ms) // DAY_MS)
    status = "active" if preserved or left > WARNING_DAYS else "expiring"
    return {
        "lifecycle_ttl_days": ttl_days,
        "lifecycle_preserved": preserved,
        "archived_at": _iso(one.archived_ms),
        "archive_reason": None if one.archived_ms is None else "manual",
        "lifecycle_status": status if one.archived_ms is None else "archived",
        "days_until_archive": None if preserved or one.archived_ms is not None else left,
    }


def member(one: Account, role: Role) -> View:
    """A member of a channel."""
    return {
        "user_id": one.id,
        "username": one.username,
        "display_name": one.display_name,
        "account_type": one.account_type,
        "role": role,
        "origin_peer": one.origin,
    }


def message(row: View, directory: Directory) -> View:
    """A message as `actors.message.queries.present` gives it."""
    author = directory.account(row["user_id"])
    return {
        "id": row["id"],
        "channel_id": row["channel_id"],
        "user_id": row["user_id"],
        "username": author.username if author else None,
        "display_name": author.display_name if author else None,
        "content": row["content"],
        "withheld": row.get("withheld"),
        "type": row["type"],
        "created_at": row["created_at"],
        "expires_at": row["expires_at"],
        "edited_at": row["edited_at"],
        "thread_id": row["thread_id"],
        "parent_message_id": row["parent_message_id"],
        "reactions": row["reactions"],
        "attachments": [attachment(one) for one in row["attachments"]],
        "mentions": row["mentions"],
        "security": row["security"],
        "origin_peer": row["origin"],
        "crypto_state": row["state"],
        "seq": row["seq"],
    }


def posted(
    answer: Answer, channel_id: str, message_id: str, origin: str, directory: Directory
) -> View:
    """The message that *answer* tells of, as it was when it was new."""
    data = answer.facts[0].data
    row = {
        "id": message_id,
        "channel_id": channel_id,
        "user_id": answer.author,
        "content": data["content"],
        "type": data.get("message_type", "text"),
        "created_at": iso(answer.clock),
        "expires_at": data.get("expires_at"),
        "edited_at": None,
        "thread_id": data.get("thread_id"),
        "parent_message_id": data.get("parent_message_id"),
        "reactions": {},
        "attachments": data.get("attachments", ()),
        "mentions": data.get("mentions", ()),
        "security": data.get("security") or {},
        "origin": origin,
        "state": "sealed" if data.get("private") else "plaintext",
        "seq": answer.seq,
    }
    return message(row, directory)


def version(row: View) -> View:
    """What a message said from `edited_at` on (`actors.message.queries.history`)."""
    return {
        "content": row["content"],
        "attachments": [attachment(one) for one in row["attachments"]],
        "edited_at": row["edited_at"],
        "crypto_state": row["state"],
    }


def attachment(stored: View) -> View:
    """A reference to a file, with every field."""
    return {
        "id": stored["id"],
        "file_id": stored["id"],
        "name": stored.get("name", "file"),
        "type": stored.get("type", "application/octet-stream"),
        "size": stored.get("size"),
        "layout_hint": stored.get("layout_hint"),
    }


def _iso(ms: int | None) -> str | None:
    return None if ms is None else iso_ms(ms)

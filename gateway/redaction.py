"""What the log keeps to itself, whoever asks: secrets, and hashes of secrets."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

SECRETS: Mapping[str, frozenset[str]] = {
    "account_registered": frozenset({"password_sealed"}),
    "password_changed": frozenset({"password_sealed"}),
    "profile_changed": frozenset({"agent_directives"}),
    "key_created": frozenset({"secret_hash"}),
    "code_issued": frozenset({"secret_hash"}),
    "receipt_kept": frozenset({"sealed"}),
    "session_opened": frozenset({"session_id"}),
    "session_closed": frozenset({"session_id"}),
}


def redact(kind: str, data: dict[str, Any]) -> dict[str, Any]:
    """The data of an event without what the log keeps to itself, whoever asks.

    An agent reads its directives in its own profile.
    """
    secrets = SECRETS.get(kind)
    return {k: v for k, v in data.items() if k not in secrets} if secrets else data

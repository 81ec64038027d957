"""What of the log is shown: no secrets, whoever asks, and what was said in private, opened."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bus.crypto.content import place
from bus.key_table import VaultUnusable
from bus.sealing import SEALED, ContentDamaged, revealed
from bus.vault import Vault
from gateway.errors import refuse

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


def shown(vault: Vault, header: Mapping[str, Any], fact: Mapping[str, Any]) -> dict[str, Any]:
    """The data of one event of the commit with that *header*, for whoever may see the event.

    What is private is filled in; or `erased` or `damaged` stands in its place, and is true. Raises
    `Refused` (vault_unusable).
    """
    kind, data = fact["kind"], redact(fact["kind"], fact["data"])
    if SEALED not in data:
        return data
    clear = {name: value for name, value in data.items() if name != SEALED}
    at = place(
        noun=header["noun"], key=header["key"], author=header["author"],
        origin=header["origin"], clock=header["clock"], kind=kind,
    )  # fmt: skip
    try:
        said = revealed(vault, data[SEALED], at)
    except VaultUnusable as unusable:
        raise refuse("vault_unusable") from unusable
    except ContentDamaged:
        return clear | {"damaged": True}
    return clear | ({"erased": True} if said is None else said)


def redact(kind: str, data: dict[str, Any]) -> dict[str, Any]:
    """The data of an event without what the log keeps to itself, whoever asks.

    An agent reads its directives in its own profile.
    """
    secrets = SECRETS.get(kind)
    return {k: v for k, v in data.items() if k not in secrets} if secrets else data

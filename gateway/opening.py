"""Opening what was said in private, where it is shown: never in SQL, and never on a disk."""

from __future__ import annotations

from typing import Any

from bus.crypto.content import place
from bus.key_table import VaultUnusable
from bus.sealing import ContentDamaged, revealed
from bus.vault import Vault
from gateway.errors import refuse

Row = dict[str, Any]


def opened(vault: Vault, row: Row) -> Row:
    """A message, or a version of one, with all that it says; `state` tells how it was kept.

    `plaintext`, `sealed`, or `erased`: then it says nothing any more; or `damaged`: it was not
    erased, and what it says cannot be read. Raises `Refused` (vault_unusable). Reads the vault:
    call it in a worker thread.
    """
    state = row.get("state", "plaintext")
    for one in row["hidden"]:
        try:
            said = revealed(vault, one["sealed"], place(**one["place"]))
        except VaultUnusable as unusable:
            raise refuse("vault_unusable") from unusable
        except ContentDamaged:
            return row | {"content": "", "attachments": [], "state": "damaged"}
        state = "erased" if said is None else "sealed"
        row = row | {"content": "", "attachments": []} | (said or {})
    return row | {"state": state}


def readable(vault: Vault, row: Row) -> Row:
    """What *row* says, opened, for who asks for it alone. Raises `Refused` (content_damaged)."""
    found = opened(vault, row)
    if found["state"] == "damaged":
        raise refuse("content_damaged", key=row["hidden"][0]["place"]["key"])
    return found


def contains(row: Row, text: str) -> bool:
    """Whether an opened message has *text* in it, however its letters are written; true for what
    was not sealed, because the tables have looked already."""
    return row["state"] == "plaintext" or text.lower() in row["content"].lower()

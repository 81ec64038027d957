"""Where a node's vault is kept: `vault/`, beside the `identity.json` that names it.

A vault is made once, before its name is written into the identity; from then on a vault that is
missing, half there or another one's is refused, and never replaced by a new one.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from secrets import token_hex

from bus.crypto.identity import Identity
from bus.identity_file import FILE, name_vault, vault_name
from bus.key_record import RECORD_BYTES
from bus.key_table import SLOTS, KeyTable, StoredTable, VaultUnusable
from bus.storage import Copied, Directory, Files
from bus.vault import LOCK, Vault

DIRECTORY = "vault"


def vault_in(directory: Path, identity: Identity) -> Vault:
    """The vault of the node in *directory*, made on its first start.

    Raises `bus.key_table.VaultUnusable`, or `bus.identity_file.IdentityUnusable`.
    """
    storage = Directory(directory / DIRECTORY)
    where = str(storage.path)
    with storage.locked(LOCK):
        name = vault_name(directory)
        if not name:
            _refuse_over_another(storage, where)
            name = token_hex(8)
            KeyTable(storage, identity, name, where).create()
            name_vault(directory, name)
    try:
        return Vault(storage, identity, name, where)
    except BaseException:
        storage.close()
        raise


def _refuse_over_another(storage: Directory, where: str) -> None:
    """An identity that names no vault is not this one's, once something was kept in it: segments,
    and tables but the first, come after the name. What was just begun may be begun again."""
    used = [one for one in storage.names() if one.startswith(("segment-", "table-"))]
    if any(one != "table-1" for one in used):
        raise VaultUnusable(
            f"{where} holds keys, but {FILE} beside it names no vault: it is older than they are",
            f"Put back the {FILE} that belongs to this vault, both of one backup; a new vault is "
            "never made over another.",
        )


@contextmanager
def whole(directory: Path, identity: Identity, name: str) -> Iterator[Files]:
    """The files of the vault called *name* in *directory*, which opens, while nobody destroys keys;
    none before one was made, when the *name* is empty. Nothing is made, or changed.

    Raises `VaultUnusable`.
    """
    path = directory / DIRECTORY
    if not path.exists():
        if name:
            prove(Copied({}), identity, name, str(path))
        yield Copied({})
        return
    storage = Directory(path)
    try:
        with storage.locked(LOCK, shared=True):
            if not name:
                _refuse_over_another(storage, str(path))
                yield Copied({})
                return
            prove(storage, identity, name, str(path))
            yield storage
    finally:
        storage.close()


def prove(files: Files, identity: Identity, name: str, where: str) -> None:
    """*files* are the vault called *name*, and no segment lacks a part. Raises `VaultUnusable`."""
    top = StoredTable(files, identity, name, where)
    top.check(top.load(), RECORD_BYTES)


def vault_after(directory: Path, identity: Identity, following: int) -> None:
    """The node in *directory* has an empty vault, to which every key in a segment below *following*
    was destroyed: its log was restored, and the keys were not."""
    storage = Directory(directory / DIRECTORY)
    name = token_hex(8)
    try:
        KeyTable(storage, identity, name, str(storage.path)).create(following)
    finally:
        storage.close()
    name_vault(directory, name)


def overwrite_keys(directory: Path) -> None:
    """Nothing opens the vault in *directory* any more, if there is one, nor is the identity beside
    it one: both are about to be removed, which by itself leaves their bytes on the disk."""
    slots = [
        *(directory / DIRECTORY).glob(f"{SLOTS}*"),
        *(directory / DIRECTORY).glob(f".{SLOTS}.*"),
    ]
    for path in (*slots, *directory.glob(f"{FILE}*"), *directory.glob(f".{FILE}.*")):
        with path.open("r+b") as file:
            file.write(b"\0" * path.stat().st_size)
            file.flush()
            os.fdatasync(file.fileno())

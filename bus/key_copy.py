"""The keys of a node as a backup carries them: its root secret and its vault, under a passphrase.

Not its signing and exchange secrets: what is restored is another node. The vault is copied as it
lies, sealed by the root, while nobody destroys keys; a backup holds those of everything that was in
the log when the copy began, but for what was destroyed meanwhile.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta, Struct

from bus.crypto.content import Unsealable
from bus.crypto.identity import Identity
from bus.crypto.passphrase import Cost, open_stream, seal_stream
from bus.identity_file import name_vault, vault_name
from bus.storage import Directory
from bus.vault import LOCK
from bus.vault_file import DIRECTORY, vault_in

ERASED_S = 3600.0
"""For all of an erasure list."""


class Root(Struct, frozen=True, forbid_unknown_fields=True):
    """The root secret, and the name of the vault that it opens; empty when there was none yet."""

    root: bytes
    vault: str


class VaultFile(Struct, frozen=True, forbid_unknown_fields=True):
    """One file of the vault."""

    name: Annotated[str, Meta(pattern=r"^[a-z]+[0-9-]*\Z")]
    data: bytes


class KeyCopy(Struct, frozen=True):
    """The keys in a backup."""

    root: bytes
    vault: str
    files: tuple[VaultFile, ...]


ROOT = msgspec.msgpack.Decoder(Root)
VAULT_FILE = msgspec.msgpack.Decoder(VaultFile)


def sealed_keys(directory: Path, identity: Identity, passphrase: str, cost: Cost) -> bytes:
    """The keys of the node in *directory*, for whoever has *passphrase*."""
    return b"".join(seal_stream(_pieces(directory, identity), passphrase, cost))


def _pieces(directory: Path, identity: Identity) -> Iterator[bytes]:
    vault = vault_name(directory)
    yield msgspec.msgpack.encode(Root(identity.secrets.root, vault))
    if not vault:
        return
    storage = Directory(directory / DIRECTORY)
    try:
        with storage.locked(LOCK, shared=True):
            for name in storage.names():
                yield msgspec.msgpack.encode(VaultFile(name, storage.read(name)))
    finally:
        storage.close()


def opened_keys(sealed: bytes, passphrase: str) -> KeyCopy:
    """What `sealed_keys` sealed. Raises `PassphraseWrong` or `Unsealable`."""
    pieces = list(open_stream(sealed, passphrase))
    try:
        first = ROOT.decode(pieces[0])
        return KeyCopy(first.root, first.vault, tuple(VAULT_FILE.decode(p) for p in pieces[1:]))
    except (msgspec.MsgspecError, IndexError) as error:
        raise Unsealable("holds no keys of ours") from error


def put_vault(directory: Path, keys: KeyCopy) -> None:
    """The vault of *keys* lies in *directory*, whose identity is nothing without it."""
    storage = Directory(directory / DIRECTORY)
    try:
        for one in keys.files:
            storage.replace(one.name, one.data)
    finally:
        storage.close()
    name_vault(directory, keys.vault)


async def erase(directory: Path, identity: Identity, owners: Collection[str]) -> None:
    """The vault in *directory* has no key of *owners* any more."""
    vault = vault_in(directory, identity)
    try:
        async with asyncio.TaskGroup() as group:  # Who waits together is served together.
            for owner in owners:
                group.create_task(vault.destroy(owner, ERASED_S))
    finally:
        vault.close()

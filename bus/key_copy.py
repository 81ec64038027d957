"""The keys of a node as a backup carries them: its root secret and its vault, under a passphrase.

Not its signing and exchange secrets: what is restored is another node. The vault is copied as it
lies, sealed by the root, while nobody destroys keys; a backup holds those of everything that was in
the log when the copy began, but for what was destroyed meanwhile.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta, Struct

from bus.crypto.content import Unsealable
from bus.crypto.identity import Identity, identity, new_secrets
from bus.crypto.passphrase import Cost, open_stream, seal_stream
from bus.identity_file import name_vault, vault_name
from bus.key_table import VaultUnusable
from bus.storage import Copied, Directory
from bus.vault_file import DIRECTORY, prove, vault_in, whole

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


def sealed_keys(directory: Path, node: Identity, passphrase: str, cost: Cost) -> bytes:
    """The keys of the node in *directory*, for whoever has *passphrase*. Raises `VaultUnusable`
    when they would not open again."""
    return b"".join(seal_stream(_pieces(directory, node), passphrase, cost))


def _pieces(directory: Path, node: Identity) -> Iterator[bytes]:
    vault = vault_name(directory)
    with whole(directory, node, vault) as files:
        yield msgspec.msgpack.encode(Root(node.secrets.root, vault))
        for name in files.names():
            yield msgspec.msgpack.encode(VaultFile(name, files.read(name)))


def opened_keys(sealed: bytes, passphrase: str) -> KeyCopy:
    """What `sealed_keys` sealed, whose vault opens. Raises `PassphraseWrong` or `Unsealable`."""
    pieces = list(open_stream(sealed, passphrase))
    try:
        first = ROOT.decode(pieces[0])
        keys = KeyCopy(first.root, first.vault, tuple(VAULT_FILE.decode(p) for p in pieces[1:]))
    except (msgspec.MsgspecError, IndexError) as error:
        raise Unsealable("holds no keys of ours") from error
    _prove(keys)
    return keys


def _prove(keys: KeyCopy) -> None:
    """The vault of *keys*, if there is one, is whole, and opens for its root: seen in memory, so
    that nothing of it is left behind on a disk. Raises `Unsealable`."""
    if not keys.vault:
        return
    files = Copied({one.name: one.data for one in keys.files})
    try:
        prove(files, identity(replace(new_secrets(), root=keys.root)), keys.vault, "its vault")
    except VaultUnusable as error:
        raise Unsealable("they are not whole") from error


def put_vault(directory: Path, keys: KeyCopy) -> None:
    """The vault of *keys* lies in *directory*, whose identity is nothing without it."""
    storage = Directory(directory / DIRECTORY)
    try:
        for one in keys.files:
            storage.replace(one.name, one.data)
    finally:
        storage.close()
    name_vault(directory, keys.vault)


async def erase(directory: Path, node: Identity, owners: Collection[str]) -> None:
    """The vault in *directory* has no key of *owners* any more."""
    vault = vault_in(directory, node)
    try:
        async with asyncio.TaskGroup() as group:  # Who waits together is served together.
            for owner in owners:
                group.create_task(vault.destroy(owner, ERASED_S))
    finally:
        vault.close()

"""Vaults for tests, and a disk whose power fails in the middle of any write."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

from bus.crypto.identity import Identity, Secrets, identity
from bus.key_table import SLOT_BYTES, KeyTable
from bus.storage import Storage
from bus.vault import Vault

NODE: Identity = identity(Secrets(b"\1" * 32, b"\2" * 32, b"\3" * 32))
NAME = "0123456789abcdef"
WAIT_S = 10.0
ANN, BOB = "message.c1.m1", "message.c1.m2"
ELSEWHERE = "message.c2.m1"


def made(storage: Storage) -> None:
    """An empty vault lies in *storage*."""
    KeyTable(storage, NODE, NAME, "vault").create()


def opened(storage: Storage, who: Identity = NODE, name: str = NAME) -> Vault:
    """The vault in *storage*, as a process that has just started sees it."""
    return Vault(storage, who, name, "vault")


def empty_vault() -> Vault:
    """A vault in memory."""
    disk = Disk()
    made(disk)
    return opened(disk)


@contextmanager
def opening(storage: Storage) -> Iterator[Vault]:
    """The vault in *storage*, until the block ends."""
    vault = opened(storage)
    try:
        yield vault
    finally:
        vault.close()


class PowerFailed(Exception):
    """The machine is off from here on."""


class Disk:
    """A `Storage` in memory. After *bytes_left* more bytes its power fails: what was being written
    is torn there, except for a replacement, which has not happened; a removal costs one byte."""

    def __init__(self, files: dict[str, bytes] | None = None, bytes_left: int = 1 << 60) -> None:
        self.files: dict[str, bytes] = dict(files or {})
        self.left = bytes_left
        self.written = 0

    def names(self) -> list[str]:
        return sorted(self.files)

    def read(self, name: str) -> bytes:
        try:
            return self.files[name]
        except KeyError as error:
            raise FileNotFoundError(name) from error

    def size(self, name: str) -> int:
        return len(self.read(name))

    def append(self, name: str, data: bytes) -> None:
        before = self.files.get(name, b"")
        self._spend(len(data), lambda n: self._set(name, before + data[:n]))

    def put(self, name: str, offset: int, data: bytes) -> None:
        before = self.files.get(name, b"").ljust(offset, b"\0")
        self._spend(
            len(data), lambda n: self._set(name, before[:offset] + data[:n] + before[offset + n :])
        )

    def replace(self, name: str, data: bytes) -> None:
        self._spend(len(data), lambda n: self._set(name, data) if n == len(data) else None)

    def remove(self, name: str) -> None:
        self._spend(1, lambda n: self.files.pop(name, None) if n else None)

    def release(self, name: str) -> None:
        """Nothing is ever open."""

    def hold(self, name: str) -> bool:
        return True

    def locked(self, name: str, *, shared: bool = False) -> AbstractContextManager[None]:
        return nullcontext()

    def close(self) -> None:
        """Nothing is open."""

    def _set(self, name: str, data: bytes) -> None:
        self.files[name] = data

    def _spend(self, wanted: int, write: Callable[[int], object]) -> None:
        done = min(wanted, self.left)
        self.left -= done
        self.written += done
        write(done)
        if done < wanted:
            raise PowerFailed


async def keep(vault: Vault, *owners: str) -> dict[str, bytes]:
    """A key for each, wanted at once: name → key."""
    kept = await asyncio.gather(*(vault.keep(owner, WAIT_S) for owner in owners))
    return {one.name: one.key for one in kept}


async def destroy(vault: Vault, *owners: str) -> None:
    await asyncio.gather(*(vault.destroy(owner, WAIT_S) for owner in owners))


async def story(disk: Disk) -> tuple[dict[str, bytes], dict[str, bytes]]:
    """A vault in which ann's and bob's keys lie, in two segments: hers and his."""
    made(disk)
    with opening(disk) as vault:
        hers, his = await keep(vault, ANN), await keep(vault, BOB)
    with opening(disk) as vault:
        hers |= await keep(vault, ANN)
        his |= await keep(vault, BOB)
    return hers, his


def slot_text(slots: bytes) -> bytes:
    """The table key of generation 1 as the root has sealed it."""
    return slots[SLOT_BYTES:].strip(b"\0").split()[-1]

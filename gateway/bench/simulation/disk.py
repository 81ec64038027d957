"""The disk of a simulated machine: what `bus.storage` promises, and every way to die in its midst.

What a method has done is there for good when it returns. A process that dies in the middle leaves
the change undone, done, or torn at any byte; `replace` leaves the old file or the new one.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random

from gateway.bench.simulation.loop import PROCESS, Killed, Process

Files = dict[str, bytes]


class SimulatedDisk:
    """All directories of one machine. *dies* is asked before each change whether the process dies
    in the midst of it."""

    def __init__(self, chance: Random, dies: Callable[[str], bool]) -> None:
        self.full = False
        self._chance = chance
        self._dies = dies
        self._directories: dict[Path, Files] = {}
        self._holders: dict[tuple[Path, str], SimulatedStorage] = {}

    def opened(self, path: Path) -> SimulatedStorage:
        """The directory *path*, as the process that asks sees it."""
        return SimulatedStorage(self, path, self._directories.setdefault(path, {}))

    def bury(self, process: Process) -> None:
        """*process* has died: what it held is free."""
        for name, holder in list(self._holders.items()):
            if holder.process is process:
                del self._holders[name]

    def held(self, name: tuple[Path, str], by: SimulatedStorage) -> bool:
        """Whether *name* is held *by* it from now on."""
        return self._holders.setdefault(name, by) is by

    def let_go(self, by: SimulatedStorage) -> None:
        """Nothing is held *by* it any more."""
        for name, holder in list(self._holders.items()):
            if holder is by:
                del self._holders[name]

    def change(self, files: Files, name: str, after: bytes, *, torn: bool) -> None:
        """The file *name* holds *after*, unless the process dies meanwhile. A change that may be
        *torn* then leaves what it had come to."""
        if not PROCESS.get().alive:
            raise Killed(name)
        before = files.get(name, b"")
        if self.full and len(after) > len(before):
            raise OSError(errno.ENOSPC, "No space left on the simulated device")
        if not self._dies(name):
            files[name] = after
            return
        if torn:
            files[name] = _torn(before, after, self._chance)
        elif self._chance.random() < 0.5:
            files[name] = after
        raise Killed(name)


class SimulatedStorage:
    """One directory, as one holder sees it."""

    def __init__(self, disk: SimulatedDisk, path: Path, files: Files) -> None:
        self.process = PROCESS.get()
        self._disk = disk
        self._path = path
        self._files = files
        self._closed = False

    def names(self) -> list[str]:
        return sorted(self._files)

    def read(self, name: str) -> bytes:
        if name not in self._files:
            raise FileNotFoundError(errno.ENOENT, "No such simulated file", name)
        return self._files[name]

    def size(self, name: str) -> int:
        return len(self.read(name))

    def append(self, name: str, data: bytes) -> None:
        self.put(name, len(self._files.get(name, b"")), data)

    def put(self, name: str, offset: int, data: bytes) -> None:
        before = self._files.get(name, b"").ljust(offset, b"\0")
        after = before[:offset] + data + before[offset + len(data) :]
        self._disk.change(self._files, name, after, torn=True)

    def replace(self, name: str, data: bytes) -> None:
        self._disk.change(self._files, name, data, torn=False)

    def remove(self, name: str) -> None:
        self._files.pop(name, None)

    def release(self, name: str) -> None:
        """Nothing is ever open."""

    def hold(self, name: str) -> bool:
        return not self._closed and self._disk.held((self._path, name), self)

    @contextmanager
    def locked(self, name: str, *, shared: bool = False) -> Iterator[None]:
        """What blocks is done in one step of a world: nobody else is ever in the midst of it."""
        yield

    def close(self) -> None:
        self._closed = True
        self._disk.let_go(self)


def _torn(before: bytes, after: bytes, chance: Random) -> bytes:
    """What lies there when some of the bytes that change have been written, from the first on."""
    changed = [nth for nth, one in enumerate(after) if before[nth : nth + 1] != bytes((one,))]
    if not changed:
        return after
    until = chance.choice(changed)
    return after[:until] + before[until : len(after)]

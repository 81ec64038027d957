"""Small durable files of one directory, behind a port, so that a simulator can pull the plug.

Whatever a method has done is on the disk when it returns; a crash in the middle of one leaves its
change undone, done, or torn at any byte, except for `replace`, which is all or nothing. Who needs
more than that (two slots in turn, checksums, a rewrite under another name) builds it on top.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from threading import Lock
from time import monotonic, sleep
from typing import Protocol

from bus.files import sync_directory, written_bytes

LOCK_TIMEOUT_S = 30.0
LOCK_RETRY_S = 0.001


class Files(Protocol):
    """Files named without slashes, to be read."""

    def names(self) -> list[str]:
        """The names of all files, sorted."""

    def read(self, name: str) -> bytes:
        """All of a file. Raises FileNotFoundError."""

    def size(self, name: str) -> int:
        """How many bytes a file has. Raises FileNotFoundError."""


class Storage(Files, Protocol):
    """One directory of files named without slashes. Every method blocks."""

    def append(self, name: str, data: bytes) -> None:
        """Put *data* at the end of a file, which is made if it is not there."""

    def put(self, name: str, offset: int, data: bytes) -> None:
        """Put *data* over what lies at *offset*, in place: what was there is gone from the disk,
        as far as the filesystem overwrites in place. Makes the file if it is not there."""

    def replace(self, name: str, data: bytes) -> None:
        """The file holds *data* and nothing else: wholly, or not at all."""

    def remove(self, name: str) -> None:
        """There is no such file; it need not have been there."""

    def release(self, name: str) -> None:
        """Keep nothing open of a file that is not going to be changed any more, or not soon."""

    def hold(self, name: str) -> bool:
        """Whether *name* is this holder's alone from now on, until `close`: nobody else's `hold`
        of it succeeds meanwhile, in any process. After `close` it never is."""

    def locked(self, name: str, *, shared: bool = False) -> AbstractContextManager[None]:
        """*name* is this holder's alone as long as the block lasts, or, *shared*, nobody's alone.
        Raises TimeoutError when others do not let go of it in `LOCK_TIMEOUT_S`."""

    def close(self) -> None:
        """Let go of everything."""


class Copied:
    """Files of which somebody has a copy, by name."""

    def __init__(self, files: Mapping[str, bytes]) -> None:
        self._files = files

    def names(self) -> list[str]:
        return sorted(self._files)

    def read(self, name: str) -> bytes:
        if name not in self._files:
            raise FileNotFoundError(name)
        return self._files[name]

    def size(self, name: str) -> int:
        return len(self.read(name))


class Directory:
    """Files in a real directory (mode 0700), each readable by its owner alone."""

    def __init__(self, path: Path) -> None:
        self.path = path
        if not path.exists():
            path.mkdir(parents=True, exist_ok=True, mode=0o700)
            sync_directory(path.parent)
        self._open: dict[str, int] = {}
        self._held: list[int] = []
        self._closed = False
        self._holding = Lock()

    def names(self) -> list[str]:
        return sorted(one.name for one in self.path.iterdir() if not one.name.startswith("."))

    def read(self, name: str) -> bytes:
        return (self.path / name).read_bytes()

    def size(self, name: str) -> int:
        return (self.path / name).stat().st_size

    def append(self, name: str, data: bytes) -> None:
        descriptor = self._descriptor(name)
        self._write(descriptor, os.fstat(descriptor).st_size, data)

    def put(self, name: str, offset: int, data: bytes) -> None:
        self._write(self._descriptor(name), offset, data)

    def replace(self, name: str, data: bytes) -> None:
        self.release(name)
        written_bytes(self.path / name, data)

    def remove(self, name: str) -> None:
        self.release(name)
        (self.path / name).unlink(missing_ok=True)
        sync_directory(self.path)

    def release(self, name: str) -> None:
        descriptor = self._open.pop(name, None)
        if descriptor is not None:
            os.close(descriptor)

    def hold(self, name: str) -> bool:
        with self._holding:
            if self._closed:  # A thread that nobody waits for any more: nobody would let go of it.
                return False
            descriptor = os.open(self.path / f".{name}.lock", os.O_RDWR | os.O_CREAT, 0o600)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(descriptor)
                return False
            self._held.append(descriptor)
            return True

    @contextmanager
    def locked(self, name: str, *, shared: bool = False) -> Iterator[None]:
        descriptor = os.open(self.path / f".{name}.lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            lock_file(descriptor, fcntl.LOCK_SH if shared else fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    def close(self) -> None:
        with self._holding:
            self._closed = True
            for descriptor in (*self._open.values(), *self._held):
                os.close(descriptor)
            self._open.clear()
            self._held.clear()

    def _descriptor(self, name: str) -> int:
        """The file, open for writing; a new one is durably there."""
        descriptor = self._open.get(name)
        if descriptor is None:
            path = self.path / name
            new = not path.exists()
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            self._open[name] = descriptor
            if new:
                sync_directory(self.path)
        return descriptor

    def _write(self, descriptor: int, offset: int, data: bytes) -> None:
        rest = memoryview(data)
        while rest:  # A signal, or a disk that is nearly full, may cut one write short.
            count = os.pwrite(descriptor, rest, offset)
            rest, offset = rest[count:], offset + count
        os.fdatasync(descriptor)


class _Machine:
    opened: Callable[[Path], Storage] = Directory


def storage_at(path: Path) -> Storage:
    """The files of the directory *path*: on the disk of this machine, or on a simulator's."""
    return _Machine.opened(path)


@contextmanager
def stored_by(opened: Callable[[Path], Storage]) -> Iterator[None]:
    """Directories are opened by *opened* until the block ends."""
    before, _Machine.opened = _Machine.opened, opened
    try:
        yield
    finally:
        _Machine.opened = before


def lock_file(descriptor: int, kind: int) -> None:
    """The kernel's own lock (`fcntl.LOCK_…`), which dies with its holder. Raises TimeoutError."""
    until_s = monotonic() + LOCK_TIMEOUT_S
    while True:
        try:
            fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
        except BlockingIOError as error:
            if monotonic() > until_s:
                raise TimeoutError("another process does not let go") from error
            sleep(LOCK_RETRY_S)
        else:
            return

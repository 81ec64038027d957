"""Where an archive lies: in a directory, or in one tar file; written durably, whole or not at all.

A draft stands beside the name until everything is on the disk, and takes the name in one step. What
a killed process leaves is a draft, which the next attempt throws away.
"""

from __future__ import annotations

import fcntl
import io
import os
import shutil
import stat
import tarfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO, Protocol

from bus.faults import point
from bus.files import sync_directory

DRAFT = ".canopy-draft"
FILE_BYTES_MAX = 2 << 30
"""More than any file of an archive has, whatever its manifest says."""


class Damaged(Exception):
    """An archive, or what it is to be made of, is not whole; the text says which file and row."""


class Taken(Exception):
    """There is something where the archive is to be written, or somebody writes it already."""


class Sink(Protocol):
    """Takes the files of an archive, one after the other."""

    def put(self, name: str, data: bytes) -> None:
        """The file *name* holds *data*."""


class Files(Protocol):
    """The files of an archive."""

    def read(self, name: str) -> bytes:
        """All of one file. Raises `Damaged` when it is not there, or not whole."""


class DirectoryFiles:
    """An archive as a directory."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def put(self, name: str, data: bytes) -> None:
        _durable(self.path / name, data)

    def read(self, name: str) -> bytes:
        try:
            return (self.path / name).read_bytes()
        except FileNotFoundError as error:
            raise Damaged(f"{self.path} has no {name}") from error


class TarSink:
    """One tar file that is being written (POSIX.1-1988, plain names, no times, no owners)."""

    def __init__(self, file: BinaryIO) -> None:
        self._tar = tarfile.open(fileobj=file, mode="w", format=tarfile.USTAR_FORMAT)  # noqa: SIM115  # `close` ends it

    def put(self, name: str, data: bytes) -> None:
        member = tarfile.TarInfo(name)
        member.size, member.mode = len(data), 0o600
        self._tar.addfile(member, io.BytesIO(data))

    def close(self) -> None:
        """The end of the archive is written."""
        self._tar.close()


class TarFiles:
    """One tar file, which *file* reads."""

    def __init__(self, path: Path, file: BinaryIO) -> None:
        self.path = path
        try:
            self._tar = tarfile.open(fileobj=file, mode="r:")  # noqa: SIM115  # *file* is not ours
            self._members = {one.name: one for one in self._tar.getmembers()}
        except (tarfile.TarError, EOFError) as error:
            raise Damaged(f"{path} is no archive of ours, or was cut off: {error}") from error

    def read(self, name: str) -> bytes:
        member = self._members.get(name)
        if member is None or not member.isfile():
            raise Damaged(f"{self.path} has no {name}: it was cut off, or is no archive of ours")
        if member.size > FILE_BYTES_MAX:
            raise Damaged(f"{self.path}: {name} is larger than any file of ours")
        found = self._tar.extractfile(member)
        data = b"" if found is None else found.read()
        if len(data) != member.size:
            raise Damaged(f"{self.path}: {name} was cut off")
        return data


@contextmanager
def opened(path: Path) -> Iterator[Files]:
    """The archive at *path*, directory or file. Raises `Damaged`, or OSError."""
    if path.is_dir():
        yield DirectoryFiles(path)
        return
    with path.open("rb") as file:
        yield TarFiles(path, file)


@contextmanager
def directory_sink(path: Path) -> Iterator[Sink]:
    """A new archive as the directory *path*, there once the block has ended well, else not at all.

    Raises `Taken` when there is something already.
    """
    _refuse(path)
    draft = path.with_name(f".{path.name}{DRAFT}")
    with _alone(draft, _directory, path):
        try:
            _refuse(path)  # Whoever had the lock before may have taken the name.
            for one in draft.iterdir():
                one.unlink()
            yield DirectoryFiles(draft)
            sync_directory(draft)
            point("archive.written")
            draft.rename(path)
            sync_directory(path.parent)
        finally:
            shutil.rmtree(draft, ignore_errors=True)


@contextmanager
def tar_sink(path: Path) -> Iterator[Sink]:
    """A new archive as the one file *path* (mode 0600), as `directory_sink` has it."""
    _refuse(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}{DRAFT}")
    with _alone(draft, _file, path) as descriptor, os.fdopen(os.dup(descriptor), "wb") as file:
        try:
            _refuse(path)
            file.truncate(0)
            sink = TarSink(file)
            yield sink
            sink.close()
            file.flush()
            os.fsync(file.fileno())
            point("archive.written")
            os.link(draft, path)  # A rename would overwrite what has been put there meanwhile.
            sync_directory(path.parent)
        finally:
            draft.unlink(missing_ok=True)


@contextmanager
def _alone(draft: Path, opened: Callable[[Path], int], path: Path) -> Iterator[int]:
    """The descriptor of *draft*, as *opened* makes and opens it: nobody else writes *path* until
    the block ends, and *draft* is no second name of anything. Raises `Taken`.
    """
    while True:
        descriptor = opened(draft)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if _ours(descriptor, draft):
                yield descriptor
                return
        except BlockingIOError as error:
            raise Taken(f"{path} is being written by another process") from error
        finally:
            os.close(descriptor)


def _ours(descriptor: int, draft: Path) -> bool:
    """Whether what we have locked is what lies at *draft*, and lies nowhere else.

    Who was here before may have finished it between our opening and our lock; or it was killed
    after it gave the file its name, and then only the other name of the file is removed.
    """
    locked = os.fstat(descriptor)
    try:
        lies = draft.stat()
    except FileNotFoundError:
        return False
    if not os.path.samestat(locked, lies):
        return False
    if stat.S_ISREG(locked.st_mode) and locked.st_nlink > 1:
        draft.unlink()
        return False
    return True


def _file(path: Path) -> int:
    return os.open(path, os.O_RDWR | os.O_CREAT, 0o600)


def _directory(path: Path) -> int:
    while True:
        path.mkdir(parents=True, exist_ok=True, mode=0o700)
        with suppress(FileNotFoundError):  # Whoever was here before removes it when they end.
            return os.open(path, os.O_RDONLY | os.O_DIRECTORY)


def _refuse(path: Path) -> None:
    if os.path.lexists(path):
        raise Taken(f"{path} is there already: choose another name, or remove it first")


def _durable(path: Path, data: bytes) -> None:
    with path.open("xb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


@contextmanager
def workplace(path: Path) -> Iterator[Path]:
    """*path* as an empty directory for this process alone, gone when the block ends.

    Raises `Taken` while another process works there.
    """
    with _alone(path, _directory, path):
        for one in path.iterdir():
            one.unlink()
        try:
            yield path
        finally:
            shutil.rmtree(path, ignore_errors=True)

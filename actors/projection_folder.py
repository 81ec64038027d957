"""The folder of a process's tables: which file to read, where the next goes, what to throw away.

Every file is disposable, because the log can make it again; one that is damaged, belongs to another
log, or knows more than this one, is set aside for whoever looks into how that could be. The latter
are witnesses: the log has lost something, or is not the one it was (`bus.alarm`).
"""

from __future__ import annotations

import errno
from pathlib import Path

import duckdb
import structlog

from actors.projection_file import Damaged, Foreign, ProjectionFile, Statements
from bus.clock import new_id

UNUSABLE = ".unusable"
LOCKED = "Could not set lock"
UNWRITABLE = {
    "No space left": errno.ENOSPC,
    "Read-only file system": errno.EROFS,
    "Disk quota exceeded": errno.EDQUOT,
}
"""What DuckDB says of a disk that takes nothing: no fault of the file."""

log = structlog.get_logger()


class Locked(Exception):
    """Another process has the tables open."""


class ProjectionFolder:
    """The files of tables of one log. Its methods block: call them from a worker thread."""

    def __init__(
        self, path: Path, statements: Statements, epoch: str, memory_bytes_max: int
    ) -> None:
        self._path = path
        self._statements = statements
        self._epoch = epoch
        self._memory_bytes_max = memory_bytes_max
        self._opened: set[ProjectionFile] = set()
        self.ahead = 0
        """The greatest position that tables have known and the log has not; 0 for none."""

    def open(self, head: int, *, whole: bool = False) -> ProjectionFile:
        """The file that is farthest, of those that today's queries can read; an empty one if none.

        *head* is the last position of the log; with *whole* every row of a file is read before it
        is believed. Where the disk takes nothing it is a file that can only be read. Raises
        `Locked` when another process holds one, OSError when the disk takes nothing and none can
        be read.
        """
        self._path.mkdir(parents=True, exist_ok=True, mode=0o700)
        if self._path.stat().st_mode & 0o777 != 0o700:
            self._path.chmod(0o700)  # One of an earlier version was open to others.
        usable: list[ProjectionFile] = []
        for path in sorted(self._path.glob("*.duckdb")):
            file = self._usable(path, head, whole=whole)
            if file is not None:
                usable.append(file)
        if not usable:
            return self.fresh()
        best = max(usable, key=lambda file: (file.seq, file.current))
        for file in usable:
            if file is not best:  # A successor that was not finished before the process ended.
                self.retire(file)
        return best

    def fresh(self, statements: Statements | None = None) -> ProjectionFile:
        """A new file, empty, for *statements* (today's unless told)."""
        statements = statements or self._statements
        path = self._path / f"{statements.version}-{new_id()}.duckdb"
        try:
            return self._open(path, statements)
        except duckdb.Error as error:
            _blame_the_disk(path, error)
            raise

    def release(self, file: ProjectionFile) -> None:
        """Close *file* and leave it where it is."""
        file.close()
        self._opened.discard(file)

    def retire(self, file: ProjectionFile) -> None:
        """Close *file* and remove it; one that could only be read stays until the next opening."""
        self.release(file)
        if not file.read_only:
            _removed(file.path)

    def interrupt(self) -> None:
        """Let all that is being read from any file fail now. For any thread."""
        for file in tuple(self._opened):
            file.interrupt()

    def _open(
        self, path: Path, statements: Statements, *, read_only: bool = False
    ) -> ProjectionFile:
        limit = self._memory_bytes_max
        file = ProjectionFile(path, statements, self._epoch, limit, read_only=read_only)
        if not read_only:
            path.chmod(0o600)
        self._opened.add(file)
        return file

    def _open_or_read(self, path: Path) -> ProjectionFile:
        try:
            return self._open(path, self._statements)
        except duckdb.Error as error:
            if not _errno(error):
                raise
            return self._open(path, self._statements, read_only=True)

    def _usable(self, path: Path, head: int, *, whole: bool) -> ProjectionFile | None:
        try:
            file = self._open_or_read(path)
        except Foreign as error:
            _set_aside(path, str(error))  # It may be the log that lies in the place of another.
            return None
        except duckdb.Error as error:
            if LOCKED in str(error):
                raise Locked(f"{self._path} is in use by another process.") from error
            _blame_the_disk(path, error)
            _set_aside(path, str(error))
            return None
        try:
            if file.seq > head:
                self.ahead = max(self.ahead, file.seq)
                reason = (
                    f"the tables are at {file.seq} and the log ends at {head}: has it lost any?"
                )
            elif not (file.current or file.answers(self._statements)):
                log.info("projection_outdated", path=str(path), remedy="made anew")
                self.retire(file)
                return None
            else:
                _probe(file, head if whole else 0)
                return file
        except (duckdb.Error, Damaged) as error:
            reason = str(error)
        self.release(file)
        _set_aside(path, reason)
        return None


def _probe(file: ProjectionFile, seq: int) -> None:
    """Raises `Damaged` when a table cannot be read at all, or anywhere up to the position *seq*."""
    with file.reading() as cursor:
        for name in file.tables():
            cursor.execute(f"SELECT * FROM {name} LIMIT 1").fetchall()  # noqa: S608
    if seq:
        file.hashes(seq)


def _blame_the_disk(path: Path, error: duckdb.Error) -> None:
    """Raises OSError when *error* is the disk's and not the file's."""
    if number := _errno(error):
        raise OSError(number, str(error), str(path)) from error


def _errno(error: duckdb.Error) -> int:
    """What the kernel said of the disk; 0 when the disk is not what *error* is about."""
    return next((number for words, number in UNWRITABLE.items() if words in str(error)), 0)


def _set_aside(path: Path, reason: str) -> None:
    log.critical("projection_set_aside", path=str(path), reason=reason)
    for one in (path, _wal(path)):
        if one.exists():
            one.rename(one.with_name(one.name + UNUSABLE))


def _removed(path: Path) -> None:
    for one in (path, _wal(path)):
        one.unlink(missing_ok=True)


def _wal(path: Path) -> Path:
    """Where DuckDB keeps what it has not yet written into the file itself."""
    return path.with_name(path.name + ".wal")

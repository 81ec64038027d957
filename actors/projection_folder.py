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
UNWRITABLE = {"No space left": errno.ENOSPC, "Read-only file system": errno.EROFS}
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
        is believed. Raises `Locked` when another process holds one, OSError when the disk takes
        nothing.
        """
        self._path.mkdir(parents=True, exist_ok=True, mode=0o700)
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
        """Close *file* and remove it."""
        self.release(file)
        _removed(file.path)

    def interrupt(self) -> None:
        """Let all that is being read from any file fail now. For any thread."""
        for file in tuple(self._opened):
            file.interrupt()

    def _open(self, path: Path, statements: Statements) -> ProjectionFile:
        file = ProjectionFile(path, statements, self._epoch, self._memory_bytes_max)
        path.chmod(0o600)
        self._opened.add(file)
        return file

    def _usable(self, path: Path, head: int, *, whole: bool) -> ProjectionFile | None:
        try:
            file = self._open(path, self._statements)
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
    for words, number in UNWRITABLE.items():
        if words in str(error):
            raise OSError(number, str(error), str(path)) from error


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

"""The tables of one DuckDB file: disposable, rebuilt from the log, at one position of it.

Every room's `projection.sql` creates its tables and inserts the facts of a whole batch; tables are
only ever added to, so a rebuild is pure appends and "as of a position" is one filter. The position
is stored in the transaction that stores the facts: they move together or not at all.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, replace
from hashlib import blake2b
from pathlib import Path

import duckdb

from actors.batch import EVERY, KIND, Rows, batch
from bus import codec
from bus.faults import point
from bus.log import Stored
from schemas.upcasters import UPCASTERS, Upcasters
from schemas.vocabulary import EVENTS

CURSOR_TABLE = """
CREATE TABLE IF NOT EXISTS projection (version VARCHAR, epoch VARCHAR, seq UBIGINT, sql VARCHAR)
"""

GATHERED, USUAL = "256MB", "16MB"
"""What may lie beside a file that is being filled, and beside one that keeps up."""

FOUND = "SELECT sql, version, epoch, seq FROM projection"
MOVE = "UPDATE projection SET seq = ? WHERE seq = ?"
COLUMNS = """
SELECT table_name, column_name, data_type FROM duckdb_columns() WHERE table_name <> 'projection'
"""
SUM = "sum(hash(t)::HUGEINT)"
"""Of rows in any order, each as often as it is there: an exclusive or would not see pairs."""

CATALOGUE = "SELECT current_database()"
NOTHING: Mapping[str, str] = {}

UNFIT = (
    duckdb.DataError,
    duckdb.IntegrityError,
    duckdb.NotSupportedError,
    duckdb.ProgrammingError,
)
"""What DuckDB raises when a fact does not fit its table; anything else is DuckDB's own trouble."""


class Poison(Exception):
    """A commit that cannot be folded. Names its position; nothing after it has been folded."""


class Displaced(Exception):
    """The file is at another position than it was left at: somebody else has written to it."""


class Damaged(Exception):
    """DuckDB cannot work with the file: it is damaged, or the disk below it is. Whoever opens it
    again finds out which; what was folded before is in it, or it is set aside."""


class Foreign(Exception):
    """A file of tables that was made from another log."""


@dataclass(frozen=True)
class Statements:
    """The SQL of all rooms: what makes the tables, what fills them, and for which kinds."""

    creates: tuple[str, ...]
    inserts: tuple[tuple[str, frozenset[str]], ...]
    version: str
    text: str

    @classmethod
    def of(cls, text: str, upcasters: Upcasters = UPCASTERS) -> Statements:
        """The statements in *text*, parted by semicolons; the version is the hash of the text and
        of how old events are read before it sees them.
        """
        bare = re.sub(r"--[^\n]*", "", text)
        parts = [part.strip() for part in bare.split(";") if part.strip()]
        creates = tuple(part for part in parts if part.upper().startswith("CREATE"))
        inserts = tuple((part, _kinds(part)) for part in parts if part not in creates)
        told = repr((bare, upcasters.marks))
        version = blake2b(told.encode(), digest_size=8).hexdigest()
        return cls(creates, inserts, version, bare)


def _kinds(statement: str) -> frozenset[str]:
    named = frozenset(re.findall(r"'([a-z_]+)'", statement)) & EVENTS.keys()
    return named or frozenset({EVERY})


class ProjectionFile:
    """One file of tables. Its methods block: call them from a worker thread, one at a time."""

    def __init__(
        self,
        path: Path,
        statements: Statements,
        epoch: str,
        memory_bytes_max: int,
        *,
        read_only: bool = False,
    ) -> None:
        """Opens or makes the file at *path*. A file of another version keeps being filled by its
        own SQL, so that it can be read until its successor is ready; `current` tells. With
        *read_only* nothing is written, and what lies beside the file is read with it.

        Raises `Foreign` when the file belongs to another log.
        """
        self.path = path
        self.read_only = read_only
        self._expecting = False
        self._reading: set[duckdb.DuckDBPyConnection] = set()
        self._connection = duckdb.connect(
            str(path),
            read_only=read_only,
            config={"memory_limit": f"{memory_bytes_max >> 20}MiB", "threads": 2},
        )
        try:
            text, version, written_for, seq = self._found(statements, epoch)
            if written_for != epoch:
                raise Foreign(f"{path} belongs to the log {written_for}, not to {epoch}")
        except BaseException:
            self._connection.close()
            raise
        self.statements = replace(Statements.of(text), version=version)
        self._catalogue = self._connection.execute(CATALOGUE).fetchall()[0][0]
        self._tables = self.tables()
        self.current = version == statements.version
        self.seq: int = seq

    def _found(self, statements: Statements, epoch: str) -> tuple[str, str, str, int]:
        """(SQL, its version, epoch, position) of the file; a new one is made for *statements*."""
        if not self.read_only:
            self._connection.execute(CURSOR_TABLE)
        # All of the result: while some of it is unread, DuckDB refuses the first fold.
        rows = self._connection.execute(FOUND).fetchall()
        return rows[0] if rows else self._create(statements, epoch)

    def _create(self, statements: Statements, epoch: str) -> tuple[str, str, str, int]:
        for statement in statements.creates:
            self._connection.execute(statement)
        row = (statements.version, epoch, 0, statements.text)
        self._connection.execute("INSERT INTO projection VALUES (?, ?, ?, ?)", row)
        return (statements.text, statements.version, epoch, 0)

    def fold(self, stored: Sequence[Stored], *, more: bool = False) -> None:
        """Put a batch into the tables and move the position, in one transaction. With *more* a lot
        is still to come.

        Raises `Poison` for a commit that cannot be folded; what came before it is in the tables.
        Raises `Damaged` when DuckDB cannot work at all: the batch is in the file or not (a full
        disk lets COMMIT fail that is durable), so the file has to be opened again. Until then it is
        mostly read as it was before the batch.
        """
        self.expect_much(much=more)
        try:
            self._fold(stored)
        except (codec.Undecodable, *UNFIT) as error:
            if len(stored) == 1:
                raise Poison(f"position {stored[0].seq} cannot be projected: {error}") from error
            middle = len(stored) // 2
            self.fold(stored[:middle], more=more)
            self.fold(stored[middle:], more=more)

    def _fold(self, stored: Sequence[Stored]) -> None:
        self._insert(*batch(stored), stored[0].seq, stored[-1].seq)

    def expect_much(self, *, much: bool = True) -> None:
        """The file lets what is folded gather beside it, and takes it in seldom, or as usual again:
        done after every 16 MiB, that costs as much as all the rest."""
        if much != self._expecting:
            self._expecting = much
            threshold = GATHERED if much else USUAL
            with _damage_told(self.path):
                self._connection.execute(f"SET checkpoint_threshold = '{threshold}'")

    def fold_rows(self, facts: Rows, commits: Rows, first: int, last: int) -> None:
        """Put the positions *first* to *last* into the tables, from rows that `batch` has made of
        them. Raises as `fold` does; then nothing of them is in the tables.
        """
        if first != self.seq + 1:
            raise Displaced(f"{self.path} is at position {self.seq}, and {first} comes next")
        kinds = {EVERY, *facts.column(KIND).unique().to_pylist()}
        try:
            self._insert(facts, commits, kinds, first, last)
        except UNFIT as error:
            raise Poison(f"positions {first} to {last} cannot be projected: {error}") from error

    def _insert(self, facts: Rows, commits: Rows, kinds: set[str], first: int, last: int) -> None:
        """Fill the tables, as far as it concerns *kinds*, and move the position to *last*."""
        if self.read_only:
            raise Damaged(f"{self.path} was opened to be read only")
        if first <= self.seq:
            raise Displaced(f"{self.path} has folded position {first} before")
        with _damage_told(self.path):
            self._transact(facts, commits, kinds, last)
        self.seq = last

    def _transact(self, facts: Rows, commits: Rows, kinds: set[str], last: int) -> None:
        connection = self._connection
        connection.register("batch", facts)
        connection.register("commits", commits)
        connection.begin()
        try:
            for statement, concerned in self.statements.inserts:
                if concerned & kinds:
                    connection.execute(statement)
            moved = connection.execute(MOVE, [last, self.seq]).fetchall()
            if moved != [(1,)]:
                raise Displaced(f"{self.path} is no longer at position {self.seq}")
            point("fold.staged")
        except BaseException:
            connection.rollback()
            raise
        connection.commit()
        point("fold.committed")
        connection.unregister("batch")
        connection.unregister("commits")

    @property
    def engine(self) -> str:
        """What makes the tables, and their hashes."""
        return f"duckdb {duckdb.__version__}"

    def answers(self, statements: Statements) -> bool:
        """Whether queries that were written for *statements* find their columns here."""
        with duckdb.connect(":memory:") as other:
            for statement in statements.creates:
                other.execute(statement)
            wanted = other.execute(COLUMNS).fetchall()
        with closing(self.cursor()) as cursor:
            return set(wanted) <= set(cursor.execute(COLUMNS).fetchall())

    def cursor(self) -> duckdb.DuckDBPyConnection:
        """A connection of its own to the same tables, for one reader at a time."""
        return self._connection.cursor()

    @contextmanager
    def reading(
        self, at: int | None = None, outlasting: Mapping[str, str] = NOTHING
    ) -> Iterator[duckdb.DuckDBPyConnection]:
        """A cursor for the length of a block, which `interrupt` reaches. Raises `Damaged`.

        With *at*, every table holds what it held at that position, and of the tables named in
        *outlasting* also the later rows for which the condition there holds (ADR 0017).
        """
        with _damage_told(self.path), closing(self.cursor()) as cursor:
            self._reading.add(cursor)
            try:
                if at is not None:
                    cursor.execute(self._views(at, outlasting))
                yield cursor
            finally:
                self._reading.discard(cursor)

    def _views(self, at: int, outlasting: Mapping[str, str]) -> str:
        """What shadows every table with one that ends at *at*, for one cursor.

        The catalogue is named: without it a view called like its table would stand for itself.
        """
        views = []
        for name in self._tables:
            also = f" OR {outlasting[name]}" if name in outlasting else ""
            rows = f'SELECT * FROM "{self._catalogue}".main.{name} WHERE seq <= {at:d}{also}'  # noqa: S608
            views.append(f"CREATE OR REPLACE TEMP VIEW {name} AS {rows};")
        return "".join(views)

    def interrupt(self) -> None:
        """Let what is being read fail now, with duckdb.InterruptException. For any thread."""
        for cursor in tuple(self._reading):
            with suppress(duckdb.ConnectionException):  # It has ended by itself.
                cursor.interrupt()

    def tables(self) -> list[str]:
        """The names of the rooms' tables."""
        with closing(self.cursor()) as cursor:
            rows = cursor.execute("SELECT table_name FROM duckdb_tables() ORDER BY 1").fetchall()
        return [name for (name,) in rows if name != "projection"]

    def hashes(self, seq: int) -> dict[str, tuple[int, int]]:
        """For each table the (count, hash) of its rows up to the position *seq*."""
        query = f"SELECT count(*), coalesce({SUM}, 0) FROM {{}} t WHERE seq <= ?"  # noqa: S608
        with self.reading() as cursor:
            return {
                name: cursor.execute(query.format(name), [seq]).fetchall()[0]
                for name in self.tables()
            }

    def differs_from(self, other: ProjectionFile, table: str, seq: int) -> int:
        """The first position up to *seq* whose rows in *table* differ between the two files."""
        ours, theirs = self._hashes_of(table, seq), other._hashes_of(table, seq)
        return min((position for position, *_ in ours ^ theirs), default=0)

    def _hashes_of(self, table: str, seq: int) -> set[tuple[int, int, int]]:
        query = f"SELECT seq, count(*), {SUM} FROM {table} t WHERE seq <= ? GROUP BY 1"  # noqa: S608
        with self.reading() as cursor:
            return set(cursor.execute(query, [seq]).fetchall())

    def close(self) -> None:
        """Close the file; its cursors end too."""
        with suppress(duckdb.Error):  # One that is damaged, or has no room, cannot tidy up.
            self._connection.close()


@contextmanager
def _damage_told(path: Path) -> Iterator[None]:
    """What DuckDB raises for reasons of its own is told as `Damaged`."""
    try:
        yield
    except (duckdb.InterruptException, *UNFIT):
        raise
    except duckdb.Error as error:
        raise Damaged(f"{path}: {error}") from error

"""The tables of one DuckDB file: disposable, rebuilt from the log, at one position of it.

Every room's `projection.sql` creates its tables and inserts the facts of a whole batch; tables are
only ever added to, so a rebuild is pure appends and "as of a position" is one filter. The position
is stored in the transaction that stores the facts: they move together or not at all.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path

import duckdb
import orjson
import pyarrow as pa

from bus import codec
from bus.clock import milliseconds
from bus.log import Stored
from schemas.vocabulary import EVENTS

CURSOR_TABLE = """
CREATE TABLE IF NOT EXISTS projection (version VARCHAR, epoch VARCHAR, seq UBIGINT, sql VARCHAR)
"""

BATCH = pa.schema(
    [
        ("seq", pa.uint64()),
        ("nth", pa.uint16()),
        ("time", pa.timestamp("ms")),
        ("origin", pa.string()),
        ("author", pa.string()),
        ("cause", pa.string()),
        ("clock", pa.string()),
        ("noun", pa.string()),
        ("id", pa.string()),
        ("kind", pa.string()),
        ("data", pa.string()),
    ]
)
"""What a projection's SQL reads as `batch`: one row for each event; `data` is its JSON."""


class Poison(Exception):
    """A commit that cannot be folded. Names its position; nothing after it has been folded."""


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
    def of(cls, text: str) -> Statements:
        """The statements in *text*, parted by semicolons; the version is the hash of the text."""
        bare = re.sub(r"--[^\n]*", "", text)
        parts = [part.strip() for part in bare.split(";") if part.strip()]
        creates = tuple(part for part in parts if part.upper().startswith("CREATE"))
        inserts = tuple((part, _kinds(part)) for part in parts if part not in creates)
        version = blake2b(bare.encode(), digest_size=8).hexdigest()
        return cls(creates, inserts, version, bare)


def _kinds(statement: str) -> frozenset[str]:
    return frozenset(re.findall(r"'([a-z_]+)'", statement)) & EVENTS.keys()


class ProjectionFile:
    """One file of tables. Its methods block: call them from a worker thread, one at a time."""

    def __init__(
        self, path: Path, statements: Statements, epoch: str, memory_bytes_max: int
    ) -> None:
        """Opens or makes the file at *path*. A file that other SQL has made keeps being filled by
        that SQL, so that it can be read until its successor is ready; `current` tells.

        Raises `Foreign` when the file belongs to another log.
        """
        self.path = path
        self._connection = duckdb.connect(
            str(path), config={"memory_limit": f"{memory_bytes_max >> 20}MiB", "threads": 2}
        )
        self._connection.execute(CURSOR_TABLE)
        # All of the result: while some of it is unread, DuckDB refuses the first fold.
        rows = self._connection.execute("SELECT sql, epoch, seq FROM projection").fetchall()
        text, written_for, seq = rows[0] if rows else self._create(statements, epoch)
        if written_for != epoch:
            self._connection.close()
            raise Foreign(f"{path} belongs to the log {written_for}, not to {epoch}")
        self.statements = Statements.of(text)
        self.current = self.statements.version == statements.version
        self.seq: int = seq

    def _create(self, statements: Statements, epoch: str) -> tuple[str, str, int]:
        for statement in statements.creates:
            self._connection.execute(statement)
        row = (statements.version, epoch, 0, statements.text)
        self._connection.execute("INSERT INTO projection VALUES (?, ?, ?, ?)", row)
        return (statements.text, epoch, 0)

    def fold(self, stored: Sequence[Stored]) -> None:
        """Put a batch into the tables and move the position, in one transaction.

        Raises `Poison` for a commit that cannot be folded; what came before it is in the tables.
        """
        try:
            self._fold(stored)
        except (codec.Undecodable, duckdb.Error) as error:
            if len(stored) == 1:
                raise Poison(f"position {stored[0].seq} cannot be projected: {error}") from error
            for one in stored:
                self.fold([one])

    def _fold(self, stored: Sequence[Stored]) -> None:
        table, kinds = batch(stored)
        connection = self._connection
        connection.register("batch", table)
        connection.begin()
        try:
            for statement, concerned in self.statements.inserts:
                if concerned & kinds:
                    connection.execute(statement)
            connection.execute("UPDATE projection SET seq = ?", [stored[-1].seq])
        except duckdb.Error:
            connection.rollback()
            raise
        connection.commit()
        connection.unregister("batch")
        self.seq = stored[-1].seq

    def cursor(self) -> duckdb.DuckDBPyConnection:
        """A connection of its own to the same tables, for one reader at a time."""
        return self._connection.cursor()

    def tables(self) -> list[str]:
        """The names of the rooms' tables."""
        rows = self.cursor().execute("SELECT table_name FROM duckdb_tables() ORDER BY 1").fetchall()
        return [name for (name,) in rows if name != "projection"]

    def hashes(self, seq: int) -> dict[str, tuple[int, int]]:
        """For each table the (count, hash) of its rows up to the position *seq*."""
        cursor = self.cursor()
        found: dict[str, tuple[int, int]] = {}
        for name in self.tables():
            row = cursor.execute(
                f"SELECT count(*), coalesce(bit_xor(hash(t)), 0) FROM {name} t WHERE seq <= ?",  # noqa: S608
                [seq],
            ).fetchone()
            found[name] = row or (0, 0)
        return found

    def differs_from(self, other: ProjectionFile, table: str, seq: int) -> int:
        """The first position up to *seq* whose rows in *table* differ between the two files."""
        query = f"SELECT seq, bit_xor(hash(t)) FROM {table} t WHERE seq <= ? GROUP BY seq"  # noqa: S608
        ours = set(self.cursor().execute(query, [seq]).fetchall())
        theirs = set(other.cursor().execute(query, [seq]).fetchall())
        return min((position for position, _ in ours ^ theirs), default=0)

    def close(self) -> None:
        """Close the file; its cursors end too."""
        self._connection.close()


def batch(stored: Sequence[Stored]) -> tuple[pa.Table, set[str]]:
    """The rows of a batch of commits, one for each event, and the kinds among them.

    Raises `codec.Undecodable`.
    """
    columns: tuple[list[object], ...] = tuple([] for _ in BATCH)
    kinds: set[str] = set()
    for one in stored:
        commit = codec.parse(one.payload)
        header = commit["header"]
        clock = header["clock"]
        for nth, fact in enumerate(commit["events"]):
            kind = fact["kind"]
            if kind not in EVENTS:
                raise codec.Undecodable(f"unknown kind {kind!r}: upgrade Canopy to read this log")
            kinds.add(kind)
            row = (one.seq, nth, milliseconds(clock), header["origin"], header["author"],
                   header["cause"], clock, one.noun, one.key, kind,
                   orjson.dumps(fact["data"]).decode())  # fmt: skip
            for column, value in zip(columns, row, strict=True):
                column.append(value)
    return pa.Table.from_arrays(
        [pa.array(column, field.type) for column, field in zip(columns, BATCH, strict=True)],
        schema=BATCH,
    ), kinds

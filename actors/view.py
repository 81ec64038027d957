"""Views: what people may ask of the tables in SQL, with a sentence for every column.

A view is a SELECT over the tables of its room, of what one account may see at one position of the
log. Its names are a promise to those who ask; the tables below may change. `pour` hands the rows to
whoever answers (`sandboxes.sql`), so that no statement of somebody else ever meets a table.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import IO, Any

import duckdb
import pyarrow as pa

BATCH_ROWS = 20_000
"""Rows that are on their way at once."""
NAMED = re.compile(r"\$([a-z_]+)")


@dataclass(frozen=True, slots=True)
class Column:
    """One column: its name, its type, and a sentence about it."""

    name: str
    type: str
    about: str


@dataclass(frozen=True, slots=True)
class View:
    """One view. `sql` gives exactly its columns, in that order, and takes of these what it needs:

    `$reader`  the account that asks                `$mine`    the channels it belongs to
    `$owner`   the owner of the workspace           `$known`   the channels it may know of
    `$keeper`  whether it may manage its keys       `$listed`  those that list it as a member, and
    `$rules`   whether it is the owner              `$open`    those that are not hidden, of all
    `$today`   the time of asking, ISO 8601                    there ever were
    `$at`      the position of the log that is      `$told`    those of `$mine` that have not been
               asked about                                     removed since
    """

    name: str
    about: str
    columns: tuple[Column, ...]
    sql: str


def pour(
    cursor: duckdb.DuckDBPyConnection,
    view: View,
    columns: Sequence[str],
    rights: Mapping[str, Any],
    sink: IO[bytes],
) -> None:
    """The named *columns* of a view, for whom *rights* tell of, into *sink* as an Arrow stream.

    Raises BrokenPipeError when nobody takes them any more.
    """
    wanted = ", ".join(f'"{name}"' for name in columns)
    given = {name: rights[name] for name in set(NAMED.findall(view.sql))}
    rows = cursor.sql(f"SELECT {wanted} FROM ({view.sql})", params=given)  # noqa: S608  # our names
    with rows.to_arrow_reader(BATCH_ROWS) as reader, pa.ipc.new_stream(sink, reader.schema) as out:
        for batch in reader:
            out.write_batch(batch)

"""The process in which one statement runs; `sandboxes.sql.question` starts it.

It is told a statement, says which columns of which views it needs, is given their rows, answers and
ends. It has no environment, may write no file, and gets as much memory and time as it is told: the
kernel keeps both bounds, because DuckDB does not hear an interrupt within some functions.

    → {"query": …, "parameters": […], "views": {name: [column]}, "now": …, "limits": {…}}
    ← {"needs": {name: [column]}}           or {"fault": code, "message": …}
    → an Arrow stream for each need, in that order
    ← {"columns": […], "rows": […], "truncated": …}   or {"fault": code, "message": …}
"""

from __future__ import annotations

import json
import resource
import sys
from collections.abc import Iterator, Mapping
from typing import Any, BinaryIO

import duckdb
import orjson
import pyarrow as pa

from sandboxes.sql import telling
from sandboxes.sql.fault import Fault, Forbidden
from sandboxes.sql.guard import inspect

OPEN_FILES_MAX = 32
ENGINE_SHARE = 0.5
"""Of the memory: DuckDB's own part; the rows that are poured in take the rest."""
CHUNK = 256
"""Rows that are fetched at once."""
LOCKS = ("SET enable_external_access = false", "SET lock_configuration = true")
CLOCK = (
    "CREATE MACRO {} AS TIMESTAMP '{}'",
    ("now()", "get_current_timestamp()"),
    "CREATE MACRO {} AS DATE '{}'",
    ("today()", "current_date()"),
)
"""Time is that of the question, in UTC and without a zone, like every column of time."""
PARSE = "SELECT json_serialize_sql($1)"
BARE = "SELECT json_deserialize_sql(json_serialize_sql($1))"

Json = dict[str, Any]


def main() -> None:
    """Answer the one question on standard input, on standard output."""
    source, sink = sys.stdin.buffer, sys.stdout.buffer
    question = json.loads(source.readline())
    confine(question["limits"])
    try:
        answer(question, source, sink)
    except Fault as fault:
        _tell(sink, {"fault": fault.code, "message": str(fault)})


def confine(limits: Mapping[str, int]) -> None:
    """From here on no file is written, and no more memory and time is taken than told."""
    _limit(resource.RLIMIT_FSIZE, 0)
    _limit(resource.RLIMIT_CORE, 0)
    _limit(resource.RLIMIT_NOFILE, OPEN_FILES_MAX)
    _limit(resource.RLIMIT_CPU, limits["cpu_s"], grace=1)
    _limit(resource.RLIMIT_DATA, _held() + limits["memory_bytes"])


def _limit(what: int, most: int, grace: int = 0) -> None:
    _, hard = resource.getrlimit(what)
    bounds = [
        one if hard == resource.RLIM_INFINITY else min(one, hard) for one in (most, most + grace)
    ]
    resource.setrlimit(what, (bounds[0], bounds[1]))


def _held() -> int:
    """Bytes that the libraries have set aside for data already; 0 where nobody tells."""
    try:
        with open("/proc/self/statm") as told:  # noqa: PTH123  # one line, before any bound
            return int(told.read().split()[5]) * resource.getpagesize()
    except OSError:
        return 0


def answer(question: Json, source: BinaryIO, sink: BinaryIO) -> None:
    """Say what the statement needs, take it in, and tell the rows. Raises `Fault`."""
    limits = question["limits"]
    connection = _opened(question["now"], int(limits["memory_bytes"] * ENGINE_SHARE))
    needs = inspect(_parsed(connection, question["query"]), question["views"])
    _tell(sink, {"needs": needs})
    try:
        for name in needs:
            connection.register(name, pa.ipc.open_stream(source).read_all())
        sink.write(_told(connection, question))
    except (duckdb.OutOfMemoryException, MemoryError, pa.ArrowMemoryError) as error:
        raise Fault("sql_too_large", _TOO_LARGE) from error
    except duckdb.BinderException as error:
        views = "; ".join(f"{name} ({', '.join(question['views'][name])})" for name in needs)
        first = str(error).partition("\n")[0]
        raise Fault("sql_invalid", f"{first} Columns: {views or 'of no view'}.") from error
    except duckdb.Error as error:
        raise Fault("sql_invalid", str(error)) from error


_TOO_LARGE = (
    "The statement needs more memory than there is for one: name fewer columns, or less of the "
    "rows with WHERE."
)


def _opened(now: str, memory_bytes: int) -> duckdb.DuckDBPyConnection:
    """An empty database that can reach nothing and whose settings stay as they are."""
    connection = duckdb.connect(
        ":memory:",
        config={
            "threads": 1,
            "memory_limit": f"{memory_bytes >> 20}MiB",
            "temp_directory": "",
            "autoinstall_known_extensions": "false",
            "autoload_known_extensions": "false",
            "allow_community_extensions": "false",
        },
    )
    timestamp, instants, day, days = CLOCK
    for template, names in ((timestamp, instants), (day, days)):
        for name in names:
            connection.execute(template.format(name, now))
    for lock in LOCKS:
        connection.execute(lock)
    return connection


def _parsed(connection: duckdb.DuckDBPyConnection, query: str) -> Json:
    """The syntax tree of *query*. Raises `Fault`."""
    (told,) = connection.execute(PARSE, [query]).fetchall()[0]
    tree: Json = orjson.loads(told)
    if not tree["error"]:
        return tree
    message = str(tree["error_message"])
    if "Only SELECT" in message:
        raise Forbidden("Only SELECT is allowed: this reads, and changes nothing.")
    raise Fault("sql_invalid", message)


def _told(connection: duckdb.DuckDBPyConnection, question: Json) -> bytes:
    """The answer as JSON. Raises `Fault`."""
    query, parameters = question["query"], question["parameters"] or None
    bounds = question["limits"]["rows_max"], question["limits"]["bytes_max"]
    told = connection.execute(query, parameters).description or ()
    columns = [{"name": one[0], "type": str(one[1])} for one in told]
    for column in columns:
        if "TIME ZONE" in column["type"]:
            raise Fault("sql_invalid", f"{column['name']} has a time zone: cast it to TIMESTAMP.")
    types = [column["type"] for column in columns]
    if not telling.lessened(types):
        try:
            return telling.as_json(columns, telling.certain(_rows(connection), types), *bounds)
        except telling.Doubtful:
            pass  # Asked once more, exactly.
    wrapped = telling.exactly(_bare(connection, query), types)
    inspect(_parsed(connection, wrapped), question["views"])
    connection.execute(wrapped, parameters)
    return telling.as_json(columns, telling.settled(_rows(connection)), *bounds)


def _bare(connection: duckdb.DuckDBPyConnection, query: str) -> str:
    """*query* without what may follow it: semicolons, comments."""
    (told,) = connection.execute(BARE, [query]).fetchall()[0]
    return str(told)


def _rows(result: duckdb.DuckDBPyConnection) -> Iterator[tuple[Any, ...]]:
    while chunk := result.fetchmany(CHUNK):
        yield from chunk


def _tell(sink: BinaryIO, told: Json) -> None:
    sink.write(orjson.dumps(told) + b"\n")
    sink.flush()

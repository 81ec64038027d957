"""Statements that want more than they may: none is answered, and no wall stands alone.

The statements are data (`hostile.sql`). First they meet the list of what may stand in a statement;
then, without it, the locked database of a cell. A list with a hole lets some of them pass.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import duckdb
import orjson
import pytest

from sandboxes.sql.cell import _opened
from sandboxes.sql.fault import Forbidden
from sandboxes.sql.guard import KINDS, Walk, inspect

SECRET = "only-this-file-knows"
VIEWS = {
    "messages": ("seq", "id", "content"),
    "channels": ("id", "name"),
}
TEXT = (Path(__file__).parent / "hostile.sql").read_text("utf-8")
WASTEFUL = ("much out of little", "waiting")
"""What is not tried without the list: it would take all memory, or for ever."""


def hostile() -> Iterator[tuple[str, str]]:
    """(what it is after, statement) of each."""
    after = ""
    for line in TEXT.splitlines():
        if line.startswith("-- "):
            after = line[3:]
        elif line:
            yield after, line


HOSTILE = tuple(hostile())


class Hole(Walk):
    """A list that has forgotten one kind of thing."""

    forgotten: str

    def _check(self, kind: str, part: Mapping[str, Any], known: frozenset[str]) -> frozenset[str]:
        return known if kind == self.forgotten else super()._check(kind, part, known)


class NoTableFunctions(Walk):
    def _table_function(self, part: Mapping[str, Any], known: frozenset[str]) -> None:
        for value in part["function"].values():
            self.visit(value, known)


class NoKinds(Walk):
    def _visit(self, part: Mapping[str, Any], known: frozenset[str]) -> None:
        if isinstance(part.get("type"), str) and part["type"] not in KINDS | {"TABLE_FUNCTION"}:
            return
        super()._visit(part, known)


class NoScopes(Walk):
    def _defined(self, kind: str, node: Mapping[str, Any], known: frozenset[str]) -> frozenset[str]:
        inner = super()._defined(kind, node, known)
        everywhere = {name.lower() for name in re.findall(r"'key': '(\w+)'", str(node))}
        return inner | everywhere | {"api_key", "pg_class"}


HOLES: Mapping[str, type[Walk]] = {
    "tables": type("Tables", (Hole,), {"forgotten": "BASE_TABLE"}),
    "functions": type("Functions", (Hole,), {"forgotten": "FUNCTION"}),
    "words": type("Words", (Hole,), {"forgotten": "COLUMN_REF"}),
    "types": type("Types", (Hole,), {"forgotten": "TYPE"}),
    "table functions": NoTableFunctions,
    "kinds": NoKinds,
    "scopes": NoScopes,
}


@pytest.fixture(scope="module")
def parser() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect(":memory:", config={"threads": 1}) as connection:
        yield connection


def passes(parser: duckdb.DuckDBPyConnection, query: str, walk: type[Walk] = Walk) -> bool:
    """Whether a statement would be run."""
    (told,) = parser.execute("SELECT json_serialize_sql($1)", [query]).fetchall()[0]
    tree = orjson.loads(told)
    if tree["error"]:
        return False
    try:
        inspect(tree, VIEWS, walk)
    except Forbidden:
        return False
    return True


def test_there_are_enough_of_them() -> None:
    assert len(HOSTILE) >= 150
    assert len({query for _, query in HOSTILE}) == len(HOSTILE)


@pytest.mark.parametrize(("after", "query"), HOSTILE, ids=[query for _, query in HOSTILE])
def test_none_is_answered(parser: duckdb.DuckDBPyConnection, after: str, query: str) -> None:
    assert not passes(parser, query), f"it is after {after}"


@pytest.mark.parametrize("hole", HOLES)
def test_a_list_with_a_hole_is_found_out(parser: duckdb.DuckDBPyConnection, hole: str) -> None:
    """The mutation: whatever part of the list is taken away, some statement passes."""
    assert any(passes(parser, query, HOLES[hole]) for _, query in HOSTILE)


def test_without_the_list_there_is_nothing_to_be_had(tmp_path: Path) -> None:
    """The second wall alone: a cell's database reads no file, writes none, and sets nothing."""
    secret, new = tmp_path / "secret.csv", tmp_path / "new"
    secret.write_text(f"a\n{SECRET}\n")
    connection = _opened("2026-01-01T00:00:00.000", 128 << 20)
    settings = "SELECT name, value FROM duckdb_settings() WHERE name <> 'search_path' ORDER BY name"
    before = connection.execute(settings).fetchall()

    for after, query in HOSTILE:
        if after not in WASTEFUL:
            told = _tried(
                connection, query.replace("{file}", str(secret)).replace("{new}", str(new))
            )
            assert SECRET not in told, query
    assert {one.name for one in tmp_path.iterdir()} == {"secret.csv"}
    assert connection.execute(settings).fetchall() == before
    assert SECRET in _tried(duckdb.connect(), f"SELECT content FROM read_text('{secret}')")


def _tried(connection: duckdb.DuckDBPyConnection, query: str) -> str:
    """What came of *query*, rows or refusal, without the words of the query itself."""
    try:
        return str(connection.execute(query).fetchall())
    except (duckdb.Error, RuntimeError) as error:
        return str(error).replace(query, "")

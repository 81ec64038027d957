"""Which statements are let pass, read from the tree that DuckDB's parser makes of them."""

from __future__ import annotations

import duckdb
import orjson
import pytest

from sandboxes.sql.fault import Forbidden
from sandboxes.sql.functions import AGGREGATES, CALLABLE, OPERATORS, TABLES, WINDOWS
from sandboxes.sql.guard import inspect

VIEWS = {"messages": ("seq", "id", "content"), "channels": ("id", "name")}


def needs(query: str) -> dict[str, list[str]]:
    (tree,) = duckdb.execute("SELECT json_serialize_sql($1)", [query]).fetchall()[0]
    return inspect(orjson.loads(tree), VIEWS)


@pytest.mark.parametrize(
    ("query", "wanted"),
    [
        ("SELECT id FROM messages", {"messages": ["id"]}),
        ("SELECT ID FROM Messages", {"messages": ["id"]}),
        ("SELECT count(*) FROM messages", {"messages": ["seq"]}),
        ("SELECT * FROM messages", {"messages": ["seq", "id", "content"]}),
        ("FROM messages", {"messages": ["seq", "id", "content"]}),
        ("SELECT m FROM messages m", {"messages": ["seq", "id", "content"]}),
        ("SELECT #1 FROM messages", {"messages": ["seq", "id", "content"]}),
        ("SELECT a FROM messages m(a, b, c)", {"messages": ["seq", "id", "content"]}),
        ("SELECT count(*) FROM messages NATURAL JOIN channels",
         {"messages": ["seq", "id", "content"], "channels": ["id", "name"]}),
        ("SELECT name, max(m.seq) FROM messages m JOIN channels USING (id) GROUP BY 1",
         {"messages": ["seq", "id"], "channels": ["id", "name"]}),
        ("WITH messages AS (SELECT name FROM channels) SELECT * FROM messages",
         {"channels": ["id", "name"]}),
        ("SELECT 1 WHERE EXISTS (SELECT 1 FROM channels WHERE name = 'bees')",
         {"channels": ["name"]}),
        ("SELECT 1", {}),
    ],
)  # fmt: skip
def test_a_statement_gets_the_columns_that_it_names(
    query: str, wanted: dict[str, list[str]]
) -> None:
    assert needs(query) == wanted


@pytest.mark.parametrize(
    "query",
    [
        "WITH RECURSIVE t(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM t WHERE n < 5) FROM t",
        "SELECT row_number() OVER (PARTITION BY id ORDER BY seq) FROM messages QUALIFY 1 = 1",
        "SELECT list_filter([1, 2], lambda x: x > 1)[1], {'a': 1}.a, MAP {'a': 1}",
        "SELECT extract(year FROM now()), now() - INTERVAL 1 DAY, current_date, DATE '2026-01-01'",
        "SELECT id FROM messages UNION ALL BY NAME SELECT id FROM channels ORDER BY ALL LIMIT 3",
        "SELECT content ILIKE '%x%', content SIMILAR TO 'x', content ~ 'x' FROM messages",
        "SELECT u FROM unnest([1, 2]) t(u), range(3), generate_series(1, 2)",
        "SELECT CASE WHEN id IS NULL THEN 1 END, coalesce(id, ''), nullif(id, '') FROM messages",
        "SELECT count(*) FILTER (seq > 1), string_agg(id, ',' ORDER BY seq) FROM messages",
        "SELECT id COLLATE NOCASE, TRY_CAST(id AS INTEGER), $1 FROM messages",
        "SELECT id FROM messages GROUP BY ROLLUP (id) HAVING grouping(id) = 0",
        "FROM messages PIVOT (count(*) FOR id IN ('a', 'b'))",
        "SELECT * EXCLUDE (id) REPLACE (seq + 1 AS seq) FROM messages TABLESAMPLE 10%",
        "SELECT (SELECT max(seq) FROM messages m WHERE m.id = c.id) FROM channels c",
        "VALUES (1), (2)",
    ],
)
def test_what_people_write_passes(query: str) -> None:
    needs(query)


def test_what_may_be_called_is_there() -> None:
    rows = duckdb.execute("SELECT DISTINCT lower(function_name) FROM duckdb_functions()").fetchall()
    known = {name for (name,) in rows}
    parsed = {"unnest", "current_date", "current_timestamp", "position", "if", "->"}

    assert (CALLABLE | AGGREGATES | TABLES | WINDOWS | OPERATORS) - known - parsed == set()


def test_one_statement_at_a_time() -> None:
    with pytest.raises(Forbidden, match="One statement at a time"):
        needs("SELECT 1; SELECT 2")


def test_a_refusal_names_what_is_not_allowed_and_where_to_look() -> None:
    with pytest.raises(Forbidden, match=r"function read_text is not allowed.*GET /api/v1/sql"):
        needs("SELECT read_text('/etc/passwd')")
    with pytest.raises(Forbidden, match=r"no view 'api_key'\. There are: messages, chann"):
        needs("SELECT * FROM api_key")

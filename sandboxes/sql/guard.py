"""Which statements are answered: one SELECT over the views, made of parts that are all listed here.

`inspect` walks the tree that DuckDB's own parser makes of a statement. Whatever is not known is
refused, so a new kind of expression, table or call of a later DuckDB is refused until it is listed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sandboxes.sql.fault import Forbidden
from sandboxes.sql.functions import (
    AGGREGATES,
    CALLABLE,
    COLLATIONS,
    TABLES,
    TYPES,
    VALUES,
    WINDOWS,
)

Json = Mapping[str, Any]

NODES = frozenset({"SELECT_NODE", "SET_OPERATION_NODE", "RECURSIVE_CTE_NODE", "CTE_NODE"})
RELATIONS = frozenset({"BASE_TABLE", "EMPTY", "EXPRESSION_LIST", "JOIN", "PIVOT", "SUBQUERY"})
RELATIONS_CALLED = "TABLE_FUNCTION"
MODIFIERS = frozenset(
    {"DISTINCT_MODIFIER", "LIMIT_MODIFIER", "LIMIT_PERCENT_MODIFIER", "ORDER_MODIFIER"}
    | {"ORDER_DEFAULT", "ASCENDING", "DESCENDING"}
)
EXPRESSIONS = frozenset(
    {
        "ARRAY_CONSTRUCTOR", "ARRAY_EXTRACT", "ARRAY_SLICE", "CASE_EXPR", "COLLATE", "COLUMN_REF",
        "COMPARE_BETWEEN", "COMPARE_DISTINCT_FROM", "COMPARE_EQUAL", "COMPARE_GREATERTHAN",
        "COMPARE_GREATERTHANOREQUALTO", "COMPARE_IN", "COMPARE_LESSTHAN",
        "COMPARE_LESSTHANOREQUALTO", "COMPARE_NOTEQUAL", "COMPARE_NOT_BETWEEN",
        "COMPARE_NOT_DISTINCT_FROM", "COMPARE_NOT_IN", "CONJUNCTION_AND", "CONJUNCTION_OR",
        "FUNCTION", "GROUPING_FUNCTION", "LAMBDA", "OPERATOR_CAST", "OPERATOR_COALESCE",
        "OPERATOR_IS_NOT_NULL", "OPERATOR_IS_NULL", "OPERATOR_NOT", "OPERATOR_NULLIF",
        "OPERATOR_TRY", "OPERATOR_UNPACK", "POSITIONAL_REFERENCE", "STAR", "STRUCT_EXTRACT",
        "TYPE", "VALUE_CONSTANT", "VALUE_PARAMETER", "WINDOW_AGGREGATE", "WINDOW_CUME_DIST",
        "WINDOW_FILL", "WINDOW_FIRST_VALUE", "WINDOW_LAG", "WINDOW_LAST_VALUE", "WINDOW_LEAD",
        "WINDOW_NTH_VALUE", "WINDOW_NTILE", "WINDOW_PERCENT_RANK", "WINDOW_RANK",
        "WINDOW_RANK_DENSE", "WINDOW_ROW_NUMBER",
    }
)  # fmt: skip
KINDS = NODES | RELATIONS | MODIFIERS | EXPRESSIONS
"""Every part that a statement may have, but for table functions."""

NAMED: Mapping[str, str] = {
    "SHOW_REF": "DESCRIBE, SHOW and SUMMARIZE",
    "INSERT_QUERY_NODE": "INSERT",
    "UPDATE_QUERY_NODE": "UPDATE",
    "DELETE_QUERY_NODE": "DELETE",
}
"""What users call a part that is not listed."""


def inspect(
    tree: Json, views: Mapping[str, Sequence[str]], walk: type[Walk] | None = None
) -> dict[str, list[str]]:
    """For each of the *views* (name → columns) that the statement reads, the columns it needs.

    *tree* is what json_serialize_sql makes of it. Raises `Forbidden`.
    """
    statements = tree["statements"]
    if len(statements) != 1:
        raise Forbidden("One statement at a time: a single SELECT.")
    walked = (walk or Walk)(views)
    walked.visit(statements[0], frozenset())
    return {name: walked.columns(name) for name in views if name in walked.used}


class Walk:
    """One walk through a tree: raises `Forbidden` where it may not go, notes what is read."""

    def __init__(self, views: Mapping[str, Sequence[str]]) -> None:
        self._views = views
        self.used: set[str] = set()
        self._mentioned: set[str] = set()
        self._alone: set[str] = set()
        self._aliases: set[str] = set()
        self._everything = False

    def columns(self, view: str) -> list[str]:
        """The columns of *view* that the statement may read: all, unless it names them one by one.

        At least one, so that rows can be counted.
        """
        whole = self._everything or self._alone & self._aliases
        named = self._mentioned
        columns = [one for one in self._views[view] if whole or one.lower() in named]
        return columns or [self._views[view][0]]

    def visit(self, part: Any, known: frozenset[str]) -> None:
        """Whatever is in *part*; *known* are the names that common table expressions have given."""
        if isinstance(part, list):
            for one in part:
                self.visit(one, known)
        elif isinstance(part, dict):
            self._visit(part, known)

    def _visit(self, part: Json, known: frozenset[str]) -> None:
        kind = part.get("type")
        if kind == RELATIONS_CALLED:
            self._table_function(part, known)
            return
        if isinstance(kind, str):
            if kind not in KINDS:
                raise Forbidden(f"{_told(kind)} is not allowed here: send a SELECT over the views.")
            known = self._check(kind, part, known)
        for name, value in part.items():
            if name != "cte_map":
                self.visit(value, known)

    def _check(self, kind: str, part: Json, known: frozenset[str]) -> frozenset[str]:
        """The names known inside of *part*, which is allowed."""
        match kind:
            case "BASE_TABLE":
                self._table(part, known)
            case "FUNCTION":
                _require(part, CALLABLE, "function")
            case "COLUMN_REF":
                self._column(part)
            case "TYPE":
                _require(part, TYPES, "type", "type_name")
            case "COLLATE":
                for one in part["collation"].split("."):
                    _listed(one, COLLATIONS, "collation")
            case "STAR" | "PIVOT" | "POSITIONAL_REFERENCE":
                self._everything = True
            case "JOIN":
                self._everything |= part["ref_type"] == "NATURAL"
                self._mentioned |= {one.lower() for one in part["using_columns"]}
            case _ if kind.startswith("WINDOW_"):
                _require(part, WINDOWS | AGGREGATES, "window function")
            case _ if kind in NODES:
                return self._defined(kind, part, known)
        return known

    def _defined(self, kind: str, node: Json, known: frozenset[str]) -> frozenset[str]:
        """*known* and what the node itself defines: each name is known to those that follow."""
        if kind in ("RECURSIVE_CTE_NODE", "CTE_NODE"):
            known |= {node["cte_name"].lower()}
        for entry in node["cte_map"]["map"]:
            self.visit(entry["value"], known)
            known |= {entry["key"].lower()}
        return known

    def _table(self, part: Json, known: frozenset[str]) -> None:
        path = part["qualified_name"]["path"]
        name = str(part["table_name"])
        if len(path) != 1 or part["schema_name"] or part["catalog_name"] or part["at_clause"]:
            raise Forbidden(
                f"{'.'.join(path)} is not allowed: name a view alone, without catalogue or schema."
            )
        self._aliases |= {name.lower(), part["alias"].lower()}
        self._everything |= bool(part["column_name_alias"])
        if name.lower() in known:
            return
        if name.lower() not in self._views:
            raise Forbidden(f"There is no view {name!r}. There are: {', '.join(self._views)}.")
        self.used.add(name.lower())

    def _table_function(self, part: Json, known: frozenset[str]) -> None:
        _require(part["function"], TABLES, "table function")
        self.visit(part["sample"], known)
        for value in part["function"].values():
            self.visit(value, known)

    def _column(self, part: Json) -> None:
        names = [str(one).lower() for one in part["column_names"]]
        if len(names) == 1:
            if names[0] in VALUES:
                raise Forbidden(f"{names[0]} is not allowed: it is about the session.")
            self._alone.add(names[0])
        self._mentioned.update(names)


def _require(part: Json, allowed: frozenset[str], what: str, key: str = "function_name") -> None:
    """The name in *part* stands alone and is one of *allowed*. Raises `Forbidden`."""
    path = part["qualified_name"]["path"]
    if len(path) != 1 or part["schema"] or part["catalog"] or part.get("export_state"):
        raise Forbidden(
            f"The {what} {'.'.join(path)} is not allowed: call it without catalogue or schema."
        )
    _listed(str(part[key]), allowed, what)


def _listed(name: str, allowed: frozenset[str], what: str) -> None:
    if name.lower() not in allowed:
        raise Forbidden(
            f"The {what} {name} is not allowed. GET /api/v1/sql lists what is, "
            "and docs/reference/sql.md."
        )


def _told(kind: str) -> str:
    return NAMED.get(kind, kind.replace("_", " ").lower().capitalize())

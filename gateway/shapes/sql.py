"""Questions in SQL and their answers."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, JsonValue

from gateway.shapes.form import Body, Seq, Shape

QUERY_MAX = 20_000
PARAMETERS_MAX = 100

Parameter = Annotated[str, Field(max_length=50_000)] | int | float | bool | None


class Question(Body):
    query: str = Field(
        min_length=1, max_length=QUERY_MAX, description="One SELECT; `$1`, `$2` are parameters."
    )
    parameters: list[Parameter] = Field(
        [], max_length=PARAMETERS_MAX, description="What stands for `$1`, `$2` and so on."
    )
    after_seq: Seq = Field(0, description="Answer once the tables know this position.")
    at: Annotated[str, Field(max_length=40)] | Seq | None = Field(
        None, description="Answer as of this position or time (RFC 3339); null for now."
    )


class ColumnShape(Shape):
    name: str
    type: str = Field(description="DuckDB's name of the type.")


class SqlAnswer(Shape):
    position: Seq = Field(description="Position of the log that the answer belongs to.")
    columns: list[ColumnShape]
    rows: list[list[JsonValue]] = Field(
        description="Values in the order of the columns: times as ISO 8601 in UTC, large and exact "
        "numbers as numbers with all their digits, bytes in hexadecimal digits. What JSON cannot "
        "hold is text as DuckDB writes it: intervals, nanoseconds, infinite times, inf and nan."
    )
    truncated: bool = Field(description="Whether there were more rows than an answer may hold.")


class ViewColumn(ColumnShape):
    about: str


class ViewShape(Shape):
    name: str
    about: str
    columns: list[ViewColumn]


class SqlLimits(Shape):
    seconds: float
    memory_bytes: int
    rows: int
    bytes: int
    at_once: int = Field(description="Statements of one account.")


class SqlViews(Shape):
    views: list[ViewShape]
    functions: dict[str, list[str]] = Field(description="What may be called, by topic.")
    limits: SqlLimits

"""Rows as JSON: every value as it is, and what JSON or Python cannot hold as DuckDB writes it.

Python knows an interval by its days alone, no nanoseconds, and no infinite time: DuckDB hands it
the last moment of the year 9999 instead. Where such a thing may be, the statement is asked once
more, wrapped (`exactly`): each column stands beside itself as text, and `settled` chooses.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from datetime import date, datetime, time
from decimal import Decimal
from math import isfinite
from typing import Any

import orjson

Row = Sequence[Any]

ENCODING = orjson.OPT_PASSTHROUGH_DATETIME | orjson.OPT_NON_STR_KEYS | orjson.OPT_SERIALIZE_UUID
LESSENED = frozenset({"INTERVAL", "TIMESTAMP_NS"})
"""Types of which Python keeps less than they hold."""
MOMENTS = frozenset({"DATE", "TIMESTAMP", "TIMESTAMP_S", "TIMESTAMP_MS"})
"""Types that have infinite values."""
ENDS = frozenset({datetime.min, datetime.max, date.min, date.max})  # noqa: DTZ901  # has no zone
"""What Python is handed for what is infinite, and for itself."""
_NAMES = re.compile(r"""("(?:[^"]|"")*"|'(?:[^']|'')*')|\w+""")


class Doubtful(Exception):
    """A value that may be infinite."""


def lessened(types: Iterable[str]) -> bool:
    """Whether Python would keep less of some column than it holds."""
    return any(_in_text(one, LESSENED) != one for one in types)


def certain(rows: Iterable[Row], types: Sequence[str]) -> Iterator[Row]:
    """*rows*, as long as they are what they seem. Raises `Doubtful`."""
    moments = [nth for nth, one in enumerate(types) if _in_text(one, MOMENTS) != one]
    for row in rows:
        if any(_may_be_infinite(row[nth]) for nth in moments):
            raise Doubtful
        yield row


def exactly(query: str, types: Sequence[str]) -> str:
    """The statement that answers *query*, with each column as far as Python knows its type, and
    then each once more with all times in text."""
    names = [f"c{nth}" for nth in range(len(types))]
    known = [_cast(*pair, LESSENED) for pair in zip(names, types, strict=True)]
    texts = [_cast(*pair, LESSENED | MOMENTS) for pair in zip(names, types, strict=True)]
    columns = ", ".join(known + texts)
    return f"SELECT {columns} FROM ({query}) AS answer({', '.join(names)})"  # noqa: S608  # inspected


def settled(rows: Iterable[Row]) -> Iterator[Row]:
    """The rows of a question that was asked `exactly`."""
    for row in rows:
        half = len(row) // 2
        yield [_settled(*pair) for pair in zip(row[:half], row[half:], strict=True)]


def as_json(
    columns: list[dict[str, str]], rows: Iterable[Row], most: int, most_bytes: int
) -> bytes:
    """The answer: as many *rows* as fit into both bounds."""
    floats = any(name in column["type"] for column in columns for name in ("DOUBLE", "FLOAT"))
    encoded: list[bytes] = []
    left, truncated = most_bytes, False
    for row in rows:
        text = _encoded(row, exact=floats)
        left -= len(text) + 1
        if left < 0 or len(encoded) == most:
            truncated = True
            break
        encoded.append(text)
    head = orjson.dumps({"columns": columns, "truncated": truncated})
    return head[:-1] + b',"rows":[' + b",".join(encoded) + b"]}\n"


def _cast(name: str, type_: str, texts: frozenset[str]) -> str:
    told = _in_text(type_, texts)
    return name if told == type_ else f"CAST({name} AS {told})"


def _in_text(type_: str, texts: frozenset[str]) -> str:
    """*type_* with text in the place of the types *texts*; names and values in quotes stay."""
    return _NAMES.sub(lambda found: "VARCHAR" if found[0] in texts else found[0], type_)


def _may_be_infinite(value: Any) -> bool:
    match value:
        case list() | tuple():
            return any(map(_may_be_infinite, value))
        case dict():
            return any(map(_may_be_infinite, (*value, *value.values())))
    return isinstance(value, date) and value in ENDS


def _settled(value: Any, text: Any) -> Any:
    """*value*, or *text* when that says that it is infinite."""
    match value:
        case list() | tuple():
            return [_settled(*pair) for pair in zip(value, text, strict=True)]
        case dict():
            pairs = zip(value.items(), text.items(), strict=True)
            return {_settled(a, c): _settled(b, d) for (a, b), (c, d) in pairs}
        case date() if "infinity" in text:
            return text
    return value


def _encoded(row: Row, *, exact: bool) -> bytes:
    if not exact:
        try:
            return orjson.dumps(row, _plain, ENCODING)
        except TypeError:
            pass  # A whole number that 64 bits do not hold, somewhere in it.
    return orjson.dumps([_exact(value) for value in row], _plain, ENCODING)


def _exact(value: Any) -> Any:
    match value:
        case bool():
            return value
        case int():
            return orjson.Fragment(str(value))
        case float() if not isfinite(value):
            return str(value)
        case list() | tuple():
            return [_exact(one) for one in value]
        case dict():
            return {str(key): _exact(one) for key, one in value.items()}
    return value


def _plain(value: object) -> Any:
    """What JSON has no form of its own for."""
    match value:
        case datetime():
            exact = "milliseconds" if value.microsecond % 1000 == 0 else "microseconds"
            return value.isoformat(timespec=exact) + "Z"
        case date() | time():
            return value.isoformat()
        case Decimal() if value.is_finite():
            return orjson.Fragment(str(value))
        case bytes() | bytearray():
            return value.hex()
    return str(value)

"""Values of an answer that neither JSON nor Python holds, from a real cell."""

from __future__ import annotations

from collections.abc import Sequence
from typing import IO, Any

import orjson
import pytest

from sandboxes.sql.question import Cell, Limits, Question

LIMITS = Limits(cpu_s=10, memory_bytes=512 << 20, rows_max=2, bytes_max=100_000)


def pour(view: str, columns: Sequence[str], sink: IO[bytes]) -> None:
    """No view is asked for here."""
    raise AssertionError(view)


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ("TIMESTAMP 'infinity'", "infinity"),
        ("[DATE '-infinity', DATE '9999-12-31', NULL]", ["-infinity", "9999-12-31", None]),
        ("TIMESTAMP '9999-12-31 23:59:59.999999'", "9999-12-31T23:59:59.999999Z"),
        ("INTERVAL '1 year 2 days 00:00:00.5'", "1 year 2 days 00:00:00.5"),
        ("{'INTERVAL': DATE 'infinity', 'b': [INTERVAL 30 DAY, NULL], 'c': TIMESTAMP_S 'infinity'}",
         {"INTERVAL": "infinity", "b": ["30 days", None], "c": "infinity"}),
        ("MAP {DATE '-infinity': INTERVAL 1 MONTH}", {"-infinity": "1 month"}),
        ("TIMESTAMP_NS '2026-01-02 03:04:05.123456789'", "2026-01-02 03:04:05.123456789"),
        ("['nan'::DOUBLE, '-inf'::DOUBLE, 0.5]", ["nan", "-inf", 0.5]),
    ],
)  # fmt: skip
def test_what_json_cannot_hold_is_told_as_duckdb_writes_it(values: str, told: Any) -> None:
    """And what stands beside it stays as it is, by its name and in its order."""
    beside = "TIMESTAMP '2026-01-02 03:04:05'"
    query = f"SELECT {values} AS v, n, {beside} AS v FROM range($1) t(n) ORDER BY n DESC; -- ok"
    question = Question(query, [3], {}, "2026-11-21 05:29:37.123", LIMITS)

    with Cell() as cell:
        answer = orjson.loads(cell.ask(question, pour))

    assert answer["rows"] == [[told, n, "2026-01-02T03:04:05.000Z"] for n in (2, 1)]
    assert [one["name"] for one in answer["columns"]] == ["v", "n", "v"]
    assert answer["truncated"]

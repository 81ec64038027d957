"""The page of SQL: views and columns, what may be called, and the limits."""

from __future__ import annotations

from actors.rooms import VIEWS
from actors.view import View
from gateway.reference.markdown import code, codes, page, table
from gateway.routes.sql import FUNCTIONS
from gateway.shapes.sql import PARAMETERS_MAX, QUERY_MAX
from sandboxes.sql.functions import COLLATIONS, TYPES
from schemas.settings import Settings

LIMITS = (
    "sql_timeout_s",
    "sql_memory_bytes_max",
    "sql_rows_max",
    "sql_bytes_max",
    "sql_statements_max",
    "sql_statements_per_account_max",
)


def text() -> str:
    """The page."""
    return page(
        "SQL",
        "`POST /api/v1/sql` and `canopy sql` answer one SELECT in DuckDB's dialect over the views "
        "below. They hold what the caller may see and nothing else; names and columns are stable. "
        "All times are UTC, and `now()` is the time of the question. All rows of an answer belong "
        "to one `position` of the log, which it tells. What JSON cannot hold exactly is text as "
        "DuckDB writes it: `INTERVAL` (`1 month`), `TIMESTAMP_NS`, times and dates that are "
        "`infinity` or `-infinity`, numbers that are `inf`, `-inf` or `nan`.",
        table(
            ("view", "what"),
            ((f"[{code(view.name)}](#{view.name})", view.about) for view in VIEWS),
        ),
        *(part for view in VIEWS for part in (f"## {code(view.name)}", view.about, _columns(view))),
        "## What is allowed",
        "One statement: SELECT with joins, subqueries, common table expressions (recursive ones "
        "too), set operations, windows, PIVOT and VALUES. Views are named alone, without catalogue "
        "or schema. Parameters stand as `$1`, `$2`, …; at most "
        f"{PARAMETERS_MAX} of them, in a statement of at most {QUERY_MAX:,} characters. Whatever "
        "is not listed here is refused with `sql_forbidden`.",
        *(
            f"**{topic[0].upper()}{topic[1:]}**: {codes(sorted(names))}."
            for topic, names in FUNCTIONS.items()
        ),
        f"**Types**: {codes(sorted(TYPES))}.",
        f"**Collations**: {codes(sorted(COLLATIONS))}.",
        "## Limits",
        "Each is a setting. A statement that takes longer, or needs more memory, is refused; an "
        "answer that would be longer is cut off and says so (`truncated`).",
        table(("setting", "default", "what"), (_limit(name) for name in LIMITS)),
    )


def _columns(view: View) -> str:
    return table(
        ("column", "type", "what"),
        ((code(column.name), code(column.type), column.about) for column in view.columns),
    )


def _limit(name: str) -> tuple[str, str, str]:
    field = Settings.model_fields[name]
    return code(name), code(field.default), field.description or ""

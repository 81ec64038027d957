"""The page of problems: every code that the API answers with."""

from __future__ import annotations

from gateway.errors import CATALOGUE, MEDIA_TYPE, Problem
from gateway.reference.markdown import code, page, table
from gateway.reference.shapes import fields


def text() -> str:
    """The page."""
    shape = Problem.model_json_schema()
    return page(
        "Problems",
        f"Whatever goes wrong is answered as problem details (RFC 9457, `{MEDIA_TYPE}`). `code` is "
        "constant and made for programs; `detail` is made for people and may change. A node serves "
        "a page for each code at its `type`, `/problems/<code>`.",
        fields(shape, shape.get("$defs", {})),
        "## Codes",
        table(
            ("status", "code", "title", "what to do"),
            (
                (str(entry.status), code(name), entry.title, entry.remedy)
                for name, entry in sorted(
                    CATALOGUE.items(), key=lambda item: (item[1].status, item[0])
                )
            ),
        ),
    )

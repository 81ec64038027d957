"""Writes the reference: `python -m gateway.reference [directory]`, or `make docs`."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from gateway.reference import (
    api,
    cli,
    documents,
    events,
    metrics,
    problems,
    settings,
    sql,
    subjects,
)

PAGES: Mapping[str, Callable[[], str]] = {
    "api.md": api.text,
    "asyncapi.json": documents.asyncapi,
    "cli.md": cli.text,
    "events.md": events.text,
    "metrics.md": metrics.text,
    "openapi.json": documents.openapi,
    "problems.md": problems.text,
    "settings.md": settings.text,
    "sql.md": sql.text,
    "subjects.md": subjects.text,
}
"""Every page by its file."""


def write(directory: Path) -> None:
    """All pages, in *directory*."""
    directory.mkdir(parents=True, exist_ok=True)
    for name, text in PAGES.items():
        (directory / name).write_text(text(), encoding="utf-8")


if __name__ == "__main__":
    write(Path(sys.argv[1] if len(sys.argv) > 1 else "docs/reference"))

"""What the pages are made of: paragraphs and tables of Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

NOTICE = "<!-- Written by `make docs` from the program itself: change that, not this page. -->"


def page(title: str, *parts: str) -> str:
    """A whole page: its title, then its parts, a blank line between any two."""
    return "\n\n".join((f"# {title}", NOTICE, *(part for part in parts if part))) + "\n"


def table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Rows under headings; empty when there are no rows. A cell holds anything but line ends."""
    lines = [_row(cells) for cells in rows]
    return "\n".join((_row(headings), _row(["---"] * len(headings)), *lines)) if lines else ""


def code(text: object) -> str:
    """*text* as a name or a value of the program; empty for nothing."""
    return f"`{text}`" if text != "" else ""


def codes(texts: Iterable[object]) -> str:
    """Several of them, in a row."""
    return ", ".join(code(text) for text in texts)


def paragraph(text: str) -> str:
    """A docstring's or a help text's prose, its line ends taken out."""
    blocks = (" ".join(block.split()) for block in text.strip().split("\n\n"))
    return "\n\n".join(block for block in blocks if block)


def first(text: str) -> str:
    """The first paragraph of a docstring, in one line."""
    return paragraph(text).partition("\n\n")[0]


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"

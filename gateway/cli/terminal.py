"""What a command prints: one line of JSON for programs, a picture for people.

Answers go to standard output, everything else to standard error. Colours appear only on a
terminal, and never when NO_COLOR is set; piped text is neither cut nor wrapped.
"""

from __future__ import annotations

import sys
import unicodedata
from collections.abc import Sequence
from typing import Any, TextIO

import orjson
from rich.cells import cell_len
from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text
from rich.theme import Theme

from gateway.cli.exits import Failure

PIPE_COLUMNS = 100_000
"""The width of what is no terminal: lines are never cut."""

COLUMN_MAX = 40
"""Wider columns of a table give way in a narrow terminal."""

THEME = Theme(
    {
        "good": "green",
        "wary": "yellow",
        "bad": "bold red",
        "faint": "dim",
        "heading": "bold",
        "channel": "cyan",
        "command": "bold cyan",
        "secret": "bold yellow",
        "number": "cyan",
    },
    inherit=True,
)
PEOPLE = ("green", "yellow", "blue", "magenta", "cyan", "bright_red", "bright_green", "bright_blue")
BIDI = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\u200e\u200f")


class Enough(Exception):
    """Whoever reads our output has read enough, and is gone."""


class Screen(Console):
    """A console that takes the end of its reader for an end and no failure."""

    def on_broken_pipe(self) -> None:
        raise Enough


class Terminal:
    """Both streams of one command; `json` tells that a program listens."""

    def __init__(self, json: bool = False) -> None:
        self.json = json
        self.out = _console(sys.stdout)
        self.err = _console(sys.stderr)

    @property
    def interactive(self) -> bool:
        """Whether somebody is there to answer a question."""
        return sys.stdin.isatty() and self.err.is_terminal and not self.json

    def answer(self, data: Any, shown: RenderableType | None = None) -> None:
        """The answer of the command: *data* as one line of JSON, or *shown*."""
        if self.json:
            line(data)
        elif shown is not None and self.out.is_terminal:
            self.out.print(shown, crop=False)
        elif shown is not None:
            with self.out.capture() as captured:
                self.out.print(shown)
            # Tables fill their last column with blanks, which a program would have to cut off.
            lines = captured.get().splitlines()
            sys.stdout.write("".join(f"{one.rstrip()}\n" for one in lines))

    def done(self, text: str | Text) -> None:
        """Something has come about, beside the answer."""
        if not self.json:
            self.err.print(Text.assemble(("✓ ", "good"), text))

    def warn(self, text: str, remedy: str = "") -> None:
        """Something is not as it should be, and the command goes on."""
        if self.json:
            line({"warning": text, "remedy": remedy}, sys.stderr)
            return
        self.err.print(Text.assemble(("! ", "wary"), text))
        if remedy:
            self.err.print(Text(f"  → {remedy}", "faint"))

    def fail(self, failure: Failure) -> None:
        """Why the command ends, and what to do next."""
        if self.json:
            line(failure.as_json(), sys.stderr)
            return
        self.err.print(Text.assemble(("✗ ", "bad"), failure.message))
        if failure.remedy:
            self.err.print(Text.assemble(("  → ", "command"), failure.remedy))


def _console(stream: TextIO) -> Screen:
    columns = None if stream.isatty() else PIPE_COLUMNS
    return Screen(file=stream, theme=THEME, width=columns, highlight=False)


def line(data: Any, stream: TextIO | None = None) -> None:
    """*data* as one line of JSON, at once."""
    stream = stream or sys.stdout
    try:
        stream.write(orjson.dumps(data).decode() + "\n")
        stream.flush()
    except BrokenPipeError as error:
        raise Enough from error


def table(columns: Sequence[str], rows: Sequence[Sequence[str | Text]], empty: str = "") -> Table:
    """Rows under headings, without lines; the heading of a column of numbers ends in `>`.

    Where the terminal is narrow, the column whose heading ends in `~` wraps, or else the last one.
    """
    if not rows and empty:
        nothing = Table.grid()
        nothing.add_row(Text(empty, "faint"))
        return nothing
    shown = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="faint")
    named = any(column.endswith("~") for column in columns)
    for nth, column in enumerate(columns):
        name = column.rstrip(">~")
        wraps = column.endswith("~") if named else nth == len(columns) - 1
        widest = max(_width(cell) for cell in (name, *(row[nth] for row in rows)))
        shown.add_column(
            name,
            justify="right" if column.endswith(">") else "left",
            no_wrap=not wraps,
            overflow="fold" if wraps else "ellipsis",
            min_width=None if wraps else min(widest, COLUMN_MAX),
        )
    for row in rows:
        shown.add_row(*row)
    return shown


def _width(cell: str | Text) -> int:
    return cell.cell_len if isinstance(cell, Text) else cell_len(cell)


def facts(rows: Sequence[tuple[str, str | Text]]) -> Table:
    """Names and values, one pair a row."""
    shown = Table.grid(padding=(0, 2, 0, 0))
    shown.add_column(style="faint", no_wrap=True)
    shown.add_column(overflow="fold")
    for name, value in rows:
        shown.add_row(name, value)
    return shown


def whole(text: Text) -> Text:
    """*text* as one line to be copied, however narrow the terminal: a break would be copied too."""
    kept = text.copy()
    kept.no_wrap, kept.overflow = True, "ignore"
    return kept


def plain(text: str, keep_lines: bool = False) -> str:
    """*text* of others without what a terminal would obey: no escapes, no reversed writing.

    Control characters show as their pictures (U+2400 …), line ends as a space unless kept.
    """
    return "".join(_plain(sign, keep_lines) for sign in text)


def _plain(sign: str, keep_lines: bool) -> str:
    if sign == "\n":
        return sign if keep_lines else " "
    if sign == "\t":
        return " "
    if ord(sign) < 0x20:
        return chr(0x2400 + ord(sign))
    if sign in BIDI or unicodedata.category(sign) in ("Cc", "Cs"):
        return "\N{REPLACEMENT CHARACTER}"
    return sign


def person(name: str) -> Text:
    """The name of an account in its colour: the same name has the same colour everywhere."""
    color = PEOPLE[sum(name.encode()) % len(PEOPLE)]
    return Text(plain(name), color)


def channel(name: str) -> Text:
    return Text(f"#{plain(name)}", "channel")

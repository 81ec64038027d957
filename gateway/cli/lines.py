"""Commits as lines of a terminal: time, place, author, what happened, position.

On a terminal a line is cut to its width and each day has a heading; piped, every line is whole and
begins with position and full time, ready for other programs.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from rich.console import Console
from rich.text import Text

from gateway.cli.sentences import Frame, Names, place, sentences
from gateway.cli.terminal import person

WIDE_COLUMNS = 100
GAP = 2
SENTENCE_COLUMNS_MIN = 8


@dataclass(frozen=True, slots=True)
class Widths:
    """How many columns each part of a line has."""

    time: int
    place: int
    author: int


WIDE = Widths(12, 16, 14)
NARROW = Widths(8, 10, 10)


class Lines:
    """Turns commits, in their order, into lines for *console*."""

    def __init__(self, names: Names, console: Console) -> None:
        self._names = names
        self._console = console
        self._day = ""

    def of(self, frame: Frame) -> Iterator[Text]:
        """One line for each event of *frame*, after a heading when its day is a new one."""
        self._names.learn(frame)
        if self._console.is_terminal:
            yield from self._drawn(frame)
        else:
            yield from self._plain(frame)

    def _plain(self, frame: Frame) -> Iterator[Text]:
        names = self._names
        author = names.account(frame["author"])
        head = Text.assemble(
            str(frame["seq"]), "  ", frame["time"], "  ", place(frame, names), "  ", person(author)
        )
        for sentence in sentences(frame, names):
            yield Text.assemble(head, "  ", sentence)

    def _drawn(self, frame: Frame) -> Iterator[Text]:
        widths = WIDE if self._console.width >= WIDE_COLUMNS else NARROW
        local = datetime.fromisoformat(frame["time"]).astimezone()
        yield from self._heading(f"{local:%A, %Y-%m-%d}")
        time = f"{local:%H:%M:%S}.{local.microsecond // 1000:03d}"
        head = Text.assemble(
            _cell(Text(time[: widths.time], "faint"), widths.time),
            _cell(place(frame, self._names), widths.place),
            _cell(person(self._names.account(frame["author"])), widths.author),
        )
        seq = Text(str(frame["seq"]), "faint")
        room = max(SENTENCE_COLUMNS_MIN, self._console.width - head.cell_len - seq.cell_len - GAP)
        for sentence in sentences(frame, self._names):
            shown = sentence.copy()
            shown.truncate(room, overflow="ellipsis", pad=True)
            yield Text.assemble(head, shown, " " * GAP, seq)

    def _heading(self, day: str) -> Iterator[Text]:
        if day != self._day:
            self._day = day
            yield Text(f"── {day} ──", "faint")


def _cell(text: Text, columns: int) -> Text:
    cell = text.copy()
    cell.truncate(columns, overflow="ellipsis", pad=True)
    cell.append(" " * GAP)
    return cell

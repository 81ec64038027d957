"""A statement on its way to a cell and back, as the process that asks sees it.

Everything here blocks: it runs in a worker thread, and whoever waits for that calls `kill` when the
time is over.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Protocol, Self

import orjson

from sandboxes.sql.fault import Fault

PROGRAM = "import os; os.nice({}); from sandboxes.sql.cell import main; main()"
NICE = 5
"""The node's own work weighs three times as much, from before the libraries are loaded; with less,
a busy machine would not get a statement done in time. The session stays that of the node: in one
of its own, Linux would weigh it against the whole node."""
LINE_MAX = 1 << 20
"""Bytes of what a cell says first."""
MARGIN = 1 << 16
"""Bytes of an answer besides its rows."""
END_S = 5.0


@dataclass(frozen=True, slots=True)
class Limits:
    """What one statement may take."""

    cpu_s: int
    memory_bytes: int
    rows_max: int
    bytes_max: int


@dataclass(frozen=True, slots=True)
class Question:
    """A statement, its parameters, the views with their columns, and the time that it is asked at
    (UTC, ISO 8601 without a zone)."""

    query: str
    parameters: Sequence[Any]
    views: Mapping[str, Sequence[str]]
    now: str
    limits: Limits


class Pour(Protocol):
    """Writes the named columns of a view as one Arrow stream. Blocks."""

    def __call__(self, view: str, columns: Sequence[str], sink: IO[bytes]) -> None: ...


class Cell:
    """One process for one statement, ended with the block."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(  # noqa: S603  # our own program, and no shell
            [sys.executable, "-I", "-c", PROGRAM.format(NICE)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={},
            cwd=Path("/"),
            process_group=0,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.kill()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                _closed(pipe)
        self._process.wait(END_S)

    def kill(self) -> None:
        """End the process now, whatever it does. For any thread."""
        self._process.kill()

    def ask(self, question: Question, pour: Pour) -> bytes:
        """The answer as JSON: `columns`, `rows`, `truncated`.

        Raises `Fault`; one with the code `sql_too_large` also when the process has died of it.
        """
        source, sink = self._process.stdin, self._process.stdout
        if source is None or sink is None:
            raise Fault("sql_failed", "The process has no pipes.")
        try:
            # Not with orjson, which knows whole numbers of 64 bits only.
            source.write(json.dumps(asdict(question)).encode() + b"\n")
            source.flush()
            needs: Mapping[str, Sequence[str]] = self._heard(sink.readline(LINE_MAX))["needs"]
            for view, columns in needs.items():
                pour(view, _listed(question.views[view], columns), source)
            source.flush()
        except BrokenPipeError:
            pass  # It has ended early; what it said before tells why.
        answer = sink.read(question.limits.bytes_max + MARGIN)
        self._heard(answer)
        return answer

    def _heard(self, said: bytes) -> Any:
        """What the process has said. Raises `Fault` for a fault, or when it says nothing whole."""
        try:
            told = orjson.loads(said)
        except orjson.JSONDecodeError as error:
            raise self._end() from error
        if "fault" in told:
            raise Fault(told["fault"], told["message"])
        return told

    def _end(self) -> Fault:
        """Why the process has ended in the middle of what it was saying."""
        ended = self._process.wait(END_S)
        if ended in (-signal.SIGXCPU, -signal.SIGKILL):
            return Fault("sql_too_long", "The statement has used up the time for one.")
        return Fault("sql_too_large", "The statement has used up the memory for one.")


def _listed(view: Sequence[str], wanted: Sequence[str]) -> list[str]:
    """The columns of a view that are wanted: a cell is not believed, only served."""
    return [one for one in view if one in wanted]


def _closed(pipe: Any) -> None:
    try:
        pipe.close()
    except BrokenPipeError:
        return  # Something was still on its way to a process that is no more.

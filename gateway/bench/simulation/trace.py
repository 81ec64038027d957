"""What happened in a simulated world, step by step, and what must not have."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, MutableMapping
from contextlib import contextmanager
from hashlib import blake2b
from typing import Any

import structlog

from gateway.bench.simulation.loop import PROCESS

QUIET = ("timestamp", "level", "exc_info")


class Trace:
    """Lines with virtual times; `violations` are the promises that were broken."""

    def __init__(self, now_s: Callable[[], float]) -> None:
        self.lines: list[str] = []
        self.violations: list[str] = []
        self.closed = False
        """Whether the world has ended: what is said while it is let go is of no interest."""
        self._now_s = now_s

    def note(self, what: str, who: str = "") -> None:
        """Something happened to *who*, or to whoever is at it."""
        if self.closed:
            return
        process = PROCESS.get(None)
        name = who or (process.name if process else "world")
        self.lines.append(f"{self._now_s():11.6f}  {name:<10} {what}")

    def violated(self, what: str) -> None:
        """A promise has been broken."""
        if self.closed:
            return
        self.violations.append(what)
        self.note(f"VIOLATION: {what}")

    @property
    def digest(self) -> str:
        """The same for the same history (16 hex digits)."""
        return blake2b("\n".join(self.lines).encode(), digest_size=8).hexdigest()

    @contextmanager
    def journal(self) -> Iterator[None]:
        """What the product writes to its journal becomes part of the trace until the block ends."""

        def record(
            _logger: object, level: str, entry: MutableMapping[str, Any]
        ) -> MutableMapping[str, Any]:
            event = entry.pop("event")
            fields = {name: value for name, value in entry.items() if name not in QUIET}
            error = sys.exc_info()[1] if entry.get("exc_info") else None
            told = f"{event} {fields}{f' because of {error!r}' if error else ''}"
            self.note(f"journal {level}: {told}")
            if event in ALARMING and not (event == "room_failed" and passing(error)):
                self.violated(f"the journal says {told}")
            raise structlog.DropEvent

        processors = structlog.get_config()["processors"]
        before = list(processors)
        processors[:] = [record]
        try:
            yield
        finally:
            processors[:] = before


def passing(error: BaseException | None) -> bool:
    """Whether *error* is of the machine and not of ours: what waited is begun again."""
    if isinstance(error, BaseExceptionGroup):
        return all(passing(one) for one in error.exceptions)
    return isinstance(error, OSError)


ALARMING = frozenset(
    {
        "aggregate_unreadable",
        "content_damaged",
        "head_unreadable",
        "log_damaged",
        "reactor_stopped",
        "room_failed",
    }
)
"""What no fault of a machine may lead to: each of them would be a bug of ours."""

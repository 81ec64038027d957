"""A register: a value whose last writer wins, in whatever order the writers are heard.

Commits of several origins arrive in any interleaving that keeps each origin's own order. A fold
made of registers and of sets that only grow gives the same state for all of them (ADR 0005).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, TypeVar

Value = TypeVar("Value")
Stamp = tuple[str, str]
"""(clock, origin) of the commit that wrote the value; the greater one is the later."""

NEVER: Stamp = ("", "")


@dataclass(frozen=True)
class Register(Generic[Value]):
    """`value`, written at `stamp`."""

    value: Value
    stamp: Stamp = NEVER

    def written(self, value: Value, stamp: Stamp) -> Register[Value]:
        """The register after *value* was written at *stamp*: unchanged if it knows a later one."""
        return Register(value, stamp) if stamp >= self.stamp else self

    def claimed(self, value: Value, stamp: Stamp) -> Register[Value]:
        """The register after *value* was claimed at *stamp*: the first claim wins."""
        first = self.stamp == NEVER or stamp < self.stamp
        return Register(value, stamp) if first else self

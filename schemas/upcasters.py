"""Old shapes → present shapes, applied once, on reading. A stored event is never rewritten.

An upcaster takes the data of one kind in version *v* to version *v + 1*; the present version of a
kind is one more than its last upcaster. Keep the old JSON as an example in the test.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

Data = dict[str, Any]
Upcaster = Callable[[Data], Data]
Steps = Mapping[tuple[str, int], Upcaster]
"""(kind, version it takes) → the step to the next version."""


class FutureVersion(ValueError):
    """The event is newer than this program: upgrade Canopy before reading this log."""


class Upcasters:
    """The steps of every kind whose shape has ever changed.

    `versions` holds the present version of those kinds; all others are written in version 1.
    """

    def __init__(self, steps: Steps) -> None:
        """Raises ValueError when a step is missing between version 1 and the present one."""
        self._steps = dict(steps)
        self.versions = {kind: 1 + max(v for k, v in steps if k == kind) for kind, _ in steps}
        for kind, present in self.versions.items():
            for v in range(1, present):
                if (kind, v) not in steps:
                    raise ValueError(f"nothing takes {kind} from version {v} to {v + 1}")

    @property
    def marks(self) -> tuple[tuple[str, int], ...]:
        """(kind, present version) of those kinds: what was folded under other marks is outdated."""
        return tuple(sorted(self.versions.items()))

    def upcast(self, kind: str, v: int, data: Data) -> Data:
        """The data of *kind*, written in version *v*, in today's shape.

        Raises `FutureVersion` when *v* is later than today's version, ValueError when it is none.
        """
        present = self.versions.get(kind, 1)
        if v > present:
            raise FutureVersion(f"{kind} version {v} is newer than the {present} known here")
        if v < 1:
            raise ValueError(f"{kind} version {v} has never been")
        for step in range(v, present):
            data = self._steps[kind, step](data)
        return data


UPCASTERS = Upcasters({})
"""What is applied to every log that is read. Empty until the first shape changes."""


def version(kind: str, upcasters: Upcasters = UPCASTERS) -> int:
    """The version in which *kind* is written today (from 1)."""
    return upcasters.versions.get(kind, 1)

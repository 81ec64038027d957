"""Old shapes → present shapes, applied once, on reading. A stored event is never rewritten.

An upcaster takes the data of one kind in version *v* to version *v + 1*; the present version of a
kind is one more than its last upcaster. Keep the old JSON as an example in the test.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Data = dict[str, Any]
Upcaster = Callable[[Data], Data]

UPCASTERS: dict[tuple[str, int], Upcaster] = {}
"""(kind, version it takes) → the step to the next version. Empty until the first shape changes."""


class FutureVersion(ValueError):
    """The event is newer than this program: upgrade Canopy before reading this log."""


def version(kind: str, upcasters: dict[tuple[str, int], Upcaster] = UPCASTERS) -> int:
    """The version in which *kind* is written today (from 1)."""
    return 1 + max((v for k, v in upcasters if k == kind), default=0)


def upcast(
    kind: str, v: int, data: Data, upcasters: dict[tuple[str, int], Upcaster] = UPCASTERS
) -> Data:
    """The data of *kind*, written in version *v*, in today's shape.

    Raises `FutureVersion` when *v* is later than today's version.
    """
    present = version(kind, upcasters)
    if v > present:
        raise FutureVersion(f"{kind} version {v} is newer than the {present} known here")
    for step in range(v, present):
        data = upcasters[kind, step](data)
    return data

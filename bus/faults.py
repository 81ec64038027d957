"""Kill points: named places between durable steps, where a test lets a process die.

`point("…")` does nothing unless the process was armed. `CANOPY_FAULT="vault.kept:3"` arms a process
of a test: it kills itself, as a power cut would, when it comes to that place for the third time. A
simulator hangs its own hook in. Every place is listed in `Point`: one that is not does not
type-check, and a test kills at each of them. `tests/test_durable_steps.py` finds what writes a file
durably and comes by no place; what the broker and DuckDB write is out of its sight.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Mapping
from typing import Literal, get_args

CopyPoint = Literal[
    "archive.written",  # a backup or an export is on the disk, under a draft's name
    "restore.begun",  # there is a draft of a data directory, with nothing in it
    "restore.refilled",  # a batch of commits has been stored again
    "restore.folded",  # a part of the archive is in the new tables
    "restore.made",  # everything is in the draft, nothing in its place
    "restore.moving",  # all but the identity is in its place
    "restore.moved",  # all of it is in its place, the draft is not gone yet
]
"""Places that no node comes by: in commands that end when their one task ends."""

AlarmPoint = Literal[
    "alarm.sounded",  # the log is known to be damaged, writers have not heard yet
]
"""Places that a node comes by only when something is wrong."""

Point = Literal[
    "append.sent",  # a group of commits has left for the broker
    "append.stored",  # the broker has acknowledged it, nobody else knows
    "append.marked",  # the high-water mark is raised, nobody else knows
    "ledger.kept",  # what was hashed since last time is on the disk, the tip is not
    "tip.kept",  # and so is the tip
    AlarmPoint,
    "command.taken",  # a gateway has a request in hand, nobody else knows
    "command.answered",  # the actors have dealt with it, the client does not know
    "fold.staged",  # a batch is in the tables, in a transaction that is not committed
    "fold.committed",  # it is, and nobody has heard of it
    CopyPoint,
    "vault.grown",  # an empty segment is on the disk, no key table knows of it
    "vault.kept",  # keys are on the disk, nothing is sealed under them yet
    "vault.rewritten",  # a segment lies there anew without the keys that go
    "vault.tabled",  # and so does the key table, under a table key that nobody knows yet
    "vault.turned",  # the root has sealed the new table key beside the old one
    "vault.overwritten",  # the old one is gone; its files still lie there
    "vault.erased",  # nothing is left of it; the log does not say so yet
    "erasure.told",  # the log says so, nobody has noted how far all of it is done
    "erasure.noted",  # and so it is noted
]
VARIABLE = "CANOPY_FAULT"


class Unarmed(ValueError):
    """`CANOPY_FAULT` names no kill point."""


class _Faults:
    hook: Callable[[Point], None] | None = None


def point(name: Point) -> None:
    """A place where the process may be killed: nothing at all, unless it is armed."""
    if _Faults.hook is not None:
        _Faults.hook(name)


def hang(hook: Callable[[Point], None] | None) -> None:
    """Let *hook* hear of every point that is passed from now on; None for nobody."""
    _Faults.hook = hook


def arm(environ: Mapping[str, str]) -> None:
    """Arm this process as `CANOPY_FAULT` says: `<point>` or `<point>:<nth time>`.

    Raises `Unarmed` for what is no point.
    """
    told = environ.get(VARIABLE, "")
    if not told:
        return
    name, _, nth = told.partition(":")
    if name not in get_args(Point) or not (nth or "1").isdigit():
        raise Unarmed(f"{VARIABLE}: {told!r} is no kill point of {', '.join(get_args(Point))}")
    left = int(nth or "1")

    def kill(passed: Point) -> None:
        nonlocal left
        left -= passed == name
        if left <= 0:
            os.kill(os.getpid(), signal.SIGKILL)

    hang(kill)

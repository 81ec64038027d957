"""One thing that `canopy doctor` has looked at."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

State = Literal["ok", "warn", "fail"]


@dataclass(frozen=True, slots=True)
class Finding:
    """What was found: `what` is the case, `remedy` what to do about it."""

    check: str
    state: State
    what: str
    remedy: str = ""

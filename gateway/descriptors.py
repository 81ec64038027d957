"""Open files: a process may have as many as the system grants, not as few as shells begin with.

Every live client is one. The usual soft limit, 1024, is there for programs that use select(2).
"""

from __future__ import annotations

import resource
from contextlib import suppress

ENOUGH = 1 << 20
"""Asked for where there is no end: some systems refuse to grant an endless number."""


def granted() -> int:
    """How many files a process may have open once it has asked for them."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    return ENOUGH if hard == resource.RLIM_INFINITY else hard


def ask_for_all() -> None:
    """Have as many files open from now on as are granted."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < granted():
        with suppress(ValueError, OSError):  # There is a lower limit of which nobody tells.
            resource.setrlimit(resource.RLIMIT_NOFILE, (granted(), hard))

"""A process has as many files open as it may."""

from __future__ import annotations

import resource

from gateway.descriptors import ask_for_all, granted


def test_what_is_granted_is_asked_for() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard - 1, hard))
    try:
        ask_for_all()
        asked_for, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))

    assert asked_for == granted()

"""Fixtures that any test may use: a whole node."""

from __future__ import annotations

import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.canopy import Canopy, running

# A suite that was started in the background would hand its programs a Ctrl-C that they never hear.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture
async def canopy(tmp_path: Path) -> AsyncIterator[Canopy]:
    """A fresh node, running for the first time."""
    async with running(tmp_path / "node") as node:
        yield node

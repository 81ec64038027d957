"""Fixtures that any test may use: a whole node."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.canopy import Canopy, running


@pytest.fixture
async def canopy(tmp_path: Path) -> AsyncIterator[Canopy]:
    """A fresh node, running for the first time."""
    async with running(tmp_path / "node") as node:
        yield node

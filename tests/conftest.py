"""Fixtures that any test may use: a whole node."""

from __future__ import annotations

import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gateway.bench.volume import NoVolume, volume
from schemas.settings import MIB
from tests.canopy import Canopy, running

DISK_BYTES = 16 * MIB

# A suite that was started in the background would hand its programs a Ctrl-C that they never hear.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def disks(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Disks of our own can be made here; else the test is skipped, or fails when CI=true."""
    try:
        with volume(tmp_path_factory.mktemp("disks"), DISK_BYTES):
            pass
    except NoVolume as error:
        told = f"{error}. {NoVolume.remedy}"
        if os.environ.get("CI") == "true":
            pytest.fail(told)
        pytest.skip(told)


@pytest.fixture
async def canopy(tmp_path: Path) -> AsyncIterator[Canopy]:
    """A fresh node, running for the first time."""
    async with running(tmp_path / "node") as node:
        yield node

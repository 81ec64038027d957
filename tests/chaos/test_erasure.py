"""What is erased is on no block of the disk any more; and the search that says so finds things."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from bus.key_table import SLOT_BYTES, SLOTS
from bus.storage import Directory
from gateway.bench.erase import erase, on_disk
from gateway.bench.volume import Volume, volume
from schemas.settings import MIB
from tests.bus.vaults import WAIT_S, made, opening

OWNER = "message.c1.m1"
SYNC_S = 60


class Sloppy(Directory):
    """Forgets to overwrite what it no longer needs."""

    def put(self, name: str, offset: int, data: bytes) -> None:
        if data.strip(b"\0"):
            super().put(name, offset, data)


@pytest.fixture
def disk(tmp_path: Path, disks: object) -> Iterator[Volume]:
    with volume(tmp_path, 64 * MIB) as one:
        yield one


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.usefixtures("disks")
async def test_what_is_erased_is_on_no_block_of_the_disk(tmp_path: Path) -> None:
    """In a node whose actors die on the way: while the old segment lies beside the new one, and
    while the old table key does."""
    report = await erase(tmp_path, count=2, deaths=("vault.rewritten", "vault.turned"))

    assert report.held, report.rows()


@pytest.mark.parametrize(("kind", "left"), [(Directory, 0), (Sloppy, 1)])
async def test_without_the_overwriting_the_old_key_is_found(
    disk: Volume, kind: type[Directory], left: int
) -> None:
    storage = kind(disk.path / "vault")
    made(storage)
    with opening(storage) as vault:
        await vault.keep(OWNER, WAIT_S)
        old = storage.read(SLOTS)[SLOT_BYTES:].strip(b"\0").split()[-1]
        there = _found(disk, old)
        await vault.destroy(OWNER, WAIT_S)

    assert (there, _found(disk, old)) == (1, left)


def _found(disk: Volume, text: bytes) -> int:
    subprocess.run(["sync", "-f", str(disk.path)], check=True, timeout=SYNC_S)
    return on_disk(disk.image, [text])


def test_the_search_sees_over_the_edges_of_what_it_reads(tmp_path: Path) -> None:
    image = tmp_path / "image"
    with image.open("wb") as file:
        os.truncate(file.fileno(), 64 * MIB)
        file.seek(16 * MIB - 3)
        file.write(b"marker")
        file.seek(40 * MIB)
        file.write(b"x" * 4096 + b"other")

    assert on_disk(image, [b"marker", b"other", b"absent"]) == 2

"""The vault on a disk that fails, and on one that has changed what it holds."""

from __future__ import annotations

from pathlib import Path

import pytest

from bus.key_record import RECORD_BYTES, TAG_BYTES
from bus.key_table import BLANK, SLOTS, VaultUnusable
from bus.storage import Directory
from bus.vault import KeyDamaged
from tests.bus.vaults import (
    ANN,
    BOB,
    ELSEWHERE,
    Disk,
    destroy,
    keep,
    made,
    opened,
    opening,
    slot_text,
    story,
)


class Failing(Disk):
    """A disk that cannot blank a slot once."""

    fails = True

    def put(self, name: str, offset: int, data: bytes) -> None:
        if self.fails and (name, data) == (SLOTS, BLANK):
            self.fails = False
            raise OSError(5, "Input/output error")
        super().put(name, offset, data)


@pytest.mark.parametrize("same", [True, False])
async def test_destroying_again_finishes_what_failed_half_way(*, same: bool) -> None:
    """Whoever asks again, the process that failed or one that was there all along."""
    whole = Disk()
    hers, _ = await story(whole)
    disk = Failing(whole.files)
    old = set(whole.files) - {SLOTS}
    with opening(disk) as one, opening(disk) as other:
        with pytest.raises(OSError, match="Input/output"):
            await destroy(one, ANN)
        await destroy(one if same else other, ANN)
        left = [other.find(name) for name in hers]

    assert left == [None, None]
    assert slot_text(whole.files[SLOTS]) not in disk.files[SLOTS]
    assert old & set(disk.files) == set()


@pytest.mark.parametrize("place", [0, TAG_BYTES, RECORD_BYTES - 1])
@pytest.mark.parametrize("late", [True, False])
async def test_a_record_that_was_changed_does_not_outlive_a_destruction(
    place: int, *, late: bool
) -> None:
    """Nobody can tell any more whose it was. It was found before as it should be, or it was not."""
    disk = Disk()
    made(disk)
    with opening(disk) as vault:
        hers, his = await keep(vault, ANN), await keep(vault, BOB)
        for _ in range(2 if late else 1):
            await destroy(vault, ELSEWHERE)
        record = bytearray(disk.files["segment-1-1"])
        record[place] ^= 1
        disk.files["segment-1-1"] = bytes(record)
        old = set(disk.files) - {SLOTS}
        await destroy(vault, ANN)
        left = vault.find(next(iter(his)))

    assert left == next(iter(his.values()))
    assert old & set(disk.files) == set()
    with opening(disk) as vault:
        gone = place >= 2 * TAG_BYTES
        assert [vault.find(name) if gone else None for name in hers] == [None]


async def test_zeros_are_no_key_that_was_destroyed() -> None:
    """That one was is told by a record of its own: not by what a disk loses, nor by its like from
    another place; and no later destruction takes that for true."""
    disk = Disk()
    made(disk)
    with opening(disk) as vault:
        first, second, third = await keep(vault, ANN, BOB, "message.c1.m3")
        await destroy(vault, BOB)
    gone = disk.files["segment-1-2"][RECORD_BYTES : 2 * RECORD_BYTES]
    disk.files["segment-1-2"] = bytes(RECORD_BYTES) + gone + gone
    with opening(disk) as vault:
        for _ in range(2):
            for name in (first, third):
                with pytest.raises(KeyDamaged):
                    vault.find(name)
            assert vault.find(second) is None
            await destroy(vault, ELSEWHERE)


async def test_a_segment_that_was_cut_is_told_of(tmp_path: Path) -> None:
    """At the next start and by the next destruction, once another process has begun its own."""
    directory = Directory(tmp_path / "vault")
    made(directory)
    with opening(directory) as vault:
        await keep(vault, ANN, BOB)
    with opening(Directory(directory.path)) as vault:
        await keep(vault, ELSEWHERE)
        (directory.path / "segment-1-1").write_bytes(b"")

        with pytest.raises(VaultUnusable, match="only a part of its file segment-1-1"):
            await destroy(vault, ANN)
        with pytest.raises(VaultUnusable, match="only a part of its file segment-1-1"):
            opened(Directory(directory.path))
        (directory.path / "segment-1-1").unlink()
        with pytest.raises(VaultUnusable, match="lost its file segment-1-1"):
            await destroy(vault, ANN)


def _open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="only Linux tells what is open")
async def test_erasing_again_and_again_keeps_no_files_open(tmp_path: Path) -> None:
    """Whoever writes goes on in its own segment unless that was rewritten."""
    directory = Directory(tmp_path / "vault")
    made(directory)
    with opening(directory) as one, opening(Directory(directory.path)) as other:
        await keep(one, *(f"message.c1.old{nth}" for nth in range(20)))
        await keep(other, BOB)
        before = _open_files()
        for nth in range(20):
            await keep(one, BOB)
            await keep(other, f"message.c1.new{nth}", BOB)
            await destroy(one, f"message.c1.old{nth}")
            if nth % 4 == 0:
                await destroy(one, f"message.c1.new{nth}")
        after = _open_files()

    assert after <= before + 2

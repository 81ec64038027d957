"""The vault on a disk that fails, and on one that has changed what it holds."""

from __future__ import annotations

import pytest

from bus.key_table import BLANK, SLOTS
from tests.bus.vaults import ANN, Disk, destroy, opening, slot_text, story


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

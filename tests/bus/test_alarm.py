"""The alarm: what the writer has found stands, whether or not the disk takes it."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from bus import alarm
from bus.alarm import heed
from bus.group_commit import GroupCommit
from bus.log import Damaged
from bus.marks import Reused
from bus.storage import Directory
from schemas.message import MessagePosted
from tests.logs import DEADLINE_S, fresh_bus, settings, told

HI = MessagePosted(content="Hi.")


class Full(Directory):
    """A directory that takes nothing, until there is room."""

    room = False
    refused = 0

    def replace(self, name: str, data: bytes) -> None:
        if not self.room:
            self.refused += 1
            raise OSError(28, "No space left on device")
        super().replace(name, data)


def found(writer: GroupCommit, error: Reused) -> None:
    """What *writer* does when the broker gives a position again."""
    writer.damaged, writer.reused = str(error), error


async def test_a_reuse_that_cannot_be_written_down_stops_the_writer_until_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    knobs = settings(tmp_path, alarm_every_s=0.01)
    full = Full(tmp_path / "marks-aside")
    async with fresh_bus(knobs) as bus:
        monkeypatch.setattr(alarm, "storage", lambda _: full)
        writer = bus.log.writer
        found(writer, Reused(5, 99))
        with capture_logs() as logged:
            heeding = asyncio.create_task(heed(writer, knobs))
            async with asyncio.timeout(DEADLINE_S):
                while full.refused < 3:
                    await asyncio.sleep(0.001)
            with pytest.raises(Damaged, match="position 5"):
                await told(bus.log, HI, "general.M1")
            full.room = True
            async with asyncio.timeout(DEADLINE_S):
                while "canopy vouch" not in writer.damaged:
                    await asyncio.sleep(0.001)
        standing = alarm.Alarm(full).standing()
        heeding.cancel()
        await asyncio.wait([heeding])

    assert standing is not None
    assert (standing.kind, standing.seq) == ("number_reused", 5)
    assert writer.reused is None
    assert [one["event"] for one in logged].count("alarm_unwritten") == 1

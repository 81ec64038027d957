"""Room on the disk: the log is shut before the disk is full, and opened when there is room."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from bus.disk import SPARE, SPARE_FILES, Room, free_room, keep_reserve, shortage
from bus.log import Unstored
from schemas.message import MessagePosted
from schemas.settings import MIB
from tests.logs import DEADLINE_S, fresh_bus, settings, told

HI = MessagePosted(content="Hi.")


def test_a_shortage_names_what_is_free_what_is_kept_and_what_to_do(tmp_path: Path) -> None:
    knobs = settings(tmp_path, disk_reserve_bytes=256 * MIB)

    assert shortage(knobs, lambda _: Room(256 * MIB, 9999)) == ""
    assert shortage(knobs, lambda _: Room(255 * MIB, 9999)) == (
        "the disk has 255 MiB free and Canopy keeps 256 MiB in reserve: make room first"
    )


def test_the_disk_of_a_broker_elsewhere_is_not_ours_to_judge(tmp_path: Path) -> None:
    knobs = settings(tmp_path, nats_url="nats://far.example:4222")

    assert shortage(knobs, lambda _: Room(0, 0)) == ""


def test_what_is_free_is_what_the_disk_says(tmp_path: Path) -> None:
    assert min(free_room(tmp_path)) > 0


async def test_the_log_is_shut_while_the_disk_is_short_and_read_all_the_same(
    tmp_path: Path,
) -> None:
    """And takes commits again when there is room."""
    knobs = settings(tmp_path, disk_look_every_s=0.01)
    left = [1 * MIB]
    async with fresh_bus(knobs) as bus:
        await told(bus.log, HI, "general.M1")
        keeping = asyncio.create_task(
            keep_reserve(bus.log.writer, knobs, lambda _: Room(left[0], 9999))
        )
        with capture_logs() as logged:
            async with asyncio.timeout(DEADLINE_S):
                while not bus.log.writer.shut:
                    await asyncio.sleep(0)
            with pytest.raises(Unstored, match="has 1 MiB free"):
                await told(bus.log, HI, "general.M2")
            read = await bus.log.read("message", "general.M1")
            left[0] = 1024 * MIB
            async with asyncio.timeout(DEADLINE_S):
                while bus.log.writer.shut:
                    await asyncio.sleep(0)
        second = await told(bus.log, HI, "general.M2")
        keeping.cancel()
        await asyncio.wait([keeping])

    assert ([commit.seq for commit in read], second) == ([1], 2)
    assert [line["event"] for line in logged] == ["disk_short", "disk_freed"]


async def test_a_spare_whose_last_file_got_no_room_is_made_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    knobs = settings(tmp_path, disk_look_every_s=0.01, disk_spare_bytes=SPARE_FILES * 4096)
    allocate, calls = os.posix_fallocate, list[int]()

    def refusing_once(descriptor: int, offset: int, count: int) -> None:
        calls.append(count)
        if len(calls) == SPARE_FILES:
            raise OSError(28, "No space left on device")
        allocate(descriptor, offset, count)

    monkeypatch.setattr(os, "posix_fallocate", refusing_once)
    async with fresh_bus(knobs) as bus:
        keeping = asyncio.create_task(
            keep_reserve(bus.log.writer, knobs, lambda _: Room(64 * 1024 * MIB, 1 << 20))
        )
        async with asyncio.timeout(DEADLINE_S):
            while len(calls) < 2 * SPARE_FILES:
                await asyncio.sleep(0.005)
        keeping.cancel()
        await asyncio.wait([keeping])

    sizes = [one.stat().st_size for one in (tmp_path / SPARE).iterdir()]
    assert sizes == [4096] * SPARE_FILES

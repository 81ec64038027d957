"""Copies of a node's log: taken while it runs and is written to, and while it is stopped."""

from __future__ import annotations

import asyncio
import shutil
from contextlib import closing
from pathlib import Path
from secrets import token_hex

import pytest

from actors.archive import Archive, tables_of
from actors.archive_files import Taken, opened, workplace
from actors.projection_file import ProjectionFile
from actors.rooms import statements
from bus.alarm import Broken, Fault, sound
from bus.chain import Place
from bus.identity_file import NoNode
from bus.ledger import Ledger
from bus.log import Stored
from bus.marks import DIRECTORY, storage
from gateway.backup import WORKPLACE, NoRoom, backup, export, reading
from gateway.bench.volume import volume
from gateway.cli import copying
from gateway.cli.exits import Failure
from gateway.cli.terminal import Terminal
from schemas.message import MessagePosted
from schemas.settings import MIB, Settings
from tests.canopy import Caller, running
from tests.logs import fresh_bus, settings, told


def quiet(done: int, total: int) -> None:
    """Nobody looks on."""


async def say(ann: Caller, text: str) -> int:
    """The position of a message of ann's."""
    body = {"channel_id": "general", "content": text}
    return int((await ann.post("/channels/messages", body))["seq"])


def copied(path: Path) -> list[Stored]:
    """The commits of an archive."""
    with opened(path) as files:
        archive = Archive(files)
        return [one for part in archive.manifest.parts for one in archive.commits(part)]


async def lying(knobs: Settings, until: int) -> list[Stored]:
    """The commits in the log of the node in the settings' directory."""
    async with reading(knobs) as bus:
        return [one async for page in bus.log.tail(0, until) for one in page]


async def test_what_was_acknowledged_before_a_backup_began_is_in_it(tmp_path: Path) -> None:
    """F-42: taken under load. A copy without its last commit would be found out."""
    knobs = settings(tmp_path / "data", archive_part_commits_max=20)
    async with running(tmp_path / "data", log_bytes_max=64 * MIB) as canopy:
        ann = await canopy.owner()
        stop = asyncio.Event()
        acknowledged: list[int] = []

        async def talk() -> None:
            while not stop.is_set():
                acknowledged.append(await say(ann, "and on"))

        async with asyncio.TaskGroup() as group:
            for _ in range(8):
                group.create_task(talk())
            while len(acknowledged) < 100:
                await asyncio.sleep(0)
            before = acknowledged[:]
            manifest = await backup(knobs, tmp_path / "b", quiet)
            stop.set()
        found = copied(tmp_path / "b")

        assert lost(before, found) == []
        assert lost(before, found[: max(before) - 1]) == [max(before)]
        assert found == await lying(knobs, manifest.last)
        assert len(manifest.parts) > 1
        assert manifest.node == canopy.up.node


def lost(acknowledged: list[int], found: list[Stored]) -> list[int]:
    """The positions that were acknowledged and are not in a copy."""
    return sorted(set(acknowledged) - {one.seq for one in found})


async def test_a_log_that_is_not_what_was_written_is_not_copied(tmp_path: Path) -> None:
    """Without what is known beside the log, nobody would notice."""
    knobs = settings(tmp_path / "data")
    async with fresh_bus(knobs) as bus:
        for nth in range(3):
            await told(bus.log, MessagePosted(content="Hi."), f"general.M{nth}")
        kept = storage(knobs)
        Ledger.begin(kept, bus.log.epoch).keep([], Place(3, b"x" * 32))
        kept.close()
    with pytest.raises(Broken, match="is not what was written"):
        await export(knobs, tmp_path / "log", quiet)
    there = (tmp_path / "log").exists()
    shutil.rmtree(tmp_path / "data" / DIRECTORY)
    await export(knobs, tmp_path / "log", quiet)

    assert not there
    assert len(copied(tmp_path / "log")) == 3


async def test_a_log_that_has_lost_its_tail_is_not_copied(tmp_path: Path) -> None:
    """Nor one that the alarm stands for: what is left of it would pass for a backup."""
    knobs = settings(tmp_path / "data")
    async with fresh_bus(knobs) as bus:
        for nth in range(3):
            await told(bus.log, MessagePosted(content="Hi."), f"general.M{nth}")
        kept = storage(knobs)
        Ledger.begin(kept, bus.log.epoch).keep([], Place(5, b"x" * 32))
        kept.close()
    with pytest.raises(Broken, match=r"ends at 3, and 5 was acknowledged.*canopy restore"):
        await backup(knobs, tmp_path / "log.tar", quiet)
    shutil.rmtree(tmp_path / "data" / DIRECTORY)
    sound(knobs, Fault("commit_changed", 2, "a commit is not what it was"))
    with pytest.raises(Broken, match=r"from position 2.*canopy restore"):
        await backup(knobs, tmp_path / "log.tar", quiet)

    assert not (tmp_path / "log.tar").exists()


@pytest.mark.usefixtures("disks")
async def test_a_disk_that_fills_up_meanwhile_leaves_nothing_behind(tmp_path: Path) -> None:
    knobs = settings(tmp_path / "data", disk_reserve_bytes=0, archive_part_commits_max=200)
    async with fresh_bus(knobs) as bus:
        noise = [token_hex(4000) for _ in range(600)]  # 4.8 MB, half of that packed, twice.
        async with asyncio.TaskGroup() as group:
            for nth, text in enumerate(noise):
                group.create_task(told(bus.log, MessagePosted(content=text), f"general.M{nth}"))
    with volume(tmp_path / "disk", 4 * MIB) as disk:
        with pytest.raises(Failure, match="The disk is full") as full:
            await asyncio.to_thread(copying.backup, knobs, disk.path / "b", Terminal(True), None)
        left = sorted(one.name for one in disk.path.iterdir())

    assert full.value.code == "disk_full"
    assert left == ["lost+found"]


async def test_the_manifest_tells_the_tables_that_the_node_has(tmp_path: Path) -> None:
    knobs = settings(tmp_path / "data")
    async with running(tmp_path / "data", log_bytes_max=64 * MIB) as canopy:
        await say(await canopy.owner(), "Hi.")
    manifest = await export(knobs, tmp_path / "log", quiet)
    (live,) = (tmp_path / "data" / "projection").glob("*.duckdb")
    with closing(ProjectionFile(live, statements(), manifest.epoch, 256 * MIB)) as file:
        assert file.seq == manifest.last
        assert tables_of(file) == manifest.tables


async def test_where_no_node_is_none_is_made(tmp_path: Path) -> None:
    with pytest.raises(NoNode, match="There is no node"):
        await export(settings(tmp_path / "data"), tmp_path / "log", quiet)

    assert list(tmp_path.iterdir()) == []


async def test_one_copy_of_a_node_is_taken_at_a_time_and_none_over_another(tmp_path: Path) -> None:
    knobs = settings(tmp_path / "data")
    async with running(tmp_path / "data", log_bytes_max=64 * MIB):
        with workplace(tmp_path / "data" / WORKPLACE), pytest.raises(Taken, match="another"):
            await export(knobs, tmp_path / "log", quiet)
        await export(knobs, tmp_path / "log", quiet)
        with pytest.raises(Taken, match="there already"):
            await export(knobs, tmp_path / "log", quiet)

    assert sorted(one.name for one in tmp_path.iterdir()) == ["data", "log"]


async def test_a_copy_leaves_the_disk_its_reserve(tmp_path: Path) -> None:
    async with running(tmp_path / "data", log_bytes_max=64 * MIB):
        knobs = settings(tmp_path / "data", disk_reserve_bytes=2**62)
        with pytest.raises(NoRoom, match="stay in reserve"):
            await export(knobs, tmp_path / "log", quiet)

    assert [one.name for one in tmp_path.iterdir()] == ["data"]

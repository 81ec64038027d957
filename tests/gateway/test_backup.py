"""Copies of a node's log: taken while it runs and is written to, and while it is stopped."""

from __future__ import annotations

import asyncio
from contextlib import closing
from pathlib import Path

import pytest

from actors.archive import Archive, tables_of
from actors.archive_files import Taken, opened, workplace
from actors.projection_file import ProjectionFile
from actors.rooms import statements
from bus.log import Stored
from gateway.backup import WORKPLACE, NoNode, NoRoom, export, reading
from schemas.settings import MIB, Settings
from tests.canopy import Caller, running
from tests.logs import settings


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


async def test_what_was_acknowledged_before_an_export_began_is_in_it(tmp_path: Path) -> None:
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
            before = max(acknowledged)
            manifest = await export(knobs, tmp_path / "log", quiet)
            stop.set()
        found = copied(tmp_path / "log")

        assert manifest.last >= before
        assert found == await lying(knobs, manifest.last)
        assert len(manifest.parts) > 1
        assert manifest.node == canopy.up.node


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

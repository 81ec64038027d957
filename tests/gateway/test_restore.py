"""A node made of an archive: what it answers, what it is, and that nothing is half-made."""

from __future__ import annotations

import asyncio
import json
import shutil
import signal
import subprocess
from pathlib import Path
from typing import Any, get_args

import pytest
from msgspec.structs import replace

from actors.archive import Archive
from actors.archive_files import Damaged, Taken, opened
from bus.faults import CopyPoint
from bus.identity_file import FILE, RESTORING, IdentityUnusable, PassphraseWeak, identify
from bus.refill import refill
from gateway.backup import NoRoom, export
from gateway.draft import Draft
from gateway.restore import Wish, prove, restore
from schemas.settings import MIB
from tests.actors.test_archive import resigned
from tests.canopy import Caller, Canopy, running
from tests.gateway.cli.conftest import CANOPY, environment
from tests.gateway.test_backup import copied, lying, quiet, say
from tests.logs import fresh_bus, settings


async def talked(canopy: Canopy) -> tuple[Caller, str]:
    """Ann, who owns the workspace and has said this and that; and a message that bob likes."""
    ann = await canopy.owner()
    bob = await canopy.register("bob")
    for nth in range(30):
        await say(ann if nth % 2 else bob, f"message {nth} ✓")
    posted = await ann.post("/channels/messages", {"channel_id": "general", "content": "Hi."})
    message = posted["message"]["id"]
    await bob.post(f"/channels/general/messages/{message}/like", {"reaction_type": "like"})
    return ann, message


async def test_a_passphrase_that_can_be_guessed_is_refused_before_anything(tmp_path: Path) -> None:
    with pytest.raises(PassphraseWeak):
        await restore(settings(tmp_path / "new", passphrase="short"), tmp_path / "b", quiet)

    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("wish", [{"content": "Hi."}, {"content": ""}], ids=["done", "refused"])
async def test_without_keys_what_was_dealt_with_is_not_done_again(
    tmp_path: Path, wish: dict[str, str]
) -> None:
    """The answer cannot be read any more; that there was one is known, also to who asks why."""
    body = {"channel_id": "general", **wish}
    headers = {"Idempotency-Key": "k1", "X-Correlation-ID": "c1"}
    sent = ("POST", "/channels/messages", body, headers)
    async with running(tmp_path / "old", log_bytes_max=64 * MIB) as canopy:
        ann = await canopy.owner()
        await ann.call(*sent)
        await export(settings(tmp_path / "old"), tmp_path / "log", quiet)
    await restore(settings(tmp_path / "new"), tmp_path / "log", quiet, Wish())
    async with running(tmp_path / "new", log_bytes_max=64 * MIB) as canopy:
        again = Caller(canopy.http, canopy.up.url, ann.id, ann.key)
        why, _, told = await again.call("GET", "/why/c1")
        head = (await again.get("/log?limit=1"))["head"]
        status, _, problem = await again.call(*sent)
        after = (await again.get("/log?limit=1"))["head"]

    assert (why, told["refusals"]) == (200, [])
    assert (status, problem["code"]) == (409, "answer_unreadable")
    assert 0 < problem["seq"] <= head == after


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An export of a node on which somebody has talked, in parts of ten commits."""
    place = tmp_path_factory.mktemp("archive")

    async def made() -> None:
        async with running(place / "old", log_bytes_max=64 * MIB) as canopy:
            await talked(canopy)
        await export(settings(place / "old", archive_part_commits_max=10), place / "log", quiet)

    asyncio.run(made())
    return place / "log"


def cli(point: str, *words: str) -> subprocess.CompletedProcess[str]:
    """`canopy` with these words, which dies at *point* if there is one."""
    env = environment(
        Path(words[-1]).parent, CANOPY_FAULT=point, CANOPY_LOG_BYTES_MAX=str(64 * MIB)
    )
    return subprocess.run(
        [CANOPY, *words], env=env, capture_output=True, text=True, check=False, timeout=60
    )


def startable(data: Path) -> bool:
    """Whether a node could start there."""
    try:
        identify(data)
    except IdentityUnusable:
        return False
    return True


@pytest.mark.slow
def test_a_restore_that_is_killed_anywhere_ends_well_when_it_is_run_again(
    archive: Path, tmp_path: Path
) -> None:
    """One data directory; the same restore dies at one place after the other."""
    data = tmp_path / "new"
    words = ("restore", str(archive), "--json", "--data", str(data))
    starts: dict[str, bool] = {}
    for point in DEATHS:
        died = cli(point, *words)
        assert died.returncode == -signal.SIGKILL, (point, died.stderr)
        starts[point] = startable(data)
    ended = cli("", *words)

    assert starts == {point: point == "restore.moved" for point in DEATHS}
    assert ended.returncode == 0, ended.stderr
    assert not (data / RESTORING).exists()
    assert identify(data).node_id == json.loads(ended.stdout)["restored"]
    assert asyncio.run(lying(settings(data), len(copied(archive)))) == copied(archive)


DEATHS = (
    "restore.begun", "restore.refilled:1", "restore.refilled:3", "restore.folded:2",
    "restore.made", "restore.moving", "restore.moved",
)  # fmt: skip


def test_every_place_where_a_copy_may_die_is_tried() -> None:
    tried = {point.partition(":")[0] for point in DEATHS} | {"archive.written"}

    assert tried == set(get_args(CopyPoint))


def test_an_export_that_is_killed_leaves_nothing_that_stands_for_one(tmp_path: Path) -> None:
    identify(tmp_path / "old")
    words = ("export", str(tmp_path / "log"), "--data", str(tmp_path / "old"))
    died = cli("archive.written", *words)
    there = (tmp_path / "log").exists()
    again = cli("", *words)

    assert (died.returncode, there) == (-signal.SIGKILL, False)
    assert again.returncode == 0, again.stderr
    assert copied(tmp_path / "log") == []
    assert sorted(one.name for one in tmp_path.iterdir()) == ["log", "old"]


async def test_an_earlier_attempt_is_compared_and_not_trusted(
    archive: Path, tmp_path: Path
) -> None:
    data = tmp_path / "new"
    with opened(archive) as files:
        whole = Archive(files)
        data.mkdir()
        draft = Draft(data, whole.digest)
        draft.begin()
    others = [replace(one, seq=nth) for nth, one in enumerate(copied(archive)[5:8], 1)]
    async with fresh_bus(settings(draft.path)) as bus:
        await refill(bus.wire, bus.settings, others)
    (draft.path / FILE).unlink()

    with pytest.raises(Damaged, match="not this one"):
        await restore(settings(data), archive, quiet)
    assert not draft.path.exists()


def altered(archive: Path, path: Path, **fields: Any) -> Path:
    """A copy of *archive* whose manifest says something else, signed by another node."""
    shutil.copytree(archive, path)
    resigned(path, None, **fields)
    return path


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"chain": "00" * 32}, "running hash"),
        ({"tables": {"message": (7, "7")}}, "the table account"),
    ],
)
async def test_an_archive_that_says_something_else_as_a_whole_is_refused(
    archive: Path, tmp_path: Path, fields: dict[str, Any], reason: str
) -> None:
    with opened(archive) as files:
        told = Archive(files).manifest.tables
    if "tables" in fields:
        fields = {"tables": replace(told, hashes=fields["tables"])}
    other = altered(archive, tmp_path / "log", **fields)

    with pytest.raises(Damaged, match=reason):
        await prove(settings(tmp_path / "none"), other, quiet)
    with pytest.raises(Damaged, match=reason):
        await restore(settings(tmp_path / "new"), other, quiet)
    assert not (tmp_path / "new" / RESTORING).exists()
    assert not (tmp_path / "none").exists()


async def test_tables_of_another_program_are_made_and_not_compared(
    archive: Path, tmp_path: Path
) -> None:
    with opened(archive) as files:
        told = Archive(files).manifest.tables
    tables = replace(told, version="another", hashes={})
    proven = await prove(
        settings(tmp_path / "none"), altered(archive, tmp_path / "log", tables=tables), quiet
    )

    assert not proven.compared


async def test_what_is_in_a_directory_is_left_alone(archive: Path, tmp_path: Path) -> None:
    mine = tmp_path / "new" / "mine"
    mine.parent.mkdir()
    mine.write_text("mine")

    with pytest.raises(Taken, match=r"not empty \(mine\)"):
        await restore(settings(tmp_path / "new"), archive, quiet)
    assert mine.read_text() == "mine"


async def test_a_new_volume_is_an_empty_place(archive: Path, tmp_path: Path) -> None:
    (tmp_path / "new" / "lost+found").mkdir(parents=True)
    proven = await restore(settings(tmp_path / "new"), archive, quiet)

    assert proven.compared
    assert (tmp_path / "new" / "lost+found").is_dir()


async def test_a_disk_without_room_is_found_before_anything_is_written(
    archive: Path, tmp_path: Path
) -> None:
    knobs = settings(tmp_path / "new", disk_reserve_bytes=2**62)

    with pytest.raises(NoRoom, match="in reserve"):
        await restore(knobs, archive, quiet)
    assert not (tmp_path / "new" / RESTORING).exists()


async def test_another_restore_does_not_take_the_place_of_one_that_is_made(
    archive: Path, tmp_path: Path
) -> None:
    (tmp_path / "new").mkdir()
    draft = Draft(tmp_path / "new", "another")
    draft.begin()
    draft.finish("n1")

    with pytest.raises(Taken, match="another archive"):
        await restore(settings(tmp_path / "new"), archive, quiet)

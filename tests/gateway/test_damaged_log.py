"""A node whose log is not what was written: it says so, takes nothing more, and is read all the
same."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import sys
from asyncio.subprocess import DEVNULL
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from bus.faults import VARIABLE
from bus.topology import Unfit
from gateway.cli.stopped import vouch
from schemas.settings import Settings
from tests.canopy import START_S, Caller, Canopy, running
from tests.logs import DEADLINE_S

CANOPY = str(Path(sys.executable).with_name("canopy"))
HI = {"channel_id": "general", "content": "Hi."}
STREAMS = Path("nats/jetstream/CANOPY/streams")


async def said(directory: Path, count: int) -> Caller:
    """Ann, who has said so many things on a node that has stopped again."""
    async with running(directory) as canopy:
        ann = await canopy.owner()
        for _ in range(count):
            await ann.post("/channels/messages", HI)
    return ann


async def say_more(directory: Path, ann: Caller, count: int = 5) -> None:
    async with running(directory) as canopy:
        ann = there(canopy, ann)
        for _ in range(count):
            await ann.post("/channels/messages", HI)


async def known(canopy: Canopy, position: int) -> None:
    """The tables, made anew, have come to *position*."""
    async with asyncio.timeout(DEADLINE_S):
        while (await canopy.nobody.call("GET", "/readyz"))[2]["position"] < position:
            await asyncio.sleep(0.01)


def there(canopy: Canopy, ann: Caller) -> Caller:
    """Ann on the node that runs now."""
    return replace(ann, http=canopy.http, base=canopy.up.url)


async def problem(caller: Caller, method: str, path: str) -> tuple[int, str]:
    """Status and code of a request that is refused."""
    status, _, answer = await caller.call(method, path, HI if method == "POST" else None)
    return status, answer["code"]


async def test_an_older_log_put_in_its_place_is_read_and_not_written(tmp_path: Path) -> None:
    """The tables, which knew more, are set aside; every process that writes has stopped."""
    node, older = tmp_path / "node", tmp_path / "older"
    ann = await said(node, 3)
    shutil.copytree(node / "nats/jetstream", older)
    await say_more(node, ann)
    shutil.rmtree(node / "nats/jetstream")
    shutil.copytree(older, node / "nats/jetstream")

    async with running(node) as canopy:
        await known(canopy, 8)
        ann = there(canopy, ann)
        ready, _, told = await canopy.nobody.call("GET", "/readyz")
        refused = await problem(ann, "POST", "/channels/messages")
        read = await ann.get("/channels/general/messages")
        health = await canopy.nobody.get("/health")
        status = await ann.get("/node/status")
        _, _, metrics = await ann.call("GET", "/metrics")

    assert (ready, told["code"], refused) == (503, "log_damaged", (503, "log_damaged"))
    assert "canopy restore" in told["detail"]
    assert len(read["messages"]) == 3
    assert health["subsystems"]["workspace_events"] == "damaged"
    assert status["integrity"]["damage"]["kind"] == "tail_lost"
    assert status["integrity"]["damage"]["seq"] == status["head"] + 1
    assert "canopy_log_damaged 1.0" in metrics


async def test_the_alarm_is_lifted_when_the_right_log_is_back(tmp_path: Path) -> None:
    node, older, right = tmp_path / "node", tmp_path / "older", tmp_path / "right"
    ann = await said(node, 3)
    shutil.copytree(node / "nats/jetstream", older)
    shutil.copytree(node / "projection", tmp_path / "tables")
    await say_more(node, ann)
    (node / "nats/jetstream").rename(right)
    older.rename(node / "nats/jetstream")
    shutil.rmtree(node / "projection")
    (tmp_path / "tables").rename(node / "projection")
    async with running(node):
        assert (node / "marks/alarm").exists()
    shutil.rmtree(node / "nats/jetstream")
    right.rename(node / "nats/jetstream")

    async with running(node) as canopy:
        ann = there(canopy, ann)
        async with asyncio.timeout(DEADLINE_S):
            while (await ann.call("POST", "/channels/messages", HI))[0] != 201:
                await asyncio.sleep(0.05)
        read = await ann.get("/channels/general/messages")

    assert len(read["messages"]) == 9
    assert not (node / "marks/alarm").exists()


async def test_an_owner_may_vouch_for_the_log_as_it_is(tmp_path: Path) -> None:
    node, older = tmp_path / "node", tmp_path / "older"
    ann = await said(node, 3)
    shutil.copytree(node / "nats/jetstream", older)
    await say_more(node, ann)
    shutil.rmtree(node / "nats/jetstream")
    older.rename(node / "nats/jetstream")
    settings = Settings(data_directory=node)
    asked = await asyncio.to_thread(vouch, settings, certain=False)
    done = await asyncio.to_thread(vouch, settings, certain=True)
    again = await asyncio.to_thread(vouch, settings, certain=False)

    async with running(node) as canopy:
        await known(canopy, 8)
        ann = there(canopy, ann)
        await ann.post("/channels/messages", HI)
        read = await ann.get("/channels/general/messages")
        ready = await canopy.nobody.get("/readyz")

    assert asked["fault"]["kind"] == "tail_lost"
    assert (asked["vouched"], done["vouched"], again["fault"]) == (False, True, None)
    assert len(read["messages"]) == 4
    assert ready["ready"]


@pytest.mark.parametrize(
    ("damage", "kind"),
    [
        (shutil.rmtree, "marks_absent"),
        (lambda marks: (marks / "ledger").unlink(), "marks_absent"),
        (lambda marks: (marks / "high-0").write_bytes(b"nonsense"), "marks_damaged"),
        (lambda marks: (marks / "tip").write_bytes(b""), "marks_damaged"),
    ],
)
async def test_a_log_beside_which_nothing_can_be_read_is_not_written(
    tmp_path: Path, damage: Callable[[Path], None], kind: str
) -> None:
    ann = await said(tmp_path, 1)
    damage(tmp_path / "marks")

    async with running(tmp_path) as canopy:
        ann = there(canopy, ann)
        refused = await problem(ann, "POST", "/channels/messages")
        status = await ann.get("/node/status")
        read = await ann.get("/channels/general/messages")

    assert refused == (503, "log_damaged")
    assert status["integrity"]["damage"]["kind"] == kind
    assert len(read["messages"]) == 1


async def test_tables_that_know_more_than_the_log_are_witnesses(tmp_path: Path) -> None:
    """Log and marks were put back together, which proves nothing against each other."""
    node, older = tmp_path / "node", tmp_path / "older"
    ann = await said(node, 1)
    for part in ("nats/jetstream", "marks"):
        shutil.copytree(node / part, older / part)
    await say_more(node, ann)
    for part in ("nats/jetstream", "marks"):
        shutil.rmtree(node / part)
        shutil.copytree(older / part, node / part)

    async with running(node) as canopy:
        await known(canopy, 6)
        status = await there(canopy, ann).get("/node/status")
    async with running(node) as canopy:
        refused = await problem(there(canopy, ann), "POST", "/channels/messages")

    assert status["integrity"]["damage"]["kind"] == "tables_ahead"
    assert refused == (503, "log_damaged")


async def test_a_new_log_is_never_begun_where_there_was_one(tmp_path: Path) -> None:
    """What is left of the old one stays as it is, for whoever can read it."""
    await said(tmp_path, 1)
    (tmp_path / STREAMS / "EVT/meta.inf").write_bytes(b"")
    blocks = [path.read_bytes() for path in sorted((tmp_path / STREAMS).rglob("*.blk"))]

    with pytest.raises(Unfit, match=r"log_lost: .* commits were acknowledged: stop the node"):
        async with running(tmp_path):
            pass

    assert [path.read_bytes() for path in sorted((tmp_path / STREAMS).rglob("*.blk"))] == blocks


async def test_a_process_that_dies_when_the_alarm_is_sounded_leaves_it_standing(
    tmp_path: Path,
) -> None:
    ann = await said(tmp_path, 1)
    (tmp_path / "marks/tip").write_bytes(b"")
    kept = {name: value for name, value in os.environ.items() if not name.startswith("CANOPY_")}
    dying = await asyncio.create_subprocess_exec(
        CANOPY, "up", "--data", str(tmp_path), "--port", "0",
        env=kept | {VARIABLE: "alarm.sounded", "XDG_CONFIG_HOME": str(tmp_path / "config")},
        stdout=DEVNULL, stderr=DEVNULL,
    )  # fmt: skip
    async with asyncio.timeout(4 * START_S):
        died = await dying.wait()

    async with running(tmp_path) as canopy:
        refused = await problem(there(canopy, ann), "POST", "/channels/messages")

    assert died == -signal.SIGKILL
    assert refused == (503, "log_damaged")


async def test_another_log_in_its_place_is_foreign(tmp_path: Path) -> None:
    ann = await said(tmp_path / "ours", 1)
    await said(tmp_path / "theirs", 5)
    shutil.rmtree(tmp_path / "ours/nats/jetstream")
    shutil.copytree(tmp_path / "theirs/nats/jetstream", tmp_path / "ours/nats/jetstream")

    async with running(tmp_path / "ours") as canopy:
        status, _, told = await canopy.nobody.call("GET", "/readyz")

    assert (status, told["code"]) == (503, "log_damaged")
    assert "not the log that was written here" in told["detail"]
    assert ann.id

"""A restored node beside the one it was made of: it answers the same, and is another."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlencode

from bus.identity_file import identify
from gateway.backup import export
from gateway.restore import Wish, restore
from gateway.routes import ROUTES
from schemas.settings import MIB
from tests.canopy import Caller, Canopy, running
from tests.gateway.test_backup import quiet, say
from tests.gateway.test_restore import talked
from tests.logs import settings

OWN = frozenset(
    {
        "/",
        "/docs",
        "/health",
        "/info",
        "/live",
        "/metrics",
        "/openapi.json",
        "/node/status",
        "/session",
        "/trace/{id}",
        "/why/{id}",
        "/version",
    }
)
"""What a node answers of itself, from what it has seen while it ran, or to a browser."""
CURSOR = re.compile(r'"(next|prev)": "[^"]*"')


async def seen(ann: Caller, message: str) -> dict[str, tuple[int, str]]:
    """What every read answers but those of the node itself, without what it signs."""
    ids = {
        "channel_id": "general",
        "message_id": message,
        "account_id": ann.id,
        "seq": "10",
        "code": "not_found",
        "id": message,
    }
    words = {"q": "message", "query": "message", "channel_id": "general", "message_id": message}
    paths = [route.path for route in ROUTES if route.method == "GET" and route.path not in OWN]
    answers: dict[str, tuple[int, str]] = {}
    epoch: str = (await ann.get("/log?limit=1"))["epoch"]
    for path in paths:
        asked = urlencode({n: v for n, v in words.items() if f"{{{n}}}" not in path})
        status, _, body = await ann.call("GET", f"{path.format(**ids)}?{asked}")
        if status == 400:  # It takes no such word.
            status, _, body = await ann.call("GET", path.format(**ids))
        told = CURSOR.sub("", json.dumps(body).replace(epoch, "").replace(ann.base, ""))
        answers[path] = (status, told)
    return answers


@dataclass(frozen=True)
class Known:
    """A node as it was: what ann, who has its key, was answered, who it was, and where it ended."""

    ann: Caller
    message: str
    answers: dict[str, tuple[int, str]]
    node: str
    head: int


async def known(canopy: Canopy, ann: Caller, message: str) -> Known:
    """The node as it is."""
    head = (await ann.get("/log?limit=1"))["head"]
    return Known(ann, message, await seen(ann, message), canopy.up.node, head)


async def differences(directory: Path, was: Known) -> set[str]:
    """In what the node there is not another one that answers as the one that *was*: paths of reads;
    `node` if it is the same one, `setup` if it knows no owner, `verify` if its tables are not what
    its log says, `head` if it does not go on at the next position."""
    async with running(directory, log_bytes_max=64 * MIB) as canopy:
        ann = Caller(canopy.http, canopy.up.url, was.ann.id, was.ann.key)
        after = await seen(ann, was.message)
        _, _, verified = await ann.call("POST", "/node/verify")
        body = {"channel_id": "general", "content": "and on"}
        _, _, posted = await ann.call("POST", "/channels/messages", body)
    alike = {path: answer == was.answers[path] for path, answer in after.items()} | {
        "node": canopy.up.node != was.node,
        "setup": canopy.up.setup_code == "",
        "verify": verified.get("difference", "unknown") is None,
        "head": posted.get("seq") == was.head + 1,
    }
    return {name for name, is_alike in alike.items() if not is_alike}


async def test_a_restored_node_answers_the_same_and_is_another(tmp_path: Path) -> None:
    async with running(tmp_path / "old", log_bytes_max=64 * MIB) as canopy:
        was = await known(canopy, *await talked(canopy))
        await export(settings(tmp_path / "old"), tmp_path / "log", quiet)
    proven = await restore(settings(tmp_path / "new"), tmp_path / "log", quiet, Wish(reread=True))

    assert proven.compared
    assert [path for path, (status, _) in was.answers.items() if status != 200] == []
    assert await differences(tmp_path / "new", was) == set()
    assert (identify(tmp_path / "new").node_id, proven.manifest.last) == (proven.node, was.head)


async def test_files_copied_at_two_moments_are_the_same_node_with_other_answers(
    tmp_path: Path,
) -> None:
    """The proof that the test before this one can fail: without an archive the log is copied, then
    somebody says something, then the rest is copied."""
    old, new = tmp_path / "old", tmp_path / "new"
    async with running(old, log_bytes_max=64 * MIB) as canopy:
        ann, message = await talked(canopy)
    shutil.copytree(old / "nats", new / "nats")
    async with running(old, log_bytes_max=64 * MIB) as canopy:
        ann = Caller(canopy.http, canopy.up.url, ann.id, ann.key)
        await say(ann, "meanwhile")
        was = await known(canopy, ann, message)
    shutil.rmtree(old / "nats")
    shutil.copytree(old, new, dirs_exist_ok=True)

    found = await differences(new, was)
    assert found >= {"node", "verify", "head", "/channels/{channel_id}/messages"}

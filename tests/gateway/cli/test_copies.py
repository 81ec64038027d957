"""The guide to backups does what it says: its commands, typed one after the other."""

from __future__ import annotations

import asyncio
import json
import shlex
import subprocess
from pathlib import Path

import aiohttp
import pytest

from schemas.settings import MIB
from tests.canopy import PASSWORD, Canopy, running
from tests.gateway.cli.conftest import CANOPY, Type, environment
from tests.test_docs import DOCS, shown

GUIDE = DOCS / "guides" / "back-up-and-restore.md"
SECRET = "correct horse battery staple"
ANOTHER = "Another-horse-8"


def typed(line: str, place: Path) -> subprocess.CompletedProcess[str]:
    """What comes of one command of the guide, typed in *place*, where the node lies in `data`."""
    env = environment(
        place, CANOPY_DATA="data", CANOPY_BACKUP_PASSPHRASE=SECRET, CANOPY_PASSWORD=ANOTHER,
        CANOPY_LOG_BYTES_MAX=str(64 * MIB),
    )  # fmt: skip
    words = shlex.split(line, comments=True)
    return subprocess.run(
        [CANOPY, *words[1:]], cwd=place, env=env, capture_output=True, text=True,
        check=False, timeout=90,
    )  # fmt: skip


async def signed_in(canopy: Canopy, password: str) -> int:
    """The status of ann's attempt to sign in."""
    login = {"username": "ann", "password": password}
    async with (
        aiohttp.ClientSession() as http,
        http.post(f"{canopy.up.url}/api/v1/session", json=login) as response,
    ):
        return response.status


@pytest.mark.slow
@pytest.mark.timeout(180)
async def test_the_guide_can_be_followed(tmp_path: Path) -> None:
    commands = [
        line for line in shown(GUIDE.read_text("utf-8")) if not line.startswith("canopy up")
    ]
    async with running(tmp_path / "data", log_bytes_max=64 * MIB) as canopy:
        await canopy.owner()
        nodes = {canopy.up.node}
        ran = {line: await asyncio.to_thread(typed, line, tmp_path) for line in commands}
    failed = {line: one.stderr for line, one in ran.items() if one.returncode}
    statuses: dict[str, int] = {}
    for name, password in (("restored", PASSWORD), ("yesterday", ANOTHER), ("imported", PASSWORD)):
        async with running(tmp_path / name, log_bytes_max=64 * MIB) as canopy:
            statuses[name] = await signed_in(canopy, password)
            nodes.add(canopy.up.node)

    assert failed == {}
    assert statuses == {"restored": 201, "yesterday": 201, "imported": 401}
    assert len(nodes) == 4


async def test_a_copy_tells_a_program_what_it_holds(tmp_path: Path) -> None:
    async with running(tmp_path / "data", log_bytes_max=64 * MIB) as canopy:
        told = json.loads(
            (await asyncio.to_thread(typed, "canopy backup b --json", tmp_path)).stdout
        )

    assert told["node"] == canopy.up.node
    assert (told["path"], told["keys"], told["last"] > 0) == ("b", False, True)
    assert told["bytes"] == (tmp_path / "b").stat().st_size


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (("backup", "b", "--data", "DIR"), "node_absent"),
        (("backup", "none/b", "--data", "DIR"), "within_data"),
        (("export", "none/a/log", "--data", "DIR"), "within_data"),
        (("restore", "b", "--data", "DIR"), "usage"),
        (("restore", "cut"), "data_needed"),
        (("restore", "cut", "--verify"), "damaged"),
        (("import", "empty", "--data", "DIR"), "damaged"),
        (("import", "cut"), "data_needed"),
        (("user", "password", "ann", "--data", "DIR"), "node_absent"),
    ],
)
def test_what_cannot_be_done_is_told_with_the_remedy(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    type_in: Type,
    words: tuple[str, ...],
    error: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CANOPY_PASSWORD", ANOTHER)
    (tmp_path / "cut").write_bytes(b"canopy")
    (tmp_path / "empty").mkdir()
    told = type_in(*(str(tmp_path / "none") if word == "DIR" else word for word in words), "--json")
    problem = json.loads(told.err)

    assert told.code in (1, 2)
    assert problem["error"] == error
    assert problem["remedy"]


def test_a_passphrase_that_can_be_guessed_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, type_in: Type
) -> None:
    monkeypatch.setenv("CANOPY_BACKUP_PASSPHRASE", "short")
    told = type_in("backup", str(tmp_path / "b"), "--with-keys", "--data", str(tmp_path), "--json")

    assert json.loads(told.err)["error"] == "passphrase_weak"


async def test_an_import_loses_no_keys_without_a_word(tmp_path: Path) -> None:
    async with running(tmp_path / "data", log_bytes_max=64 * MIB):
        taken = await asyncio.to_thread(typed, "canopy backup b --with-keys --json", tmp_path)
    said = await asyncio.to_thread(typed, "canopy import b --data new --json", tmp_path)
    told = json.loads(said.stderr)

    assert json.loads(taken.stdout)["keys"] is True
    assert (said.returncode, told["error"]) == (2, "has_keys")
    assert told["remedy"] == "canopy restore b --data new"
    assert not (tmp_path / "new").exists()


def test_an_import_is_not_told_of_options_that_it_lacks(tmp_path: Path, type_in: Type) -> None:
    (tmp_path / "cut").touch()
    told = type_in("import", str(tmp_path / "cut"), "--json")

    assert "--verify" not in json.loads(told.err)["remedy"]

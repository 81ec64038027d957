"""The keys of a node on their way into a backup: with a vault that opens, or not at all."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from bus.crypto.content import Unsealable
from bus.crypto.identity import Identity
from bus.crypto.passphrase import Cost
from bus.identity_file import FILE, identify
from bus.key_copy import opened_keys, sealed_keys
from bus.key_table import VaultUnusable
from bus.vault_file import vault_in
from tests.logs import DEADLINE_S

SECRET = "correct horse battery staple"
CHEAP = Cost(1, 8192)
HARMS = ["gone", "half", "short", "unnamed"]


def harm(directory: Path, how: str) -> None:
    """The vault there comes to it, so that no node starts on it any more."""
    vault = directory / "vault"
    match how:
        case "gone":
            shutil.rmtree(vault)
        case "half":
            (vault / "keys").write_bytes((vault / "keys").read_bytes()[:100])
        case "short":
            (vault / "segment-1-1").unlink()
        case "unnamed":
            named = json.loads((directory / FILE).read_text())
            (directory / FILE).write_text(json.dumps(named | {"vault": ""}))


async def made(directory: Path) -> Identity:
    """A node whose vault holds one key."""
    node = identify(directory)
    vault = vault_in(directory, node)
    await vault.keep("message.c.m1", DEADLINE_S)
    vault.close()
    return node


async def test_keys_come_out_as_they_went_in(tmp_path: Path) -> None:
    node = await made(tmp_path)
    keys = opened_keys(sealed_keys(tmp_path, node, SECRET, CHEAP), SECRET)

    assert keys.root == node.secrets.root
    assert [(one.name, one.data) for one in keys.files] == [
        (name, (tmp_path / "vault" / name).read_bytes())
        for name in ("keys", "segment-1-1", "table-1")
    ]


def test_a_node_without_a_vault_has_a_root_alone(tmp_path: Path) -> None:
    node = identify(tmp_path)
    keys = opened_keys(sealed_keys(tmp_path, node, SECRET, CHEAP), SECRET)

    assert (keys.root, keys.vault, keys.files) == (node.secrets.root, "", ())
    assert not (tmp_path / "vault").exists()


@pytest.mark.parametrize("how", HARMS)
async def test_a_vault_that_does_not_open_is_not_sealed(tmp_path: Path, how: str) -> None:
    node = await made(tmp_path)
    harm(tmp_path, how)
    there = sorted(tmp_path.rglob("*"))

    with pytest.raises(VaultUnusable, match="Put back"):
        sealed_keys(tmp_path, node, SECRET, CHEAP)
    assert sorted(tmp_path.rglob("*")) == there


@pytest.mark.parametrize("how", HARMS[:3])
async def test_a_sealed_vault_that_does_not_open_is_no_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    """As one was sealed before anybody looked."""
    node = await made(tmp_path)
    harm(tmp_path, how)
    with monkeypatch.context() as unseen:
        unseen.setattr("bus.vault_file.prove", lambda *_: None)
        sealed = sealed_keys(tmp_path, node, SECRET, CHEAP)

    with pytest.raises(Unsealable, match="not whole"):
        opened_keys(sealed, SECRET)

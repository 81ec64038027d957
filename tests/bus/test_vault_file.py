"""A node and its vault belong together: no new vault is made over what an old one has sealed."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from bus.crypto.identity import Identity
from bus.crypto.passphrase import Cost, lock
from bus.identity_file import FILE, identify, name_vault, vault_name
from bus.key_table import SLOTS, VaultUnusable
from bus.vault_file import vault_in
from tests.bus.vaults import WAIT_S

CHEAP = Cost(passes=1, memory_bytes=8192)


async def _used(directory: Path) -> tuple[Identity, str, bytes]:
    """The identity in *directory*, which has kept one key; its name, and the key."""
    node = identify(directory)
    vault = vault_in(directory, node)
    kept = await vault.keep("message.c1.m1", WAIT_S)
    vault.close()
    return node, kept.name, kept.key


def _found(directory: Path, node: Identity, name: str) -> bytes | None:
    vault = vault_in(directory, node)
    try:
        return vault.find(name)
    finally:
        vault.close()


async def test_a_node_finds_its_vault_again(tmp_path: Path) -> None:
    node, name, key = await _used(tmp_path)

    assert _found(tmp_path, node, name) == key
    assert len(vault_name(tmp_path)) == 16


async def test_an_identity_that_is_sealed_later_keeps_its_vault(tmp_path: Path) -> None:
    _, name, key = await _used(tmp_path)
    node = identify(tmp_path, "correct horse", CHEAP)

    assert _found(tmp_path, node, name) == key


async def test_a_vault_that_is_gone_is_not_made_anew(tmp_path: Path) -> None:
    node, _, _ = await _used(tmp_path)
    shutil.rmtree(tmp_path / "vault")

    for _ in range(2):
        with pytest.raises(VaultUnusable, match=r"is not there.*backup"):
            vault_in(tmp_path, node)


async def test_another_nodes_vault_is_refused(tmp_path: Path) -> None:
    node, _, _ = await _used(tmp_path / "one")
    await _used(tmp_path / "two")
    shutil.rmtree(tmp_path / "one" / "vault")
    shutil.copytree(tmp_path / "two" / "vault", tmp_path / "one" / "vault")

    with pytest.raises(VaultUnusable, match="another node's"):
        vault_in(tmp_path / "one", node)


async def test_a_vault_that_was_not_finished_is_begun_again(tmp_path: Path) -> None:
    """It had no name yet, so nothing was ever sealed under it."""
    node = identify(tmp_path)
    (tmp_path / "vault").mkdir()
    (tmp_path / "vault" / SLOTS).write_bytes(b"half")

    vault = vault_in(tmp_path, node)
    kept = await vault.keep("message.c1.m1", WAIT_S)
    vault.close()

    assert _found(tmp_path, node, kept.name) == kept.key


@pytest.mark.parametrize("left", ["segment", "table"])
async def test_an_older_identity_wipes_no_vault(tmp_path: Path, left: str) -> None:
    """One from before the vault had its name, whether or not all of its keys are destroyed."""
    identify(tmp_path)
    old = (tmp_path / FILE).read_text()
    node, _, _ = await _used(tmp_path)
    if left == "table":
        vault = vault_in(tmp_path, node)
        await vault.destroy("message.c1.m1", WAIT_S)
        vault.close()
    there = sorted(one.name for one in (tmp_path / "vault").iterdir())
    (tmp_path / FILE).write_text(old)

    with pytest.raises(VaultUnusable, match=r"names no vault.*backup"):
        vault_in(tmp_path, node)
    assert sorted(one.name for one in (tmp_path / "vault").iterdir()) == there


@pytest.mark.parametrize("meanwhile", [None, "correct horse"])
def test_sealing_forgets_no_vault_that_was_named_meanwhile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, meanwhile: str | None
) -> None:
    """By a process that may have sealed the identity as well."""
    made = identify(tmp_path)

    def overtaken(*words: Any) -> Any:
        monkeypatch.setattr("bus.identity_file.lock", lock)
        identify(tmp_path, meanwhile, CHEAP)
        name_vault(tmp_path, "0123456789abcdef")
        return lock(*words)

    monkeypatch.setattr("bus.identity_file.lock", overtaken)
    found = identify(tmp_path, "correct horse", CHEAP)

    assert found == made == identify(tmp_path, "correct horse", CHEAP)
    assert vault_name(tmp_path) == "0123456789abcdef"

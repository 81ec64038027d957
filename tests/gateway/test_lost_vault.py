"""A vault gone, half there or another's, a wrong passphrase: no start, and no vault made anew."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from bus.crypto.passphrase import Cost
from bus.identity_file import IdentityUnusable, identify
from bus.key_table import VaultUnusable
from tests.canopy import Caller, running
from tests.gateway.test_privacy import MARKER, channel, say

CHEAP = Cost(passes=1, memory_bytes=8192)


async def harmed(place: Path, harm: str) -> tuple[Caller, str]:
    """Ann and her private channel, on a node in `one` below *place*, whose vault has come to
    *harm* since it stopped."""
    async with running(place / "one") as canopy:
        ann = await canopy.owner()
        private = await channel(ann)
        await say(ann, private, MARKER)
    vault = place / "one" / "vault"
    if harm == "half":
        (vault / "keys").write_bytes((vault / "keys").read_bytes()[:100])
        return ann, private
    shutil.rmtree(vault)
    if harm == "foreign":
        async with running(place / "two"):
            pass
        shutil.copytree(place / "two" / "vault", vault)
    return ann, private


def kept(directory: Path) -> list[str]:
    """The files of the vault there, but for its lock."""
    return sorted(one.name for one in (directory / "vault").glob("[a-z]*"))


async def read(
    directory: Path, ann: Caller, private: str, **settings: Any
) -> list[tuple[str, str]]:
    """What she reads in the channel, when the node is started there: (content, how it is kept)."""
    async with running(directory, **settings) as canopy:
        again = Caller(canopy.http, canopy.up.url, ann.id, ann.key)
        found = (await again.get(f"/channels/{private}/messages"))["messages"]
        return [(one["content"], one["crypto_state"]) for one in found]


HARMS = ["gone", "half", "foreign"]


@pytest.mark.parametrize("harm", HARMS)
async def test_no_node_starts_on_a_vault_that_is_not_whole(tmp_path: Path, harm: str) -> None:
    hers = await harmed(tmp_path, harm)
    there = kept(tmp_path / "one")

    with pytest.raises(VaultUnusable, match="Put back the vault"):
        await read(tmp_path / "one", *hers)
    assert kept(tmp_path / "one") == there


@pytest.mark.parametrize("harm", HARMS)
async def test_an_identity_that_does_not_name_its_vault_gets_a_new_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, harm: str
) -> None:
    """The proof that the test before this one can fail: the node starts, and can read nothing of
    what was said in private."""
    hers = await harmed(tmp_path, harm)
    monkeypatch.setattr("bus.vault_file.vault_name", lambda _: "")
    monkeypatch.setattr("bus.vault_file._refuse_over_another", lambda *_: None)

    assert await read(tmp_path / "one", *hers) == [("", "damaged")]
    assert kept(tmp_path / "one") == ["keys", "table-1"]


async def test_no_node_starts_under_another_passphrase(tmp_path: Path) -> None:
    async with running(tmp_path / "one") as canopy:
        ann = await canopy.owner()
        private = await channel(ann)
    identify(tmp_path / "one", "correct horse battery", CHEAP)
    there = kept(tmp_path / "one")

    with pytest.raises(IdentityUnusable, match="another passphrase"):
        await read(tmp_path / "one", ann, private, passphrase="correct horse staples")
    assert kept(tmp_path / "one") == there
    right = await read(tmp_path / "one", ann, private, passphrase="correct horse battery")
    assert right == []

"""A vault gone, half there or another's, a wrong passphrase: no start, and no vault made anew."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path
from typing import Any

import pytest

from bus.crypto.passphrase import Cost
from bus.identity_file import IdentityUnusable, identify
from bus.key_table import VaultUnusable
from tests.canopy import Caller, Canopy, running
from tests.gateway.test_privacy import MARKER, channel, say
from tests.logs import DEADLINE_S

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


async def test_a_vault_that_vanishes_takes_what_is_private_with_it_until_it_is_back(
    tmp_path: Path,
) -> None:
    """And nothing else; nothing is lost, and nobody is told that a disk was full."""
    async with running(tmp_path / "one") as canopy:
        ann = await canopy.owner()
        private, public = await channel(ann), (await ann.get("/channels"))["channels"][0]["id"]
        said = (await say(ann, private, MARKER))["message"]["id"]
        page = f"/channels/{private}/messages"
        calls: dict[str, tuple[str, str, Any]] = {
            "read": ("GET", page, None),
            "history": ("GET", f"{page}/{said}/history", None),
            "log": ("GET", "/log", None),
            "post": ("POST", "/channels/messages", {"channel_id": private, "content": "Hi."}),
            "edit": ("PATCH", f"{page}/{said}", {"content": "Hi."}),
            "public": ("POST", "/channels/messages", {"channel_id": public, "content": "Hi."}),
        }
        (tmp_path / "one" / "vault").rename(tmp_path / "away")
        told = {name: await _told(ann, *call) for name, call in calls.items()}
        told["ready"] = await _told(canopy.nobody, "GET", "/readyz", None)
        live = await _left(canopy, ann)
        health = await ann.get("/health")
        (tmp_path / "away").rename(tmp_path / "one" / "vault")
        back = {name: (await _told(ann, *call))[0] for name, call in calls.items()}

    assert told == {**dict.fromkeys(told, (503, "vault_unusable")), "public": (201, "")}
    assert live == 1013
    assert (health["ready"], health["subsystems"]["vault"]) == (False, "unusable")
    assert set(back.values()) == {200, 201}


async def _left(canopy: Canopy, ann: Caller) -> int | None:
    """What her live page is closed with, from the start of the log on."""
    url, key = f"{canopy.up.url}/api/v1/live?after=0", {"X-API-Key": ann.key}
    async with asyncio.timeout(DEADLINE_S), canopy.http.ws_connect(url, headers=key) as socket:
        async for _ in socket:
            pass
        return socket.close_code


async def _told(ann: Caller, method: str, path: str, body: Any) -> tuple[int, str]:
    """(status, code of the problem) of one call."""
    status, _, told = await ann.call(method, path, body)
    return status, told.get("code", "")

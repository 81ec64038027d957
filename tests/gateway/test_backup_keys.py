"""Backups with keys and without: who can read what afterwards, and what stays erased."""

from __future__ import annotations

import asyncio
from pathlib import Path

import aiohttp
import pytest

from actors.archive import KEYS
from actors.archive_files import Damaged
from bus.crypto.content import Unsealable
from bus.crypto.passphrase import PassphraseWrong
from bus.identity_file import FILE, RESTORING, identify
from bus.key_copy import KeyCopy, put_vault
from bus.key_table import VaultUnusable
from bus.vault_file import vault_in
from gateway.backup import backup
from gateway.cli.exits import Failure
from gateway.cli.resetting import reset
from gateway.restore import Wish, prove, restore
from schemas.message import MessageDeleted, MessagePosted
from schemas.settings import MIB, Settings
from tests.bus.test_key_copy import harm
from tests.canopy import PASSWORD, Answered, Caller, Canopy, running
from tests.gateway.test_backup import quiet, say
from tests.gateway.test_privacy import channel, erased
from tests.gateway.test_privacy import say as hushed
from tests.logs import DEADLINE_S, bus_on, fresh_broker, fresh_bus, settings, told

SECRET = "correct horse battery staple"
OTHER = "Another-horse-8"


async def signed_in(canopy: Canopy, username: str, password: str = PASSWORD) -> int:
    """The status of an attempt to sign in."""
    login = {"username": username, "password": password}
    async with (
        aiohttp.ClientSession() as http,
        http.post(f"{canopy.up.url}/api/v1/session", json=login) as response,
    ):
        return response.status


async def kept(directory: Path, *owners: str) -> list[str]:
    """The names of fresh keys of these owners, in the vault of a node that is stopped."""
    vault = vault_in(directory, identify(directory))
    try:
        return [(await vault.keep(owner, DEADLINE_S)).name for owner in owners]
    finally:
        vault.close()


def found(directory: Path, *names: str) -> list[bool]:
    """Whether the vault there still has the keys of these names."""
    vault = vault_in(directory, identify(directory))
    try:
        return [vault.find(name) is not None for name in names]
    finally:
        vault.close()


async def test_with_keys_everybody_signs_in_as_before_on_another_node(tmp_path: Path) -> None:
    async with running(tmp_path / "old", log_bytes_max=64 * MIB) as canopy:
        ann = await canopy.owner()
        await say(ann, "Hi.")
        manifest = await backup(settings(tmp_path / "old"), tmp_path / "b", quiet, SECRET)
        old = canopy.up.node
    await restore(settings(tmp_path / "new"), tmp_path / "b", quiet, Wish(SECRET))
    async with running(tmp_path / "new", log_bytes_max=64 * MIB) as canopy:
        statuses = [await signed_in(canopy, "ann"), await signed_in(canopy, "ann", OTHER)]

    assert manifest.keys is not None
    assert statuses == [201, 401]
    assert canopy.up.node != old
    assert identify(tmp_path / "new").secrets.root == identify(tmp_path / "old").secrets.root


async def test_without_keys_passwords_are_set_anew_by_who_holds_the_directory(
    tmp_path: Path,
) -> None:
    async with running(tmp_path / "old", log_bytes_max=64 * MIB) as canopy:
        await canopy.owner()
        manifest = await backup(settings(tmp_path / "old"), tmp_path / "b", quiet)
    knobs = settings(tmp_path / "new")
    await restore(knobs, tmp_path / "b", quiet)
    async with running(tmp_path / "new", log_bytes_max=64 * MIB) as canopy:
        before = await signed_in(canopy, "ann")
        with pytest.raises(Failure, match="is in use"):
            await asyncio.to_thread(reset, knobs, "ann", OTHER)
    with pytest.raises(Failure, match="no account eve"):
        await asyncio.to_thread(reset, knobs, "eve", OTHER)
    await asyncio.to_thread(reset, knobs, "Ann", OTHER)
    async with running(tmp_path / "new", log_bytes_max=64 * MIB) as canopy:
        after = [await signed_in(canopy, "ann"), await signed_in(canopy, "ann", OTHER)]
        with pytest.raises(Answered, match=r"username_taken|registration_closed"):
            await canopy.register("ann")

    assert manifest.keys is None
    assert (before, after) == (401, [401, 201])


async def copied_twice(tmp_path: Path) -> list[str]:
    """The names of three keys of a node of which there are two backups: `early`, when the first was
    called to be destroyed, and `late`, when the second was too."""
    old = settings(tmp_path / "old")
    async with fresh_bus(old) as bus:
        names = await kept(old.data_directory, "message.c.m1", "message.c.m2", "message.c.m3")
        seq = await told(bus.log, MessagePosted(content="1"), "c.m1")
        await told(bus.log, MessageDeleted(private=True), "c.m1", seq)
        other = await told(bus.log, MessagePosted(content="2"), "c.m2")
    await backup(old, tmp_path / "early", quiet, SECRET)
    async with fresh_broker(old) as broker, bus_on(broker.endpoint, old) as bus:
        await told(bus.log, MessageDeleted(private=True), "c.m2", other)
    await backup(old, tmp_path / "late", quiet)
    return names


async def test_keys_come_along_but_for_those_of_what_was_erased(tmp_path: Path) -> None:
    """F-42: in the log that was copied, and in a later backup."""
    names = await copied_twice(tmp_path)
    wish = Wish(SECRET, (tmp_path / "late",))
    await restore(settings(tmp_path / "one"), tmp_path / "early", quiet, Wish(SECRET))
    await restore(settings(tmp_path / "two"), tmp_path / "early", quiet, wish)

    assert found(tmp_path / "old", *names) == [True, True, True]
    assert found(tmp_path / "one", *names) == [False, True, True]
    assert found(tmp_path / "two", *names) == [False, False, True]


async def test_without_the_later_erasures_a_destroyed_key_comes_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The proof that the test before this one can fail: what a later backup tells is not heard."""
    names = await copied_twice(tmp_path)
    monkeypatch.setattr("gateway.restore._erased", lambda later: set())
    wish = Wish(SECRET, (tmp_path / "late",))
    await restore(settings(tmp_path / "new"), tmp_path / "early", quiet, wish)

    assert found(tmp_path / "new", *names) == [False, True, True]


async def spoken(canopy: Canopy, key: str, private: str) -> list[tuple[str, str]]:
    """What ann reads in a channel: (content, how it was kept)."""
    ann = Caller(canopy.http, canopy.up.url, "", key)
    found = (await ann.get(f"/channels/{private}/messages"))["messages"]
    return [(one["content"], one["crypto_state"]) for one in found]


async def test_what_was_said_in_private_opens_with_keys_and_never_again_once_erased(
    tmp_path: Path,
) -> None:
    """An early backup with keys; a deletion after it; and a later backup that knows of it."""
    old = settings(tmp_path / "old")
    async with running(tmp_path / "old", log_bytes_max=64 * MIB, erasure_gather_s=0.0) as canopy:
        ann = await canopy.owner()
        private = await channel(ann)
        goes, stays = await hushed(ann, private, "goes"), await hushed(ann, private, "stays")
        await backup(old, tmp_path / "early", quiet, SECRET)
        message = goes["message"]["id"]
        deleted = await ann.ok("DELETE", f"/channels/{private}/messages/{message}")
        await erased(ann, f"{private}.{message}", deleted["seq"])
        await backup(old, tmp_path / "late", quiet, SECRET)
    wishes = {
        "early": Wish(SECRET),
        "both": Wish(SECRET, (tmp_path / "late",)),
        "late": Wish(SECRET),
        "none": Wish(),
    }
    read: dict[str, list[tuple[str, str]]] = {}
    for name, wish in wishes.items():
        file = tmp_path / ("late" if name == "late" else "early")
        await restore(settings(tmp_path / "new" / name), file, quiet, wish)
        async with running(tmp_path / "new" / name, log_bytes_max=64 * MIB) as canopy:
            read[name] = await spoken(canopy, ann.key, private)
            again = Caller(canopy.http, canopy.up.url, "", ann.key)
            await hushed(again, private, "and on")
            read[name] += (await spoken(canopy, ann.key, private))[-1:]

    on = ("and on", "sealed")
    assert stays["message"]["content"] == "stays"
    assert read == {
        "early": [("goes", "sealed"), ("stays", "sealed"), on],
        "both": [("", "erased"), ("stays", "sealed"), on],
        "late": [("stays", "sealed"), on],
        "none": [("", "erased"), ("", "erased"), on],
    }


async def test_without_keys_a_text_that_looks_like_a_sealed_one_changes_nothing(
    tmp_path: Path,
) -> None:
    old = settings(tmp_path / "old")
    async with fresh_bus(old) as bus:
        await told(bus.log, MessagePosted(content='{"sealed":{"alg":"a","key":"2-7"}}'), "c.m1")
    await backup(old, tmp_path / "b", quiet)
    await restore(settings(tmp_path / "new"), tmp_path / "b", quiet)

    assert await kept(tmp_path / "new", "message.c.m2") == ["1-0"]


async def test_nothing_of_the_keys_lies_open_in_the_file(tmp_path: Path) -> None:
    old = settings(tmp_path / "old")
    async with fresh_bus(old):
        await kept(old.data_directory, "message.c.m1")
    await backup(old, tmp_path / "with", quiet, SECRET)
    await backup(old, tmp_path / "without", quiet)
    secrets = identify(old.data_directory).secrets
    vault = [
        (old.data_directory / "vault" / name).read_bytes()
        for name in ("keys", "table-1", "segment-1-1")
    ]
    parts = [secrets.root, secrets.signing, secrets.exchange, *(one[-64:] for one in vault)]

    for path in (tmp_path / "with", tmp_path / "without"):
        assert [part for part in parts if part.strip(b"\0") and part in path.read_bytes()] == []
    assert KEYS.encode() in (tmp_path / "with").read_bytes()
    assert KEYS.encode() not in (tmp_path / "without").read_bytes()


async def test_a_wrong_passphrase_makes_nothing(tmp_path: Path) -> None:
    old = settings(tmp_path / "old")
    async with fresh_bus(old):
        pass
    await backup(old, tmp_path / "b", quiet, SECRET)

    with pytest.raises(PassphraseWrong):
        await prove(old, tmp_path / "b", quiet, "wrong")
    with pytest.raises(PassphraseWrong):
        await restore(settings(tmp_path / "new"), tmp_path / "b", quiet, Wish("wrong"))
    assert not (tmp_path / "new" / RESTORING).exists()


async def test_changed_keys_are_found_before_anything_is_made(tmp_path: Path) -> None:
    old = settings(tmp_path / "old")
    async with fresh_bus(old):
        await kept(old.data_directory, "message.c.m1")
    await backup(old, tmp_path / "b", quiet, SECRET)
    data = bytearray((tmp_path / "b").read_bytes())
    data[data.index(b"argon2id") + 400] ^= 1
    (tmp_path / "b").write_bytes(data)

    with pytest.raises(Damaged, match=KEYS):
        await restore(settings(tmp_path / "new"), tmp_path / "b", quiet, Wish(SECRET))
    assert not (tmp_path / "new" / RESTORING).exists()


async def stored(knobs: Settings) -> None:
    """A node that is stopped, with a vault of two segments, of which the log knows one owner."""
    async with fresh_bus(knobs) as bus:
        await kept(knobs.data_directory, "message.c.m1")
        await kept(knobs.data_directory, "message.c.m2")
        seq = await told(bus.log, MessagePosted(content="1"), "c.m1")
        await told(bus.log, MessageDeleted(private=True), "c.m1", seq)


async def test_keys_that_would_not_open_again_are_no_backup(tmp_path: Path) -> None:
    old = settings(tmp_path / "old")
    await stored(old)
    harm(old.data_directory, "gone")

    with pytest.raises(VaultUnusable, match="Put back"):
        await backup(old, tmp_path / "b", quiet, SECRET)
    assert not (tmp_path / "b").exists()


async def test_an_archive_whose_keys_do_not_open_is_not_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that was made before anybody looked."""
    old, new = settings(tmp_path / "old"), settings(tmp_path / "new")
    await stored(old)
    harm(old.data_directory, "short")
    monkeypatch.setattr("bus.vault_file.prove", lambda *_: None)
    await backup(old, tmp_path / "b", quiet, SECRET)

    with pytest.raises(Unsealable, match="not whole"):
        await prove(old, tmp_path / "b", quiet, SECRET)
    with pytest.raises(Unsealable, match="not whole"):
        await restore(new, tmp_path / "b", quiet, Wish(SECRET))
    assert not (new.data_directory / RESTORING).exists()


async def test_a_vault_that_does_not_open_in_its_new_place_leaves_no_root_secret(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, new = settings(tmp_path / "old"), settings(tmp_path / "new")
    await stored(old)
    await backup(old, tmp_path / "b", quiet, SECRET)
    monkeypatch.setattr("gateway.restore.put_vault", _put_half)

    with pytest.raises(VaultUnusable, match="segment-1-1"):
        await restore(new, tmp_path / "b", quiet, Wish(SECRET))
    assert not (new.data_directory / RESTORING).exists()


def _put_half(directory: Path, keys: KeyCopy) -> None:
    put_vault(directory, keys)
    harm(directory, "short")


@pytest.mark.parametrize("again", [True, False])
async def test_a_restore_that_was_killed_leaves_no_keys_on_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, again: bool
) -> None:
    """Whether it is run again, or another archive is restored in its place."""
    old, new = settings(tmp_path / "old"), settings(tmp_path / "new")
    async with fresh_bus(old):
        await kept(old.data_directory, "message.c.m1")
    await backup(old, tmp_path / "b", quiet, SECRET)
    await backup(old, tmp_path / "other", quiet)
    with monkeypatch.context() as killed:
        killed.setattr("gateway.restore.erase", _die)
        with pytest.raises(KeyboardInterrupt):
            await restore(new, tmp_path / "b", quiet, Wish(SECRET))
    draft = tmp_path / "new" / RESTORING
    with (draft / "vault" / "keys").open("rb") as slots, (draft / FILE).open("rb") as root:
        await restore(
            new, tmp_path / ("b" if again else "other"), quiet, Wish(SECRET if again else None)
        )
        left = slots.read() + root.read()

    assert left == b"\0" * len(left)
    assert len(left) > 2 * 4096


async def _die(*_: object) -> None:
    raise KeyboardInterrupt

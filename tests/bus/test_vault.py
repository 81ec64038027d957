"""The vault: what is kept is found, what is destroyed is nowhere, and a crash is one of both."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from bus.crypto.content import Unsealable
from bus.crypto.identity import Secrets, identity
from bus.key_record import RECORD_BYTES
from bus.key_table import SLOT_BYTES, SLOTS, VaultUnusable
from bus.storage import Directory
from bus.vault import RECORDS_MAX, KeyDamaged, Vault
from tests.bus.vaults import (
    ANN,
    BOB,
    ELSEWHERE,
    NAME,
    NODE,
    Disk,
    PowerFailed,
    destroy,
    keep,
    made,
    opened,
    opening,
    slot_text,
    story,
)

STRANGER = identity(Secrets(b"\4" * 32, b"\5" * 32, b"\6" * 32))


@pytest.fixture
def directory(tmp_path: Path) -> Directory:
    storage = Directory(tmp_path / "vault")
    made(storage)
    return storage


async def test_what_is_kept_is_found_after_a_restart(directory: Directory) -> None:
    with opening(directory) as vault:
        kept = await keep(vault, ANN, BOB, ANN)

    with opening(Directory(directory.path)) as again:
        assert {name: again.find(name) for name in kept} == kept
        assert len(set(kept.values())) == 3


async def test_keys_that_are_wanted_together_share_writes() -> None:
    disk = Disk()
    made(disk)
    with opening(disk) as vault:
        await keep(vault, ANN)
        before = disk.written
        kept = await keep(vault, *[ANN] * 300)

    assert len(kept) == 300
    assert disk.written - before == 300 * RECORD_BYTES


async def test_what_an_owner_had_is_destroyed_and_nothing_else(directory: Directory) -> None:
    with opening(directory) as vault:
        first, second = await keep(vault, ANN, ANN), await keep(vault, BOB)
        await destroy(vault, ANN)
        third = await keep(vault, ANN)

        left = {name: vault.find(name) for name in (first | second | third)}

    assert left == dict.fromkeys(first) | second | third


async def test_a_channel_takes_all_its_messages_along(directory: Directory) -> None:
    with opening(directory) as vault:
        gone, stays = await keep(vault, ANN, BOB), await keep(vault, ELSEWHERE)
        await destroy(vault, "message.c1")

        left = {name: vault.find(name) for name in gone | stays}

    assert left == dict.fromkeys(gone) | stays


async def test_a_segment_of_which_nothing_is_left_is_no_file(directory: Directory) -> None:
    with opening(directory) as vault:
        kept = await keep(vault, ANN, BOB)
        await destroy(vault, ANN, BOB)

        left = [vault.find(name) for name in kept]

    assert left == [None, None]
    assert [name for name in directory.names() if name.startswith("segment")] == []


async def test_nothing_that_lay_there_opens_what_was_destroyed(directory: Directory) -> None:
    """Whoever has kept every byte of the old files, and the identity, but not the old slot."""
    with opening(directory) as vault:
        kept = await keep(vault, ANN, BOB)
        old = {name: directory.read(name) for name in directory.names()}
        await destroy(vault, ANN)

    slots = directory.read(SLOTS)
    thief = Disk(old | {SLOTS: slots})
    assert old[SLOTS][SLOT_BYTES : 2 * SLOT_BYTES].strip(b"\0") not in slots
    with pytest.raises(VaultUnusable, match="lost its file table-2"):
        opened(thief)
    new = {name: directory.read(name) for name in directory.names()}
    with opening(Disk(old | new)) as revived:
        assert [revived.find(name) for name in kept] == [None, kept[list(kept)[1]]]


async def test_the_old_slot_would_open_it_all_again(directory: Directory) -> None:
    """Why the slot is overwritten: this is the test of the test above."""
    with opening(directory) as vault:
        kept = await keep(vault, ANN)
        old = {name: directory.read(name) for name in directory.names()}
        await destroy(vault, ANN)

    with opening(Disk(old)) as thief:
        assert {name: thief.find(name) for name in kept} == kept


async def test_others_see_what_one_does(directory: Directory) -> None:
    with opening(directory) as one, opening(Directory(directory.path)) as other:
        mine, yours = await keep(one, ANN), await keep(other, ANN, BOB)
        seen = {name: one.find(name) for name in yours} | {n: other.find(n) for n in mine}
        await destroy(one, ANN)
        left = [other.find(name) for name in mine | yours]
        more = await keep(other, ANN)
        both = {name: (one.find(name), other.find(name)) for name in more}

    assert seen == mine | yours
    assert left == [None, None, list(yours.values())[1]]
    assert both == {name: (key, key) for name, key in more.items()}


async def test_a_full_segment_is_followed_by_another(directory: Directory) -> None:
    with opening(directory) as vault:
        kept = await keep(vault, *[ANN] * (RECORDS_MAX + 10))

    with opening(Directory(directory.path)) as again:
        assert {name: again.find(name) for name in kept} == kept
        assert {name.partition("-")[0] for name in kept} == {"1", "2"}


async def test_keeping_and_destroying_at_once_loses_nothing(directory: Directory) -> None:
    with opening(directory) as one, opening(Directory(directory.path)) as other:
        kept: dict[str, bytes] = {}

        async def keeping(vault: Vault) -> None:
            for _ in range(20):
                kept.update(await keep(vault, *[BOB] * 5))

        async def destroying() -> None:
            for _ in range(5):
                await keep(one, ANN)
                await destroy(one, ANN)

        await asyncio.gather(keeping(one), keeping(other), destroying())

        assert {name: one.find(name) for name in kept} == kept
        assert len(kept) == 200


async def _cost() -> int:
    """How many bytes it takes to destroy ann's keys."""
    disk = Disk()
    await story(disk)
    before = disk.written
    with opening(disk) as vault:
        await destroy(vault, ANN)
    return disk.written - before


async def test_a_crash_at_any_byte_of_destroying_ends_in_all_or_nothing() -> None:
    """Whatever was torn: after a restart the vault opens, bob's keys are there, and destroying
    again destroys; once it is done no byte of the old slot is left."""
    disk = Disk()
    hers, his = await story(disk)
    files, old = dict(disk.files), disk.files[SLOTS]
    cost = await _cost()
    steps = {0, *range(1, cost, 61), *range(cost - 2 * SLOT_BYTES - 8, cost, 37), cost - 1}

    for left in sorted(steps):
        torn = Disk(files, left)
        with opening(torn) as vault, pytest.raises(PowerFailed):
            await destroy(vault, ANN)
        found = Disk(torn.files)
        with opening(found) as after:
            ours = [after.find(name) for name in hers]
            assert {name: after.find(name) for name in his} == his
            assert ours in ([None, None], list(hers.values())), left
            await destroy(after, ANN)
            assert [after.find(name) for name in hers] == [None, None]
        assert slot_text(old) not in found.files[SLOTS]


async def _keep_for_ever(vault: Vault) -> None:
    while True:
        await keep(vault, ANN)


async def test_a_crash_at_any_byte_of_keeping_keeps_what_was_told() -> None:
    disk = Disk()
    hers, his = await story(disk)
    files = dict(disk.files)

    for left in range(0, 900, 7):
        torn = Disk(files, left)
        with opening(torn) as vault, pytest.raises(PowerFailed):
            await _keep_for_ever(vault)
        with opening(Disk(torn.files)) as after:
            more = await keep(after, BOB)
            assert {name: after.find(name) for name in hers | his | more} == hers | his | more
            await destroy(after, ANN)
            assert {name: after.find(name) for name in his | more} == his | more


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda files: files.clear(), "is not there"),
        (lambda files: files.pop(SLOTS), "is not there"),
        (lambda files: files.update({SLOTS: b"\0" * len(files[SLOTS])}), "nothing in it opens"),
        (
            lambda files: files.update({SLOTS: files[SLOTS][: SLOT_BYTES + 60]}),
            "nothing in it opens",
        ),
        (lambda files: files.pop("table-1"), "lost its file table-1"),
        (lambda files: files.update({"table-1": files["table-1"][:-1]}), "damaged file table-1"),
        (lambda files: files.update({"table-1": b""}), "damaged file table-1"),
        (lambda files: files.pop("segment-1-1"), "lost its file segment-1-1"),
    ],
)
async def test_a_vault_that_is_not_whole_does_not_open(change: object, said: str) -> None:
    disk = Disk()
    await story(disk)
    assert callable(change)
    change(disk.files)

    with pytest.raises(VaultUnusable, match=f"{said}.*backup"):
        opened(disk)


async def test_a_cut_segment_does_not_open() -> None:
    disk = Disk()
    await story(disk)
    with opening(disk) as vault:
        await destroy(vault, ANN)
    disk.files["segment-1-2"] = disk.files["segment-1-2"][:-1]

    with pytest.raises(VaultUnusable, match="only a part of its file segment-1-2"):
        opened(disk)


async def test_the_vault_of_another_does_not_open() -> None:
    disk = Disk()
    await story(disk)

    with pytest.raises(VaultUnusable, match="another node's"):
        opened(disk, STRANGER)
    with pytest.raises(VaultUnusable, match="another node's"):
        opened(disk, NODE, "f" * 16)


async def test_a_changed_record_is_told_of_and_not_taken_for_a_destroyed_one() -> None:
    disk = Disk()
    made(disk)
    with opening(disk) as vault:
        kept = await keep(vault, ANN, BOB)
    first, second = kept
    raw = disk.files["segment-1-1"]
    disk.files["segment-1-1"] = raw[:40] + bytes([raw[40] ^ 1]) + raw[41:]

    with opening(disk) as vault:
        with pytest.raises(KeyDamaged, match="was changed"):
            vault.find(first)
        assert vault.find(second) == kept[second]
        await destroy(vault, ELSEWHERE)
        await keep(vault, ELSEWHERE)
        await destroy(vault, ELSEWHERE, BOB)
        with pytest.raises(KeyDamaged):
            vault.find(first)
        assert vault.find(second) is None


@pytest.mark.parametrize("name", ["ff-0", "1-999", "nonsense", "", "1-"])
async def test_a_key_that_was_never_made_is_no_destroyed_one(name: str) -> None:
    disk = Disk()
    await story(disk)

    with opening(disk) as vault, pytest.raises(KeyDamaged):
        vault.find(name)


async def test_no_key_lies_there_in_clear(directory: Directory) -> None:
    with opening(directory) as vault:
        kept = await keep(vault, ANN, BOB)
        await destroy(vault, ANN)
    there = b"".join(directory.read(name) for name in directory.names())

    assert [key in there for key in kept.values()] == [False, False]
    with pytest.raises(Unsealable):
        STRANGER.unseal("vault", slot_text(directory.read(SLOTS)[:SLOT_BYTES] * 2).decode(), b"")
    assert NAME.encode() in there

"""Damage to a node at rest, of every kind: reported, or it has changed nothing; and each defence,
taken away, lets some of it pass."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path
from random import Random

import pytest

from bus.attachment import prepared
from bus.connection import wired
from bus.crypto.content import Unsealable
from bus.health import examine
from bus.identity_file import identify
from bus.inspection import vouched
from bus.jetstream import JetStreamLog, epoch_of
from bus.key_record import RECORD_BYTES, opened
from bus.log import Missing
from bus.marks import storage
from bus.server import broker
from bus.topology import state_of
from gateway.bench.damage import BLOCKS, DAMAGES, EVT, Damage, Place, Target
from gateway.bench.flips import CACHED, counted, judged
from gateway.bench.looking import Seen, looked, settings
from gateway.bench.resting import LEFT, Rest, written
from tests.logs import DEADLINE_S

META = EVT / "meta.inf"
KINDS = pytest.mark.parametrize("damage", dict.fromkeys(DAMAGES), ids=lambda one: one.__name__)


@pytest.fixture(scope="module")
def rest(tmp_path_factory: pytest.TempPathFactory) -> Rest:
    """One node for all tests of this module: each damages a copy of its own."""
    return asyncio.run(written(tmp_path_factory.mktemp("nodes")))


def copy(rest: Rest, left: str, place: Path) -> Path:
    """A copy of what was left of the node, to be damaged."""
    shutil.copytree(rest.left[left].directory, place)
    return place


def stored(names: Iterable[str]) -> int:
    """How many commits of the log itself are among *names* of what was read."""
    return sum(name.startswith("stored ") for name in names)


@pytest.mark.parametrize("left", LEFT)
async def test_what_is_whole_is_not_reported(rest: Rest, tmp_path: Path, left: str) -> None:
    seen = await looked(copy(rest, left, tmp_path / left), rest.owner)

    assert judged(seen, rest.left[left].said) == ("harmless", ())
    assert any(name.startswith(CACHED) for name in seen.read)


async def outcome(
    rest: Rest, left: str, target: Target, damage: Damage, place: Path
) -> tuple[bool, tuple[str, ...], str]:
    """Whether *damage* was reported, or had changed nothing; what was wrong, and what was done."""
    copy(rest, left, place)
    chance = Random(f"{left} {target} {damage.__name__}")
    done = damage(Place(place, rest.older, target), chance)
    verdict, wrong = judged(await looked(place, rest.owner), rest.left[left].said)
    return verdict != "unnoticed", wrong, done


@pytest.mark.parametrize("left", ["stopped", "unindexed"])
@KINDS
async def test_damage_is_reported_or_has_changed_nothing(
    rest: Rest, tmp_path: Path, damage: Damage, left: str
) -> None:
    well, wrong, done = await outcome(rest, left, "log", damage, tmp_path / left)

    assert (well, wrong) == (True, ()), done


@pytest.mark.parametrize("target", ["vault", "tables"])
@KINDS
async def test_damage_beside_the_log_is_reported_or_has_changed_nothing(
    rest: Rest, tmp_path: Path, damage: Damage, target: Target
) -> None:
    """F-09, F-10. Of a node that was killed: its tables have a WAL."""
    well, wrong, done = await outcome(rest, "killed", target, damage, tmp_path / target)

    assert (well, wrong) == (True, ()), done


async def of_zeroed_keys(rest: Rest, place: Path) -> tuple[Seen, tuple[str, ...]]:
    """What a node makes of keys that a disk has turned into zeros; and what of that is wrong."""
    copy(rest, "stopped", place)
    segment = place / "vault" / "segment-1-2"
    data = bytearray(segment.read_bytes())
    data[-3 * RECORD_BYTES :] = bytes(3 * RECORD_BYTES)
    segment.write_bytes(data)
    seen = await looked(place, rest.owner)
    return seen, judged(seen, rest.left["stopped"].said)[1]


async def test_zeros_in_the_vault_are_told_as_damage(rest: Rest, tmp_path: Path) -> None:
    """F-09. What they sealed cannot be read, and nobody is told that it was erased."""
    seen, wrong = await of_zeroed_keys(rest, tmp_path / "node")

    assert set(seen.reported) == {"content_damaged"}
    assert wrong == ()


async def test_a_vault_that_takes_zeros_for_a_destroyed_key_tells_of_an_erasure(
    rest: Rest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The mutation: a record of nobody is believed, whether it opens or not."""

    def believed(segment_key: bytes, at: bytes, record: bytes) -> bytes:
        try:
            return opened(segment_key, at, record)
        except Unsealable:
            return bytes(32)

    monkeypatch.setattr("bus.vault.opened", believed)
    _, wrong = await of_zeroed_keys(rest, tmp_path / "node")

    assert len(wrong) >= 3


def last_block_cut(place: Path) -> None:
    """The newest block has lost its end."""
    last = max((place / BLOCKS).glob("*.blk"), key=lambda path: int(path.stem))
    last.write_bytes(last.read_bytes()[:-1000])


def payload_flipped(place: Path) -> None:
    """One bit of one commit, in a block in the middle."""
    block = place / BLOCKS / "2.blk"
    data = bytearray(block.read_bytes())
    data[data.index(b'"content"') + 12] ^= 1
    block.write_bytes(data)


def store_replaced(rest: Rest) -> Callable[[Path], None]:
    """The whole log as it was some time ago."""

    def replaced(place: Path) -> None:
        shutil.rmtree(place / "nats/jetstream")
        shutil.copytree(rest.older / "nats/jetstream", place / "nats/jetstream")

    return replaced


async def test_a_lost_tail_is_known_by_the_marks(rest: Rest, tmp_path: Path) -> None:
    """F-10. The broker itself finds nothing wrong: it would give those positions again."""
    for name, damage in (("cut", last_block_cut), ("older", store_replaced(rest))):
        place = copy(rest, "unindexed", tmp_path / name)
        damage(place)

        assert "tail_lost" in (await looked(place, rest.owner)).reported


async def test_without_marks_a_lost_tail_is_not_noticed(rest: Rest, tmp_path: Path) -> None:
    """The mutation: marks of the log as the broker now has it know nothing of what was."""
    for name, damage in (("cut", last_block_cut), ("older", store_replaced(rest))):
        place = copy(rest, "unindexed", tmp_path / name)
        damage(place)
        shutil.rmtree(place / "projection")  # They knew it too.
        await taken_as_it_is(place)
        seen = await looked(place, rest.owner)

        assert judged(seen, rest.left["unindexed"].said)[0] == "unnoticed"


async def test_a_commit_that_the_broker_passes_over_is_known_to_be_missing(
    rest: Rest, tmp_path: Path
) -> None:
    """F-09. After a clean stop it skips the record, says nothing, and counts it as there."""
    place = copy(rest, "stopped", tmp_path / "node")
    payload_flipped(place)
    seen = await looked(place, rest.owner)

    assert "commit_missing" in seen.reported
    assert stored(seen.read) < stored(rest.left["stopped"].said)


async def test_the_broker_does_not_know_of_what_it_passes_over(rest: Rest, tmp_path: Path) -> None:
    """The mutation: who believes the broker's own account, and does not read, notices nothing."""
    place = copy(rest, "stopped", tmp_path / "node")
    payload_flipped(place)
    knobs = settings(place)
    async with broker(knobs) as running:
        await examine(running.endpoint, DEADLINE_S)
        async with wired(running.endpoint, "notary", knobs) as wire:
            state = state_of(await JetStreamLog.info(wire, knobs))

    assert (state.missing, state.last_seq) == (0, stored(rest.left["stopped"].said))


async def test_without_its_files_no_new_log_takes_the_place_of_the_old_one(
    rest: Rest, tmp_path: Path
) -> None:
    """F-11. The mutation is a node that never heard of it: that begins a new one, empty."""
    known, unheard = (copy(rest, "stopped", tmp_path / name) for name in ("known", "unheard"))
    for place in (known, unheard):
        (place / META).write_bytes(b"")
    shutil.rmtree(unheard / "marks")

    before = [path.read_bytes() for path in sorted((known / BLOCKS).glob("*.blk"))]

    (told,) = (await looked(known, rest.owner)).reported
    assert told.startswith("refused: log_lost")
    assert [path.read_bytes() for path in sorted((known / BLOCKS).glob("*.blk"))] == before
    assert not any(
        told.startswith("refused") for told in (await looked(unheard, rest.owner)).reported
    )
    assert (unheard / META).stat().st_size


async def test_a_log_with_a_gap_cannot_be_vouched_for(rest: Rest, tmp_path: Path) -> None:
    place = copy(rest, "stopped", tmp_path / "node")
    payload_flipped(place)

    with pytest.raises(Missing):
        await taken_as_it_is(place)


async def test_an_older_log_is_shorter(rest: Rest, tmp_path: Path) -> None:
    """What the tests above rest on."""
    seen = await looked(shutil.copytree(rest.older, tmp_path / "older"), rest.owner)

    assert 0 < stored(seen.read) < stored(rest.left["stopped"].said)


async def test_damages_are_counted(rest: Rest, tmp_path: Path) -> None:
    """The measure itself, in small."""
    report = await counted(rest, tmp_path / "round", count=4, seed=3)

    assert report.held, (report.rows(), report.rounds)
    assert sum(figure.value for figure in report.figures if figure.unit == "damages") == 4


async def taken_as_it_is(place: Path) -> None:
    """The marks are those of the log as it is now."""
    knobs = settings(place)
    identify(place)
    async with broker(knobs) as running:
        await prepared(running.endpoint, knobs, ())
        async with wired(running.endpoint, "notary", knobs) as wire:
            info = await JetStreamLog.info(wire, knobs)
            log = JetStreamLog(wire, knobs, epoch_of(info["created"]))
            kept = storage(knobs)
            try:
                await vouched(log, kept, info["state"]["last_seq"])
            finally:
                kept.close()

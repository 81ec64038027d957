"""Damage to a log at rest, of every kind: reported, or it has changed nothing; and each defence,
taken away, lets some of it pass."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable
from pathlib import Path
from random import Random

import pytest

from bus.attachment import prepared
from bus.connection import wired
from bus.health import examine
from bus.identity_file import identify
from bus.inspection import vouched
from bus.jetstream import JetStreamLog, epoch_of
from bus.log import Missing
from bus.marks import storage
from bus.server import broker
from bus.topology import state_of
from gateway.bench.flips import (
    BLOCKS,
    COMMITS,
    DAMAGES,
    EVT,
    OLDER,
    Damage,
    Logs,
    flips,
    judged,
    looked,
    settings,
    written,
)
from tests.logs import DEADLINE_S

META = EVT / "meta.inf"
LEFT = ("stopped", "killed", "unindexed")


@pytest.fixture(scope="module")
def logs(tmp_path_factory: pytest.TempPathFactory) -> Logs:
    """One log for all tests of this module: each damages a copy of its own."""
    return asyncio.run(written(tmp_path_factory.mktemp("logs")))


def copy(logs: Logs, left: str, place: Path) -> Path:
    """A copy of what was left of the log, to be damaged."""
    base = next(one for one in logs.left if one.name == left)
    shutil.copytree(base, place)
    return place


@pytest.mark.parametrize("left", LEFT)
async def test_what_is_whole_is_not_reported(logs: Logs, tmp_path: Path, left: str) -> None:
    seen = await looked(copy(logs, left, tmp_path / left))

    assert judged(seen, logs.said) == ("harmless", 0)
    assert len(seen.read) == COMMITS


@pytest.mark.parametrize("left", LEFT)
@pytest.mark.parametrize("damage", dict.fromkeys(DAMAGES), ids=lambda one: one.__name__)
async def test_damage_is_reported_or_has_changed_nothing(
    logs: Logs, tmp_path: Path, damage: Damage, left: str
) -> None:
    place = copy(logs, left, tmp_path / left)
    done = damage(place, logs.older, Random(f"{left} {damage.__name__}"))
    verdict, wrong = judged(await looked(place), logs.said)

    assert (verdict in ("reported", "harmless"), wrong) == (True, 0), done


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


def store_replaced(logs: Logs) -> Callable[[Path], None]:
    """The whole log as it was some time ago."""

    def replaced(place: Path) -> None:
        shutil.rmtree(place / "nats/jetstream")
        shutil.copytree(logs.older / "nats/jetstream", place / "nats/jetstream")

    return replaced


async def test_a_lost_tail_is_known_by_the_marks(logs: Logs, tmp_path: Path) -> None:
    """F-10. The broker itself finds nothing wrong: it would give those positions again."""
    for name, damage in (("cut", last_block_cut), ("older", store_replaced(logs))):
        place = copy(logs, "unindexed", tmp_path / name)
        damage(place)

        assert (await looked(place)).reported == "tail_lost"


async def test_without_marks_a_lost_tail_is_not_noticed(logs: Logs, tmp_path: Path) -> None:
    """The mutation: marks of the log as the broker now has it know nothing of what was."""
    for name, damage in (("cut", last_block_cut), ("older", store_replaced(logs))):
        place = copy(logs, "unindexed", tmp_path / name)
        damage(place)
        await taken_as_it_is(place)
        seen = await looked(place)

        assert judged(seen, logs.said) == ("unnoticed", 0)
        assert len(seen.read) < COMMITS


async def test_a_commit_that_the_broker_passes_over_is_known_to_be_missing(
    logs: Logs, tmp_path: Path
) -> None:
    """F-09. After a clean stop it skips the record, says nothing, and counts it as there."""
    place = copy(logs, "stopped", tmp_path / "node")
    payload_flipped(place)
    seen = await looked(place)

    assert seen.reported == "commit_missing"
    assert len(seen.read) < COMMITS


async def test_the_broker_does_not_know_of_what_it_passes_over(logs: Logs, tmp_path: Path) -> None:
    """The mutation: who believes the broker's own account, and does not read, notices nothing."""
    place = copy(logs, "stopped", tmp_path / "node")
    payload_flipped(place)
    knobs = settings(place)
    async with broker(knobs) as running:
        await examine(running.endpoint, DEADLINE_S)
        async with wired(running.endpoint, "notary", knobs) as wire:
            state = state_of(await JetStreamLog.info(wire, knobs))

    assert (state.missing, state.last_seq) == (0, COMMITS)


async def test_without_its_files_no_new_log_takes_the_place_of_the_old_one(
    logs: Logs, tmp_path: Path
) -> None:
    """F-11. The mutation is a node that never heard of it: that begins a new one, empty."""
    known, unheard = (copy(logs, "stopped", tmp_path / name) for name in ("known", "unheard"))
    for place in (known, unheard):
        (place / META).write_bytes(b"")
    shutil.rmtree(unheard / "marks")

    before = [path.read_bytes() for path in sorted((known / BLOCKS).glob("*.blk"))]

    assert (await looked(known)).reported.startswith("refused: log_lost")
    assert [path.read_bytes() for path in sorted((known / BLOCKS).glob("*.blk"))] == before
    assert not (await looked(unheard)).reported.startswith("refused")
    assert (unheard / META).stat().st_size


async def test_a_log_with_a_gap_cannot_be_vouched_for(logs: Logs, tmp_path: Path) -> None:
    place = copy(logs, "stopped", tmp_path / "node")
    payload_flipped(place)

    with pytest.raises(Missing):
        await taken_as_it_is(place)


async def test_an_older_log_is_shorter(logs: Logs, tmp_path: Path) -> None:
    """What the tests above rest on."""
    seen = await looked(shutil.copytree(logs.older, tmp_path / "older"))

    assert len(seen.read) == OLDER


async def test_damages_are_counted(tmp_path: Path) -> None:
    """The measure itself, in small."""
    report = await flips(tmp_path, count=8, seed=3)

    assert report.held, report.rows()
    assert sum(figure.value for figure in report.figures if figure.unit == "damages") == 8


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

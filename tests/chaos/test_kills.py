"""Whatever dies, at any moment: what was acknowledged is there, once."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.bench.chaos import chaos
from gateway.bench.crowd import Journal
from gateway.bench.kills import kills
from gateway.bench.partings import partings
from gateway.bench.soak import soak


@pytest.mark.slow
@pytest.mark.timeout(300)
async def test_no_acknowledged_post_is_lost_or_doubled_by_kill_9(tmp_path: Path) -> None:
    """With this seed it kills the actors, the keeper of the broker, broker, gateway, broker."""
    report = await chaos(tmp_path, rounds=5, seed=9)

    assert report.held, report.rows()


@pytest.mark.slow
@pytest.mark.timeout(300)
async def test_a_death_at_every_point_loses_and_doubles_nothing(tmp_path: Path) -> None:
    report = await kills(tmp_path)

    assert report.held, report.rows()


@pytest.mark.slow
@pytest.mark.timeout(120)
async def test_a_wish_that_does_not_say_it_is_the_same_is_granted_twice(tmp_path: Path) -> None:
    """The proof that the matrix can fail: without Idempotency-Key the same death doubles posts."""
    report = await kills(tmp_path, 2, points=("command.answered",), keyed=False)

    assert [figure.name for figure in report.figures if not figure.held] == ["doubled"]


@pytest.mark.slow
@pytest.mark.timeout(120)
async def test_clients_that_vanish_miss_nothing_and_hear_nothing_twice(tmp_path: Path) -> None:
    report = await partings(tmp_path, count=1000)

    assert report.held, report.rows()


def test_the_journal_sees_what_is_lost_doubled_or_moved() -> None:
    journal = Journal(acked={"a": 1, "b": 2, "c": 3}, heard={1: "a", 2: "a", 4: "c"})

    assert (journal.lost(journal.acked), journal.doubled()) == (["b", "c"], ["a"])


@pytest.mark.slow
@pytest.mark.timeout(180)
async def test_a_node_under_many_faults_loses_nothing_and_does_not_grow(tmp_path: Path) -> None:
    """The short form of a soak: brokers die, everything freezes, the listener is cut off."""
    report = await soak(tmp_path, seconds=8)

    assert report.held, report.rows()

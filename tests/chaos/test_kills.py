"""Whatever dies, at any moment: what was acknowledged is there, once."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from gateway.bench.chaos import chaos
from gateway.bench.crowd import Journal, crowd
from gateway.bench.kills import kills
from gateway.bench.partings import partings
from gateway.bench.parts import Parts
from gateway.bench.soak import soak
from gateway.bench.weight import HOUR_S, Sample, Weight, steepness
from tests.canopy import Canopy

HOARDING = """
import os, sys

if "gateway" in sys.orig_argv:
    from gateway.protocol import Protocol

    hoard = []
    made = Protocol.connection_made

    def connection_made(self, transport):
        hoard.append((os.dup(transport.get_extra_info("socket").fileno()), b"x" * (8 << 20)))
        made(self, transport)

    Protocol.connection_made = connection_made
"""
"""Runs before the program: of every connection that a gateway ends, something stays."""


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


async def test_the_crowd_sees_what_is_undone(canopy: Canopy) -> None:
    owner = await canopy.owner()
    draft = {"channel_id": "general", "content": "Hi."}
    said = [await owner.post("/channels/messages", draft) for _ in range(2)]
    unchanged, there = (("general", answer["message"]["id"]) for answer in said)
    async with crowd((canopy.up.url,), {"X-API-Key": owner.key}) as people:
        people.journal.changed[unchanged] = "Hello."
        people.journal.taken_back.append(there)
        await people.recovered("nothing at all")

        assert await people.undone() == [there, unchanged]


@pytest.mark.slow
@pytest.mark.timeout(180)
async def test_a_node_under_many_faults_loses_nothing_and_does_not_grow(tmp_path: Path) -> None:
    """The short form of a soak: brokers die, everything freezes, the listener is cut off."""
    report = await soak(tmp_path, seconds=8)

    assert report.held, report.rows()


@pytest.mark.slow
@pytest.mark.timeout(120)
async def test_a_gateway_that_keeps_what_it_has_ended_is_seen_to_grow(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The proof that a soak can fail: who is cut off and follows again costs a file and 8 MiB."""
    (tmp_path / "sitecustomize.py").write_text(HOARDING)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=os.pathsep)
    report = await soak(tmp_path / "node", 1.5, faults=[("part", None)], every_s=0.1, warm_s=0.1)
    missed = [figure.name for figure in report.figures if not figure.held]

    assert missed == ["gateway has grown", "gateway has more open"], report.rows()


def hourly(rise: float, seconds: int = 86_400) -> list[Sample]:
    """200 of something, which becomes more by *rise* in an hour, looked at each minute."""
    return [(float(s), 200 + rise * s / HOUR_S) for s in range(0, seconds, 60)]


@pytest.mark.parametrize("rise", [0.0, 2.0, -2.0])
def test_a_slope_is_percent_an_hour(rise: float) -> None:
    of_the_middle = 200 + rise * 12

    assert steepness(hourly(rise)) == pytest.approx(100 * rise / of_the_middle, rel=0.05)


def test_what_is_still_getting_warm_is_no_slope() -> None:
    warming = [(s, min(amount, s / 100)) for s, amount in hourly(0.0)]

    assert steepness(warming) == pytest.approx(0.0, abs=1e-9)


@pytest.mark.parametrize(("seconds", "held"), [(540, True), (600, False)])
def test_a_slope_counts_once_there_is_enough_of_it(
    tmp_path: Path, seconds: int, *, held: bool
) -> None:
    leaking, even = hourly(4.0, seconds + 1), hourly(0.0, seconds + 1)
    weight = Weight(Parts(tmp_path), "gateway", leaking, even)

    assert all(figure.held for figure in weight.figures()) == held

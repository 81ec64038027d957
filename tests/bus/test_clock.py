"""The hybrid clock never goes back, and ids are what they were made from."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bus.clock import COUNTER_MAX, Clock, derived_id, iso, iso_ms, milliseconds, new_id, wall_ms

NOON_MS = 1_795_262_400_000


class Wall:
    """A wall clock that is set by hand."""

    def __init__(self, ms: int = NOON_MS) -> None:
        self.ms = ms

    def __call__(self) -> int:
        return self.ms


@given(
    steps=st.lists(
        st.tuples(st.integers(-86_400_000, 86_400_000), st.none() | st.integers(0, NOON_MS * 2))
    )
)
def test_readings_only_grow_whatever_the_wall_clock_does(
    steps: list[tuple[int, int | None]],
) -> None:
    """Neither a step of a day back nor what another node said makes it go back."""
    wall = Wall()
    clock = Clock(wall)
    readings = [clock.tick()]
    for step, heard in steps:
        wall.ms = max(0, wall.ms + step)
        if heard is not None:
            clock.observe(f"{heard:012x}ffff")
            readings.append(f"{heard:012x}ffff")
        readings.append(clock.tick())

        assert max(readings[:-1]) < readings[-1]


def test_a_reading_tells_the_wall_time() -> None:
    """12 digits of milliseconds, then 4 of a counter."""
    reading = Clock(Wall()).tick()

    assert len(reading) == 16
    assert milliseconds(reading) == NOON_MS
    assert iso(reading) == iso_ms(NOON_MS) == "2026-11-21T12:00:00.000Z"


def test_no_reading_tells_no_time() -> None:
    """As in an answer that stands for no commit."""
    assert iso("") == ""


def test_more_than_a_counter_in_one_millisecond_borrows_from_the_next() -> None:
    """The order stays; the time is wrong by a millisecond."""
    clock = Clock(Wall())
    readings = [clock.tick() for _ in range(COUNTER_MAX + 3)]

    assert readings == sorted(set(readings))
    assert milliseconds(readings[-1]) == NOON_MS + 1


def test_an_observed_future_is_passed() -> None:
    """What comes after a commit from a node that is ahead is later than that commit."""
    clock = Clock(Wall())
    clock.observe(f"{NOON_MS + 5000:012x}0007")

    assert clock.tick() == f"{NOON_MS + 5000:012x}0008"


def test_an_observed_past_changes_nothing() -> None:
    """The wall clock is ahead already."""
    clock = Clock(Wall())
    clock.observe(f"{NOON_MS - 5000:012x}0007")

    assert clock.tick() == f"{NOON_MS:012x}0000"


def test_the_wall_clock_counts_milliseconds() -> None:
    """Since 1970."""
    assert NOON_MS < wall_ms() * 2 < NOON_MS * 20


def test_fresh_ids_are_fresh_and_in_order_of_time() -> None:
    """One subject token each."""
    ids = [new_id("M") for _ in range(1000)]

    assert len(set(ids)) == 1000
    assert [one[:13] for one in ids] == sorted(one[:13] for one in ids)
    assert {len(one) for one in ids} == {33}


@pytest.mark.parametrize(("digits", "length"), [(16, 17), (32, 33)])
def test_a_derived_id_is_always_the_same(digits: int, length: int) -> None:
    """And tells its parts apart."""
    one = derived_id("C", "ann", "key", digits=digits)

    assert len(one) == length
    assert one == derived_id("C", "ann", "key", digits=digits)
    assert one != derived_id("C", "annk", "ey", digits=digits)
    assert one != derived_id("C", "ann", "key", "", digits=digits)

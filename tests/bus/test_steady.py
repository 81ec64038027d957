"""A wall clock is believed as far as there is reason to, and never when it leaps ahead."""

from __future__ import annotations

import pytest

from bus.steady import Steady
from schemas.settings import Settings

NOON_MS = 1_795_262_400_000
DAY_MS = 86_400_000
YEAR_MS = 365 * DAY_MS


class Machine:
    """A machine whose wall clock is set by hand, while its time goes on."""

    def __init__(self) -> None:
        self.passed_ms = 5_000
        self.set_ms = 0

    def wall(self) -> int:
        return NOON_MS + self.passed_ms + self.set_ms

    def elapsed(self) -> int:
        return self.passed_ms

    @property
    def right_ms(self) -> int:
        return NOON_MS + self.passed_ms


@pytest.fixture
def machine() -> Machine:
    return Machine()


def steady(machine: Machine, commit_ms: int = NOON_MS) -> Steady:
    """What a process that has just begun believes, after a last commit of *commit_ms*."""
    one = Steady(Settings(), machine.wall, machine.elapsed)
    one.begin(commit_ms)
    return one


def test_a_wall_clock_that_goes_with_the_time_is_believed(machine: Machine) -> None:
    one = steady(machine)
    machine.passed_ms += YEAR_MS

    assert one.now_ms() == machine.wall()


@pytest.mark.parametrize("leap_ms", [2 * 60_000, DAY_MS, YEAR_MS])
def test_a_leap_ahead_is_not_believed(machine: Machine, leap_ms: int) -> None:
    one = steady(machine)
    machine.set_ms = leap_ms
    machine.passed_ms += 1_000

    assert one.now_ms() == machine.right_ms


def test_a_leap_that_is_taken_back_leaves_nothing_behind(machine: Machine) -> None:
    """The next leap is doubted from its own beginning."""
    one = steady(machine)
    for set_ms in (YEAR_MS, 0, YEAR_MS):
        machine.set_ms = set_ms
        machine.passed_ms += DAY_MS - 1

        assert one.now_ms() == machine.right_ms


def test_a_clock_that_leaps_again_and_again_is_never_believed(machine: Machine) -> None:
    one = steady(machine)
    for _ in range(9):
        machine.set_ms += YEAR_MS
        machine.passed_ms += DAY_MS // 2

        assert one.now_ms() == machine.right_ms


def test_a_clock_that_stands_by_what_it_says_is_believed_after_a_grace(machine: Machine) -> None:
    """As that of a machine that began in 1970 and has been told the time since."""
    one = steady(machine)
    machine.set_ms = YEAR_MS
    one.now_ms()
    machine.passed_ms += DAY_MS

    assert one.now_ms() == machine.wall()


def test_a_clock_that_is_set_back_is_followed_and_its_return_is_a_leap(machine: Machine) -> None:
    one = steady(machine)
    machine.set_ms = -YEAR_MS
    before = one.now_ms()
    machine.set_ms = 0

    assert (before, one.now_ms()) == (machine.right_ms - YEAR_MS,) * 2


def test_a_process_that_begins_far_ahead_of_the_last_commit_doubts_its_clock(
    machine: Machine,
) -> None:
    machine.set_ms = YEAR_MS
    one = steady(machine, NOON_MS)
    machine.passed_ms += 1_000

    assert one.now_ms() == NOON_MS + 1_000


@pytest.mark.parametrize("commit_ms", [0, NOON_MS - 6 * DAY_MS, NOON_MS + DAY_MS])
def test_a_process_that_begins_near_the_last_commit_believes_its_clock(
    machine: Machine, commit_ms: int
) -> None:
    assert steady(machine, commit_ms).now_ms() == machine.wall()

"""Kill points: nothing unless armed, and then the death of the process at the nth time."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest

from bus.faults import VARIABLE, Unarmed, arm, hang, point

PASSING = """
import os
from bus.faults import arm, point
arm(os.environ)
for time in (1, 2, 3):
    point("append.sent")
    print(time, flush=True)
"""


@pytest.mark.parametrize(
    ("told", "lived"),
    [("", ["1", "2", "3"]), ("append.sent", []), ("append.sent:3", ["1", "2"])],
)
def test_an_armed_process_dies_at_the_nth_passing(told: str, lived: list[str]) -> None:
    ran = subprocess.run(
        [sys.executable, "-c", PASSING],
        env={VARIABLE: told}, capture_output=True, text=True, check=False,
    )  # fmt: skip

    assert ran.stdout.split() == lived
    assert ran.returncode == (-signal.SIGKILL if told else 0)


@pytest.mark.parametrize("told", ["no.such", "append.sent:soon"])
def test_what_is_no_point_is_refused(told: str) -> None:
    with pytest.raises(Unarmed, match=told):
        arm({VARIABLE: told})


def test_a_hook_hears_of_every_point() -> None:
    heard: list[str] = []
    hang(heard.append)
    point("append.sent")
    hang(None)
    point("append.stored")

    assert heard == ["append.sent"]

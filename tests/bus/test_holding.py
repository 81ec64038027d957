"""One node per data directory."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from bus.holding import FILE, Held, Holder, hold, holder

STARTED = "2026-11-21T05:29:37.123Z"


def test_the_second_one_learns_who_was_first(tmp_path: Path) -> None:
    with hold(tmp_path, STARTED) as holding:
        holding.announce("http://127.0.0.1:7770")

        with (
            pytest.raises(Held, match=rf"pid {os.getpid()}, since 2026.*http://127.0.0.1:7770"),
            hold(tmp_path, STARTED),
        ):
            pass
        assert holder(tmp_path) == Holder(os.getpid(), STARTED, "http://127.0.0.1:7770")


def test_a_directory_let_go_is_free(tmp_path: Path) -> None:
    with hold(tmp_path / "data", STARTED):
        pass

    assert holder(tmp_path / "data") is None
    with hold(tmp_path / "data", STARTED):
        pass


def test_a_directory_that_was_open_to_others_is_closed(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    with hold(tmp_path, STARTED):
        assert tmp_path.stat().st_mode & 0o777 == 0o700


def test_nobody_holds_what_is_not_there(tmp_path: Path) -> None:
    assert holder(tmp_path / "data") is None
    assert not (tmp_path / "data").exists()


def test_a_holder_that_has_not_said_who_it_is_holds_nevertheless(tmp_path: Path) -> None:
    with hold(tmp_path, STARTED):
        (tmp_path / FILE).write_text("{")

        with pytest.raises(Held, match="just starting") as caught, hold(tmp_path, STARTED):
            pass
    assert caught.value.holder is None


CHILD = """
import sys
from pathlib import Path
from bus.holding import hold
with hold(Path(sys.argv[1]), "now"):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_a_killed_holder_lets_go(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", CHILD, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == b"held\n"
        told = holder(tmp_path)
        child.kill()

    assert told == Holder(child.pid, "now")
    with hold(tmp_path, STARTED):
        pass

"""Durable small files: what each step leaves behind, on a real disk and on the simulated one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random

import pytest

from bus.storage import Directory, Storage
from gateway.bench.simulation.disk import SimulatedDisk
from gateway.bench.simulation.loop import PROCESS, Killed, Process

Opened = Callable[[str], Storage]
"""Opens a directory by its name."""


@pytest.fixture(params=["real", "simulated"])
def opened(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Opened]:
    """How directories are opened, on each kind of disk."""
    if request.param == "real":
        yield lambda name: Directory(tmp_path / name)
    else:
        machine = SimulatedDisk(Random(1), lambda _: False)
        mine = PROCESS.set(Process("test"))
        yield lambda name: machine.opened(tmp_path / name)
        PROCESS.reset(mine)


@pytest.fixture
def directory(opened: Opened) -> Iterator[Storage]:
    one = opened("files")
    yield one
    one.close()


def test_what_is_appended_lies_at_the_end(directory: Storage) -> None:
    directory.append("one", b"first ")
    directory.append("one", b"second")

    assert directory.read("one") == b"first second"


def test_what_is_put_lies_over_what_was_there(directory: Storage) -> None:
    directory.append("one", b"0123456789")
    directory.put("one", 3, b"abc")

    assert directory.read("one") == b"012abc6789"


def test_a_file_is_put_past_its_end(directory: Storage) -> None:
    directory.put("one", 4, b"x")

    assert directory.read("one") == b"\0\0\0\0x"


def test_what_is_replaced_is_the_file_that_is_appended_to(directory: Storage) -> None:
    directory.append("one", b"old")
    directory.replace("one", b"new")
    directory.append("one", b"er")

    assert (directory.read("one"), directory.names()) == (b"newer", ["one"])


def test_what_is_removed_is_gone_and_may_be_made_anew(directory: Storage) -> None:
    directory.append("one", b"old")
    directory.remove("one")
    directory.remove("one")
    gone = directory.names()
    directory.append("one", b"new")

    assert (gone, directory.read("one")) == ([], b"new")


def test_a_name_is_held_once(opened: Opened) -> None:
    one, other = opened("held"), opened("held")

    held = (one.hold("slot"), other.hold("slot"), other.hold("slot-2"))
    one.close()

    assert (held, other.hold("slot"), one.names()) == ((True, False, True), True, [])
    other.close()


def test_who_has_let_go_holds_nothing_later(opened: Opened) -> None:
    """A thread may come to it after everybody has gone who would let go of it again."""
    one, other = opened("held"), opened("held")
    one.close()

    assert (one.hold("slot"), other.hold("slot")) == (False, True)
    other.close()


def test_files_are_private(tmp_path: Path) -> None:
    directory = Directory(tmp_path / "private")
    directory.append("one", b"x")
    directory.replace("two", b"y")
    modes = [(directory.path / name).stat().st_mode & 0o777 for name in ("one", "two")]
    directory.close()

    assert (modes, directory.path.stat().st_mode & 0o777) == ([0o600, 0o600], 0o700)


@pytest.mark.parametrize("seed", range(20))
def test_a_death_in_the_midst_leaves_nothing_but_a_part(seed: int) -> None:
    """On the simulated disk, where it can be brought about: what was there before stays, up to the
    byte at which it ended."""
    dying = iter((False, True))
    machine = SimulatedDisk(Random(seed), lambda _: next(dying))
    mine = PROCESS.set(Process("test"))
    one = machine.opened(Path("files"))
    one.append("one", b"before ")
    with pytest.raises(Killed):
        one.append("one", b"after")
    PROCESS.reset(mine)

    assert b"before after".startswith(one.read("one"))
    assert one.read("one").startswith(b"before ")


def test_what_was_released_can_be_changed_again(directory: Storage) -> None:
    directory.append("one", b"first ")
    directory.release("one")
    directory.release("another")
    directory.append("one", b"second")

    assert directory.read("one") == b"first second"

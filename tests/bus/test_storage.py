"""Durable small files: what each step leaves behind, on a real disk."""

from __future__ import annotations

from pathlib import Path

import pytest

from bus.storage import Directory


@pytest.fixture
def directory(tmp_path: Path) -> Directory:
    return Directory(tmp_path / "files")


def test_what_is_appended_lies_at_the_end(directory: Directory) -> None:
    directory.append("one", b"first ")
    directory.append("one", b"second")

    assert directory.read("one") == b"first second"


def test_what_is_put_lies_over_what_was_there(directory: Directory) -> None:
    directory.append("one", b"0123456789")
    directory.put("one", 3, b"abc")

    assert directory.read("one") == b"012abc6789"


def test_a_file_is_put_past_its_end(directory: Directory) -> None:
    directory.put("one", 4, b"x")

    assert directory.read("one") == b"\0\0\0\0x"


def test_what_is_replaced_is_the_file_that_is_appended_to(directory: Directory) -> None:
    directory.append("one", b"old")
    directory.replace("one", b"new")
    directory.append("one", b"er")

    assert (directory.read("one"), directory.names()) == (b"newer", ["one"])


def test_what_is_removed_is_gone_and_may_be_made_anew(directory: Directory) -> None:
    directory.append("one", b"old")
    directory.remove("one")
    directory.remove("one")
    gone = directory.names()
    directory.append("one", b"new")

    assert (gone, directory.read("one")) == ([], b"new")


def test_a_name_is_held_once(tmp_path: Path) -> None:
    one, other = Directory(tmp_path / "held"), Directory(tmp_path / "held")

    held = (one.hold("slot"), other.hold("slot"), other.hold("slot-2"))
    one.close()

    assert (held, other.hold("slot"), one.names()) == ((True, False, True), True, [])
    other.close()


def test_files_are_private(directory: Directory) -> None:
    directory.append("one", b"x")
    directory.replace("two", b"y")
    modes = [(directory.path / name).stat().st_mode & 0o777 for name in ("one", "two")]

    assert (modes, directory.path.stat().st_mode & 0o777) == ([0o600, 0o600], 0o700)


@pytest.fixture(autouse=True)
def _closed(directory: Directory) -> object:
    yield
    directory.close()

"""Where an archive lies: what was finished stays what it was, whoever comes after."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path

import pytest

from actors.archive_files import DRAFT, Sink, Taken, directory_sink, opened, tar_sink

DATA = b"The first backup." * 1000


def drafted(path: Path) -> Path:
    """The draft of *path*."""
    return path.with_name(f".{path.name}{DRAFT}")


def finished(path: Path) -> Path:
    with tar_sink(path) as sink:
        sink.put("manifest.json", DATA)
    return path


def read(path: Path) -> bytes:
    with opened(path) as files:
        return files.read("manifest.json")


def test_a_draft_that_is_a_second_name_of_a_finished_backup_is_not_written_to(
    tmp_path: Path,
) -> None:
    """The process was killed after the file had its name, and the file was moved away since."""
    first = finished(tmp_path / "night.tar")
    os.link(first, drafted(first))
    monday = first.rename(tmp_path / "monday.tar")
    with tar_sink(first) as sink:
        sink.put("manifest.json", b"The second backup.")

    assert (read(monday), read(first)) == (DATA, b"The second backup.")
    assert not drafted(first).exists()


@pytest.mark.parametrize("sink", [tar_sink, directory_sink])
def test_who_opened_the_draft_before_another_finished_it_does_not_write_to_it(
    sink: Callable[[Path], AbstractContextManager[Sink]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    path, others = tmp_path / "night", ExitStack()
    others.enter_context(sink(path)).put("manifest.json", DATA)
    real = fcntl.flock

    def after_it_ended(descriptor: int, operation: int) -> None:
        monkeypatch.setattr(fcntl, "flock", real)
        others.close()
        real(descriptor, operation)

    monkeypatch.setattr(fcntl, "flock", after_it_ended)
    with pytest.raises(Taken, match="is there already"), sink(path):
        pass

    assert read(path) == DATA
    assert [one.name for one in tmp_path.iterdir()] == [path.name]


def test_two_do_not_write_to_one_name_at_once(tmp_path: Path) -> None:
    path = tmp_path / "night.tar"
    with tar_sink(path) as sink:
        sink.put("manifest.json", DATA)
        with pytest.raises(Taken, match="another process"), tar_sink(path):
            pass

    assert read(path) == DATA

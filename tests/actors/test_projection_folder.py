"""Which file of tables is read: the farthest that can be; damage is set aside, never fatal."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from actors.projection_file import ProjectionFile, Statements
from actors.projection_folder import Locked, ProjectionFolder
from actors.rooms import statements
from schemas.message import MessagePosted
from schemas.settings import MIB
from tests.examples import Said, header, stored

EPOCH = "0123456789abcdef"
SQL = statements()
NEWER = Statements.of(SQL.text + "\nCREATE TABLE IF NOT EXISTS extra (seq UBIGINT);")
LOG = stored(
    [Said(header(key=f"general.M{nth}"), (MessagePosted(content="x" * 9),)) for nth in range(500)]
)


def folder(path: Path, sql: Statements = SQL, epoch: str = EPOCH) -> ProjectionFolder:
    return ProjectionFolder(path, sql, epoch, 256 * MIB)


def filled(path: Path, count: int, sql: Statements = SQL) -> Path:
    """The path of a closed file at the position *count*."""
    file = folder(path, sql).fresh()
    file.fold(LOG[:count])
    file.close()
    return file.path


def test_an_empty_folder_gets_a_file(tmp_path: Path) -> None:
    file = folder(tmp_path / "new").open(head=0)

    assert (file.seq, file.current) == (0, True)
    file.close()


def test_nobody_else_reads_the_tables(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    file = folder(tmp_path).open(head=0)

    assert tmp_path.stat().st_mode & 0o777 == 0o700
    assert file.path.stat().st_mode & 0o777 == 0o600
    file.close()


def test_the_same_file_is_opened_again(tmp_path: Path) -> None:
    path = filled(tmp_path, 5)
    file = folder(tmp_path).open(head=9)

    assert (file.path, file.seq) == (path, 5)
    file.close()


def test_a_fresh_file_is_always_another(tmp_path: Path) -> None:
    """However many have come and gone: a rebuild must not fill what is being read."""
    one = folder(tmp_path)
    files: list[ProjectionFile] = []
    for _ in range(4):
        files.append(one.fresh())
        if len(files) == 2:
            one.retire(files[0])

    assert len({file.path for file in files}) == 4
    for file in files[1:]:
        one.retire(file)
    assert list(tmp_path.iterdir()) == []


def test_the_farthest_file_is_read_and_unfinished_ones_are_removed(tmp_path: Path) -> None:
    """A successor whose process ended must not take the place of what can be read today."""
    best = filled(tmp_path, 8)
    filled(tmp_path, 3)
    file = folder(tmp_path).open(head=9)

    assert (file.path, file.seq) == (best, 8)
    assert list(tmp_path.glob("*.duckdb")) == [best]
    file.close()


def test_a_file_of_older_sql_is_read_while_todays_queries_can(tmp_path: Path) -> None:
    filled(tmp_path, 5, NEWER)
    file = folder(tmp_path).open(head=9)

    assert (file.seq, file.current) == (5, False)
    file.close()


def test_a_file_that_todays_queries_cannot_read_is_made_anew(tmp_path: Path) -> None:
    """Reads wait for the new one; that is better than reads that fail."""
    filled(tmp_path, 5)
    file = folder(tmp_path, NEWER).open(head=9)

    assert (file.seq, file.current) == (0, True)
    assert len(list(tmp_path.iterdir())) == 1 + len(list(tmp_path.glob("*.wal")))
    file.close()


def test_the_tables_of_another_log_are_set_aside(tmp_path: Path) -> None:
    """It may be the log that is the wrong one: then they are all that is left of the right one."""
    path = filled(tmp_path, 5)
    data = path.read_bytes()
    file = folder(tmp_path, epoch="fedcba9876543210").open(head=9)

    assert file.seq == 0
    assert list(tmp_path.glob("*.duckdb")) == [file.path]
    assert path.with_name(path.name + ".unusable").read_bytes() == data
    file.close()


def test_tables_that_know_more_than_the_log_are_an_alarm(tmp_path: Path) -> None:
    """The log has lost its end, or is an old copy: the tables are kept for who looks into it."""
    path = filled(tmp_path, 8)
    with capture_logs() as logged:
        file = folder(tmp_path).open(head=7)

    assert file.seq == 0
    assert path.with_name(path.name + ".unusable").exists()
    assert [(line["event"], line["log_level"]) for line in logged] == [
        ("projection_set_aside", "critical")
    ]
    file.close()


def garbage(path: Path) -> None:
    path.write_bytes(os.urandom(20_000))


def text(path: Path) -> None:
    path.write_text("hello\n")


def cut(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def beheaded(path: Path) -> None:
    path.write_bytes(bytes(4096) + path.read_bytes()[4096:])


def emptied(path: Path) -> None:
    path.write_bytes(b"")


def journalled(path: Path) -> None:
    path.with_name(path.name + ".wal").write_bytes(os.urandom(5_000))


@pytest.mark.parametrize("damage", [garbage, text, cut, beheaded, emptied, journalled])
def test_a_damaged_file_is_set_aside(tmp_path: Path, damage: Callable[[Path], None]) -> None:
    """The node starts; the tables are made anew."""
    damage(filled(tmp_path, 400))
    with capture_logs():
        file = folder(tmp_path).open(head=500)
    file.fold(LOG[file.seq :])

    assert file.seq == 500
    assert file.hashes(500)["message"][0] == 500
    file.close()


HOLD = """
import sys, duckdb
connection = duckdb.connect(sys.argv[1])
print("held", flush=True)
sys.stdin.read()
"""


def test_a_file_that_another_process_holds_is_no_damage(tmp_path: Path) -> None:
    """DuckDB lets one process write: the second gateway on one folder is told so."""
    path = filled(tmp_path, 5)
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        with pytest.raises(Locked, match="in use"):
            folder(tmp_path).open(head=9)
        holder.communicate(b"")

    assert path.exists()


def test_a_held_file_taken_for_damage_would_be_set_aside(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The proof that the test before this one can fail: who does not know the lock robs its
    holder."""
    monkeypatch.setattr("actors.projection_folder.LOCKED", "words that DuckDB never says")
    path = filled(tmp_path, 5)
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        folder(tmp_path).open(head=9).close()
        holder.communicate(b"")

    assert not path.exists()

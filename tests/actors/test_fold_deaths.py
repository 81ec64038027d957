"""A process that dies while it folds: rows and position have moved together, or not at all."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from actors.projection_file import ProjectionFile
from actors.rooms import statements
from bus.faults import VARIABLE, Point
from bus.log import Stored
from schemas.message import MessagePosted
from schemas.settings import MIB
from tests.examples import Said, header, stored

EPOCH = "0123456789abcdef"
COMMITS = 12
ALL = 2**63 - 1
ROOT = Path(__file__).parents[2]

FOLDING = """
import json, os, sys
from pathlib import Path
from actors.projection_file import MOVE, ProjectionFile
from actors.rooms import statements
from bus.faults import arm, point
from bus.log import Stored

def torn(self, facts, commits, kinds, last):
    "The position moves after the rows, not with them."
    connection = self._connection
    connection.register("batch", facts)
    connection.register("commits", commits)
    for statement, concerned in self.statements.inserts:
        if concerned & kinds:
            connection.execute(statement)
    point("fold.committed")
    connection.execute(MOVE, [last, self.seq])

if "torn" in sys.argv:
    ProjectionFile._transact = torn
log = [Stored(n, noun, key, text.encode()) for n, noun, key, text in json.load(open(sys.argv[1]))]
file = ProjectionFile(Path(sys.argv[2]), statements(), sys.argv[3], 256 << 20)
arm(os.environ)
while file.seq < len(log):
    file.fold(log[file.seq : file.seq + 3])
file.close()
"""


@pytest.fixture
def log() -> list[Stored]:
    said = [(header(key=f"general.M{nth}"), MessagePosted(content="Hi.")) for nth in range(COMMITS)]
    return stored([Said(one, (event,)) for one, event in said])


def folded(log: list[Stored], folder: Path, fault: str, *how: str) -> int:
    """The end of a process that folds *log* into the file in *folder*, and dies at *fault*."""
    commits = [(one.seq, one.noun, one.key, one.payload.decode()) for one in log]
    (folder / "log.json").write_text(json.dumps(commits))
    files = (str(folder / "log.json"), str(folder / "a.duckdb"))
    words = [sys.executable, "-c", FOLDING, *files, EPOCH, *how]
    return subprocess.run(words, env={VARIABLE: fault}, cwd=ROOT, check=False).returncode


def hashes(path: Path, log: list[Stored] | None = None) -> dict[str, tuple[int, int]]:
    """What the tables at *path* hold, *log* folded into them before."""
    file = ProjectionFile(path, statements(), EPOCH, 256 * MIB)
    if log:
        file.fold(log)
    try:
        return file.hashes(ALL)
    finally:
        file.close()


@pytest.mark.parametrize("point", ["fold.staged", "fold.committed"])
def test_a_death_in_a_fold_leaves_tables_that_go_on(
    tmp_path: Path, log: list[Stored], point: Point
) -> None:
    """They are in the end what they would have been without it."""
    assert folded(log, tmp_path, f"{point}:2") == -signal.SIGKILL
    assert folded(log, tmp_path, "") == 0

    assert hashes(tmp_path / "a.duckdb") == hashes(tmp_path / "b.duckdb", log)


def test_a_position_that_moves_by_itself_doubles_rows(tmp_path: Path, log: list[Stored]) -> None:
    """The proof that the test before this one can fail."""
    assert folded(log, tmp_path, "fold.committed:2", "torn") == -signal.SIGKILL
    assert folded(log, tmp_path, "", "torn") == 0

    assert hashes(tmp_path / "a.duckdb") != hashes(tmp_path / "b.duckdb", log)

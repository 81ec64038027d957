"""The tables of every room in memory, folded from commits that a test makes up."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from actors.projection_file import ProjectionFile
from actors.rooms import statements
from schemas.envelope import Event, Id, Key
from schemas.settings import MIB
from tests.examples import WHEN_MS, Said, header, stored

NOW = "2027-01-20T00:00:00.000Z"
"""A moment some days after the examples begin."""
ALL = 2**63 - 1


class Tables:
    """Tables at the position of the last of some commits."""

    def __init__(self, commits: Sequence[Said] = (), cut: int = 100) -> None:
        """Folds *commits*, at most *cut* at once."""
        self._file = ProjectionFile(Path(":memory:"), statements(), "0123456789abcdef", 256 * MIB)
        self._said: list[Said] = []
        log = stored(commits)
        for start in range(0, len(log), cut):
            self._file.fold(log[start : start + cut])

    def __enter__(self) -> Tables:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def tell(
        self, noun: str, key: Key, *events: Event, by: Id = "ann", origin: Id = "n1", at: int = 0
    ) -> int:
        """Fold one commit by *by*, said *at* seconds (a second after the last): its position."""
        seq = len(self._said) + 1
        clock = f"{WHEN_MS + (at or seq) * 1000:012x}0000"
        said = Said(header(noun, key, author=by, origin=origin, clock=clock), events)
        self._said.append(said)
        self._file.fold([said.stored(seq)])
        return seq

    def rows(self, sql: str, *args: object) -> list[dict[str, Any]]:
        """The rows of one statement as dictionaries."""
        with closing(self._file.cursor()) as cursor:
            cursor.execute(sql, args)
            names = [column[0] for column in cursor.description or ()]
            return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]

    def hashes(self) -> dict[str, tuple[int, int]]:
        """For each table how many rows it has, and a hash of them."""
        return self._file.hashes(ALL)


def without(row: dict[str, Any], *columns: str) -> dict[str, Any]:
    """*row* but for some of its columns."""
    return {name: value for name, value in row.items() if name not in columns}

"""How the log becomes tables: as a set, at a position, all or nothing, and loudly not at all."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

import orjson
import pytest
from msgspec.structs import replace

from actors.batch import EVERY
from actors.projection_file import (
    Damaged,
    Displaced,
    Foreign,
    Poison,
    ProjectionFile,
    Statements,
)
from actors.rooms import statements
from bus.log import Stored
from schemas.message import MessageEdited, MessagePosted, ReactionAdded
from schemas.settings import MIB
from schemas.upcasters import Upcasters
from schemas.vocabulary import EVENTS
from tests.examples import WHEN_MS, Said, header, stored

EPOCH = "0123456789abcdef"
ALL = 2**63 - 1
SQL = statements()
SAID = [
    Said(header(key=f"general.M{nth}"), (MessagePosted(content=f"{nth} Hæ?"),)) for nth in range(7)
]
LOG = stored(SAID)


def opened(path: Path, sql: Statements = SQL, epoch: str = EPOCH) -> ProjectionFile:
    """The file at *path*."""
    return ProjectionFile(path, sql, epoch, 256 * MIB)


@pytest.fixture
def file(tmp_path: Path) -> Iterator[ProjectionFile]:
    """An empty file."""
    one = opened(tmp_path / "t.duckdb")
    yield one
    one.close()


def posted(file: ProjectionFile) -> list[int]:
    """The positions of the messages in the table."""
    rows = file.cursor().execute("SELECT seq FROM message ORDER BY seq").fetchall()
    return [seq for (seq,) in rows]


def test_a_new_file_has_every_table_and_nothing_in_them(file: ProjectionFile) -> None:
    assert file.seq == 0
    assert file.current
    assert {"account", "channel", "cursor", "message", "workspace_claim"} <= set(file.tables())
    assert {count for count, _ in file.hashes(ALL).values()} == {0}


def test_what_is_folded_survives_the_process(tmp_path: Path) -> None:
    """The position with it."""
    first = opened(tmp_path / "t.duckdb")
    first.fold(LOG[:4])
    hashes = first.hashes(ALL)
    first.close()
    again = opened(tmp_path / "t.duckdb")

    assert (again.seq, again.hashes(ALL)) == (4, hashes)
    again.close()


def test_what_was_not_committed_is_not_there(tmp_path: Path) -> None:
    """A process that ends in the middle of a batch leaves neither facts nor a position."""
    first = opened(tmp_path / "t.duckdb")
    first.fold(LOG[:4])
    with pytest.raises(Poison):
        first.fold([*poisoned(LOG[4:6], "data"), LOG[6]])
    first.close()
    again = opened(tmp_path / "t.duckdb")

    assert (again.seq, posted(again)) == (5, [1, 2, 3, 4, 5])
    again.close()


@pytest.mark.parametrize("size", [1, 2, 3, 100])
def test_the_tables_are_the_same_however_the_log_is_cut(tmp_path: Path, size: int) -> None:
    """And the hash up to a position is that of a file that ends there."""
    whole, cut, part = (opened(tmp_path / f"{name}.duckdb") for name in ("whole", "cut", "part"))
    whole.fold(LOG)
    part.fold(LOG[:3])
    for start in range(0, len(LOG), size):
        cut.fold(LOG[start : start + size])

    assert cut.hashes(ALL) == whole.hashes(ALL)
    assert cut.hashes(3) == part.hashes(ALL) != whole.hashes(ALL)
    for one in (whole, cut, part):
        one.close()


def poisoned(commits: Sequence[Stored], how: str) -> list[Stored]:
    """*commits*, the last one made unreadable."""
    *sound, last = commits
    commit = orjson.loads(last.payload)
    header, fact = commit["header"], commit["events"][0]
    match how:
        case "bytes":
            return [*sound, replace(last, payload=b"\xff hello")]
        case "nothing":
            return [*sound, replace(last, payload=b"")]
        case "kind":
            fact["kind"] = "martian_landed"
        case "version":
            fact["v"] = 9
        case "header":
            del header["clock"]
        case "clock":
            header["clock"] = "noon"
        case "future":
            header["v"] = 2
        case "author":
            header["author"] = {"name": "ann"}
        case "elsewhere":
            header["key"] = "general.M999"
        case "data":
            del fact["data"]
        case "table":
            fact["kind"], fact["data"] = "cursor_advanced", {"seq": "far"}
        case _:
            raise AssertionError(how)
    return [*sound, replace(last, payload=orjson.dumps(commit))]


@pytest.mark.parametrize(
    "how",
    [
        "bytes",
        "nothing",
        "kind",
        "version",
        "header",
        "clock",
        "future",
        "author",
        "elsewhere",
        "data",
        "table",
    ],
)
def test_a_poisoned_commit_stops_the_projection_and_names_itself(
    file: ProjectionFile, how: str
) -> None:
    """What came before it is in the tables; nothing after it is, and it is not skipped."""
    batch = [*poisoned(LOG[:5], how), *LOG[5:]]
    for _ in range(2):
        with pytest.raises(Poison, match=r"^position 5 cannot be projected: "):
            file.fold(batch)
        batch = batch[4:]

    assert (file.seq, posted(file)) == (4, [1, 2, 3, 4])


def test_a_position_moves_from_where_it_is_believed_to_be(tmp_path: Path) -> None:
    """Else a commit that was stored although it failed would be folded twice."""
    one, other = opened(tmp_path / "t.duckdb"), opened(tmp_path / "t.duckdb")
    one.fold(LOG[:4])

    with pytest.raises(Displaced):
        other.fold(LOG[:4])
    assert posted(other) == [1, 2, 3, 4]
    for file in (one, other):
        file.close()


def test_tables_of_another_log_are_foreign(tmp_path: Path) -> None:
    """Its positions mean nothing here."""
    opened(tmp_path / "t.duckdb").close()

    with pytest.raises(Foreign, match="fedcba9876543210"):
        opened(tmp_path / "t.duckdb", epoch="fedcba9876543210")


def test_tables_that_older_sql_has_made_are_filled_by_it(tmp_path: Path) -> None:
    """So that they can be read until their successor is ready."""
    older = Statements.of(SQL.text + "\nCREATE TABLE extra (seq UBIGINT);")
    first = opened(tmp_path / "t.duckdb", older)
    first.fold(LOG[:3])
    first.close()
    again = opened(tmp_path / "t.duckdb")
    again.fold(LOG[3:])

    assert not again.current
    assert again.statements == older
    assert again.answers(SQL)
    assert posted(again) == list(range(1, 8))
    again.close()


def test_tables_that_read_old_events_otherwise_are_not_current(tmp_path: Path) -> None:
    """The same SQL was given other facts: a successor is due."""
    before = Statements.of(SQL.text)
    since = Statements.of(SQL.text, Upcasters({("message_posted", 1): dict}))
    opened(tmp_path / "t.duckdb", before).close()
    unchanged = opened(tmp_path / "t.duckdb", before)
    assert unchanged.current
    unchanged.close()
    outdated = opened(tmp_path / "t.duckdb", since)

    assert not outdated.current
    assert outdated.statements == before
    outdated.close()


def test_tables_without_a_column_of_todays_do_not_answer(tmp_path: Path) -> None:
    """Queries that were written for today's SQL would fail on them."""
    older = Statements.of("CREATE TABLE IF NOT EXISTS cursor (seq UBIGINT)")
    file = opened(tmp_path / "t.duckdb", older)

    assert not file.answers(SQL)
    assert file.answers(older)
    file.close()


def test_rows_that_come_in_pairs_are_compared_too(tmp_path: Path) -> None:
    """An exclusive or of their hashes would be 0, whatever they say."""
    bare = Statements.of("CREATE TABLE t (seq UBIGINT, word VARCHAR)")
    files = [opened(tmp_path / f"{word}.duckdb", bare) for word in "ab"]
    for file, word in zip(files, "ab", strict=True):
        file.cursor().execute("INSERT INTO t VALUES (1, 'same'), (2, ?), (2, ?)", [word, word])

    assert files[0].hashes(1) == files[1].hashes(1)
    assert files[0].hashes(2) != files[1].hashes(2)
    assert files[0].differs_from(files[1], "t", 2) == 2
    for file in files:
        file.close()


def test_a_version_is_that_of_the_sql_and_not_of_its_comments() -> None:
    """A remark rebuilds nothing."""
    bare = Statements.of("CREATE TABLE t (seq UBIGINT); INSERT INTO t SELECT seq FROM batch;")
    told = Statements.of(
        "-- What is told; all of it.\n"
        "CREATE TABLE t (seq UBIGINT); INSERT INTO t SELECT seq FROM batch;"
    )
    other = Statements.of("CREATE TABLE t (seq UBIGINT);")

    assert told.creates == bare.creates
    assert told.inserts == bare.inserts
    assert other.version != bare.version


def test_every_statement_of_every_room_concerns_some_event() -> None:
    """One for an unknown kind would wait for ever; one that quotes none is for all."""
    for text, kinds in SQL.inserts:
        quoted = set(re.findall(r"kind\s*=\s*'(\w+)'", text))
        assert kinds, text
        assert quoted <= kinds, text


def test_every_event_concerns_some_statement() -> None:
    """Nothing is said that no table remembers; of a receipt it is enough that it was kept."""
    remembered = frozenset().union(*(kinds for _, kinds in SQL.inserts))

    assert remembered == {*EVENTS, EVERY} - {"receipt_kept"}


def test_a_difference_is_found_and_placed(tmp_path: Path) -> None:
    """Whether a row was changed, removed or doubled."""
    ours, theirs = opened(tmp_path / "ours.duckdb"), opened(tmp_path / "theirs.duckdb")
    for one in (ours, theirs):
        one.fold(LOG)
    assert ours.differs_from(theirs, "message", ALL) == 0
    for place, tampering in (
        (7, "UPDATE message SET content = 'Ho.' WHERE seq = 7"),
        (5, "INSERT INTO message SELECT * FROM message WHERE seq = 5"),
        (2, "DELETE FROM message WHERE seq = 2"),
    ):
        ours.cursor().execute(tampering)

        assert ours.hashes(ALL)["message"] != theirs.hashes(ALL)["message"]
        assert ours.differs_from(theirs, "message", ALL) == place
    assert ours.hashes(1) == theirs.hashes(1)
    for one in (ours, theirs):
        one.close()


def test_a_batch_of_all_kinds_is_one_step(file: ProjectionFile) -> None:
    """Several events of one commit, several commits of one message."""
    told = (MessageEdited(content="Ho."), ReactionAdded(reaction="like"))
    file.fold(stored([SAID[0], Said(header(key="general.M0"), told)]))
    rows = file.cursor().execute("SELECT seq, kind FROM message_change ORDER BY kind").fetchall()

    assert rows == [(2, "message_edited"), (2, "reaction_added")]


def test_duckdbs_own_trouble_is_no_fault_of_a_commit(file: ProjectionFile) -> None:
    """It is not blamed on a position."""
    file.close()

    with pytest.raises(Damaged, match="closed"):
        file.fold(LOG)


def test_every_commit_is_a_row_whatever_it_is_about(file: ProjectionFile) -> None:
    """With what called for it, and all that it says."""
    told = (MessageEdited(content="Ho."), ReactionAdded(reaction="like"))
    chain = {"cause": "c2", "correlation": "r1", "parent": "p1", "fingerprint": "f1"}
    file.fold(stored([SAID[0], Said(header(key="general.M0", id="m2", **chain), told)]))
    cursor = file.cursor().execute("SELECT * FROM commit WHERE seq = 2")
    row = dict(zip([name for name, *_ in cursor.description], cursor.fetchall()[0], strict=True))

    assert row == {
        "seq": 2,
        "time": datetime.fromtimestamp(WHEN_MS / 1000, UTC).replace(tzinfo=None),
        "noun": "message",
        "key": "general.M0",
        "id": "m2",
        "author": "ann",
        "origin": "n1",
        **chain,
        "kinds": ["message_edited", "reaction_added"],
    }

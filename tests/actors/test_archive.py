"""The log as Parquet: what is in it, that tables made of it are the same, that no change passes."""

from __future__ import annotations

import os
from base64 import b64encode
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from actors.archive import Archive, Writer, tables_of
from actors.archive_files import Damaged, DirectoryFiles, Taken, directory_sink, opened, tar_sink
from actors.archive_manifest import MANIFEST, SIGNATURE, Manifest, Tables, Unsuitable
from actors.projection_file import ProjectionFile
from actors.rooms import statements
from bus import codec
from bus.chain import GENESIS, linked
from bus.crypto.identity import Identity, identity, new_secrets
from bus.log import Stored
from schemas.channel import ChannelOpened
from schemas.message import MessageEdited, MessagePosted
from schemas.settings import MIB, Settings
from tests.examples import Said, header, stored

COMMITS = 40
SIGNER = identity(new_secrets())
SMALL = Settings(archive_part_commits_max=16)
NONE = Tables("v", "e", {})


def said() -> list[Stored]:
    """A log of forty commits: a channel, messages, and an edit of each."""
    opened_ = Said(
        header("channel", "C1"), (ChannelOpened(name="one", type="public", privacy_mode="open"),)
    )
    talk = [
        Said(
            header("message", f"C1.M{nth // 2}", fingerprint="ab" * (nth % 3)),
            (MessageEdited(content=f"{nth} ✓"),)
            if nth % 2
            else (MessagePosted(content=f"{nth}"), MessageEdited(content="at once")),
        )
        for nth in range(COMMITS - 1)
    ]
    return stored([opened_, *talk])


def unheard(*_: object) -> None:
    """Nobody listens."""


def write(path: Path, log: list[Stored], settings: Settings = SMALL) -> Manifest:
    """The archive of *log* in the new directory *path*."""
    with directory_sink(path) as sink:
        writer = Writer(sink, settings)
        writer.add(log, unheard)
        writer.finish(unheard)
        return writer.seal(SIGNER, "test", "0123456789abcdef", NONE)


@pytest.fixture
def written(tmp_path: Path) -> Path:
    write(tmp_path / "log", said())
    return tmp_path / "log"


@pytest.fixture
def tables() -> Iterator[ProjectionFile]:
    with closing(fresh()) as file:
        yield file


def fresh() -> ProjectionFile:
    return ProjectionFile(Path(":memory:"), statements(), "0123456789abcdef", 256 * MIB)


def resigned(path: Path, by: Identity | None = None, **fields: object) -> None:
    """The manifest in *path* says something else; *by* has signed it, or a node that it names."""
    if by is None:
        by = identity(new_secrets())
        verify_key = b64encode(by.verify_key).decode()
        fields |= {"node": by.node_id, "verify_key": verify_key}
    told = msgspec.structs.replace(Archive(DirectoryFiles(path)).manifest, **fields)
    text = msgspec.json.encode(told)
    (path / MANIFEST).write_bytes(text)
    (path / SIGNATURE).write_bytes(b64encode(by.sign("backup", text)))


def test_every_commit_comes_back_byte_by_byte(tmp_path: Path) -> None:
    log = said()
    manifest = write(tmp_path / "log", log)
    archive = Archive(DirectoryFiles(tmp_path / "log"))

    assert [one for part in manifest.parts for one in archive.commits(part)] == log
    assert manifest.chain == linked(GENESIS, log).digest.hex()
    assert len(manifest.parts) == 3


def test_other_programs_can_read_the_columns(written: Path) -> None:
    table = pq.read_table(written / "commits-000000000001.parquet")
    second = table.slice(1, 1).to_pylist()[0]

    assert (second["noun"], second["key"], second["author"]) == ("message", "C1.M0", "ann")
    assert second["kinds"] == ["message_posted", "message_edited"]
    assert codec.decode(second["payload"]).header.id == second["id"]


@pytest.mark.parametrize("commits", [1, 7, 1000])
def test_tables_are_the_same_however_the_archive_is_cut(
    tmp_path: Path, tables: ProjectionFile, commits: int
) -> None:
    log = said()
    write(tmp_path / "log", log, Settings(archive_part_commits_max=commits))
    with closing(fresh()) as live:
        live.fold(log)
        wanted = tables_of(live)
    Archive(DirectoryFiles(tmp_path / "log")).fill(tables, unheard)

    assert tables_of(tables) == wanted
    assert tables.seq == COMMITS


def test_events_in_older_shapes_are_read_from_the_payloads(
    written: Path, tables: ProjectionFile
) -> None:
    resigned(written, SIGNER, shapes="another program's")
    archive = Archive(DirectoryFiles(written))
    for path in written.glob("events-*"):
        path.unlink()  # What is not read need not be there.
    archive.fill(tables, unheard)
    with closing(fresh()) as live:
        live.fold([one for part in archive.manifest.parts for one in archive.commits(part)])
        wanted = tables_of(live)

    assert not archive.present
    assert tables_of(tables) == wanted


def test_filling_goes_on_where_it_was_broken_off(written: Path, tables: ProjectionFile) -> None:
    archive = Archive(DirectoryFiles(written))
    first = archive.manifest.parts[0]
    tables.fold_rows(*archive.rows(first), first.first, first.last)
    heard: list[int] = []
    archive.fill(tables, lambda part: heard.append(part.first))

    assert heard == [17, 33]
    assert tables.seq == COMMITS


@pytest.mark.parametrize("nth", range(8))
@pytest.mark.parametrize("where", [0.01, 0.5, 0.99])
def test_no_flipped_bit_passes(
    written: Path, tables: ProjectionFile, nth: int, where: float
) -> None:
    path = sorted(written.iterdir())[nth]
    data = bytearray(path.read_bytes())
    data[int(len(data) * where)] ^= 0x04
    path.write_bytes(data)

    with pytest.raises((Damaged, Unsuitable)) as told:
        everything(written, tables)
    assert path.stem.split(".")[0] in str(told.value)


class Gullible(Archive):
    """An archive that believes its files."""

    def _checked(self, name: str, digest: str) -> bytes:
        return self._files.read(name)


def test_a_flipped_bit_would_pass_without_the_checksum(
    tmp_path: Path, tables: ProjectionFile
) -> None:
    write(tmp_path / "log", said())
    path = tmp_path / "log" / "events-000000000001.parquet"
    table = pq.read_table(path)
    authors = pa.array(["eve"] * table.num_rows)
    pq.write_table(table.set_column(4, "author", authors), path)
    Gullible(DirectoryFiles(tmp_path / "log")).fill(tables, unheard)

    assert tables.seq == COMMITS
    with pytest.raises(Damaged, match="events-000000000001"):
        everything(tmp_path / "log", tables)


def everything(path: Path, tables: ProjectionFile) -> None:
    """Read all of an archive. Raises what is wrong with it."""
    with opened(path) as files:
        archive = Archive(files)
        for part in archive.manifest.parts:
            archive.commits(part)
            archive.rows(part)
        archive.fill(tables, unheard)


def test_a_forged_row_is_named_though_the_checksums_are_right(written: Path) -> None:
    name = "commits-000000000017.parquet"
    table = pq.read_table(written / name)
    payloads = table.column("payload").to_pylist()
    payloads[3] = payloads[3].replace(b"at once", b"at last")
    forged = table.set_column(13, "payload", pa.array(payloads, pa.binary()))
    pq.write_table(forged, written / name)
    data = (written / name).read_bytes()
    parts = list(Archive(DirectoryFiles(written)).manifest.parts)
    digest = codec.digest(data)
    parts[1] = msgspec.structs.replace(parts[1], commits_blake2b=digest, commits_bytes=len(data))
    resigned(written, SIGNER, parts=tuple(parts))
    archive = Archive(DirectoryFiles(written))

    with pytest.raises(Damaged, match=rf"{name} row 3: the events do not have the digest"):
        archive.commits(archive.manifest.parts[1])


def test_a_manifest_of_another_archive_is_found(tmp_path: Path, written: Path) -> None:
    write(tmp_path / "other", said())
    for name in (MANIFEST, SIGNATURE):
        (tmp_path / "other" / name).replace(written / name)
    archive = Archive(DirectoryFiles(written))

    with pytest.raises(Damaged, match="commits-000000000001"):
        archive.commits(archive.manifest.parts[0])


def test_a_manifest_that_another_node_signed_is_found(written: Path) -> None:
    resigned(written, identity(new_secrets()))

    with pytest.raises(Damaged, match="not what its node signed"):
        Archive(DirectoryFiles(written))


def test_an_archive_of_a_later_program_is_refused_in_words(written: Path) -> None:
    resigned(written, SIGNER, format=99)

    with pytest.raises(Unsuitable, match="upgrade Canopy"):
        Archive(DirectoryFiles(written))


def test_parts_follow_each_other(written: Path) -> None:
    parts = Archive(DirectoryFiles(written)).manifest.parts
    resigned(written, SIGNER, parts=(parts[0], parts[2]))

    with pytest.raises(Damaged, match="do not follow"):
        Archive(DirectoryFiles(written))


def test_a_log_with_a_hole_or_a_damaged_commit_is_not_copied(tmp_path: Path) -> None:
    log = said()
    damaged = [*log[:5], msgspec.structs.replace(log[5], payload=log[9].payload), *log[6:]]

    with pytest.raises(Damaged, match="position 3 is missing"):
        write(tmp_path / "hole", [*log[:2], *log[3:]])
    with pytest.raises(Damaged, match="position 6"):
        write(tmp_path / "damaged", damaged)
    assert list(tmp_path.iterdir()) == []


def test_an_archive_in_one_file_is_the_same(tmp_path: Path, tables: ProjectionFile) -> None:
    log = said()
    with tar_sink(tmp_path / "log.canopy") as sink:
        writer = Writer(sink, SMALL)
        writer.add(log, unheard)
        writer.finish(unheard)
        writer.seal(SIGNER, "test", "0123456789abcdef", NONE)
    with opened(tmp_path / "log.canopy") as files:
        archive = Archive(files)
        found = [one for part in archive.manifest.parts for one in archive.commits(part)]
        archive.fill(tables, unheard)

    assert found == log
    assert tables.seq == COMMITS
    assert (tmp_path / "log.canopy").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("left", [0, 100, 5000, -1])
def test_a_file_that_was_cut_off_is_found(
    tmp_path: Path, tables: ProjectionFile, left: int
) -> None:
    path = tmp_path / "log.canopy"
    with tar_sink(path) as sink:
        writer = Writer(sink, SMALL)
        writer.add(said(), unheard)
        writer.finish(unheard)
        writer.seal(SIGNER, "test", "0123456789abcdef", NONE)
    os.truncate(path, left if left >= 0 else path.stat().st_size // 2)

    with pytest.raises(Damaged, match=r"log\.canopy"):
        everything(path, tables)


@pytest.mark.parametrize("sink", [directory_sink, tar_sink])
def test_what_is_there_is_not_overwritten_and_a_failure_leaves_nothing(
    tmp_path: Path, sink: type
) -> None:
    (tmp_path / "mine").write_text("mine")

    with pytest.raises(Taken, match="mine is there already"), sink(tmp_path / "mine"):
        pass
    with pytest.raises(FileNotFoundError), sink(tmp_path / "new") as half:
        half.put("a", (tmp_path / "absent").read_bytes())
    assert [one.name for one in tmp_path.iterdir()] == ["mine"]


@pytest.mark.parametrize("sink", [directory_sink, tar_sink])
def test_two_do_not_write_one_archive(tmp_path: Path, sink: type) -> None:
    with (
        sink(tmp_path / "new"),
        pytest.raises(Taken, match="another process"),
        sink(tmp_path / "new"),
    ):
        pass

"""The log as Parquet: what `canopy export` and `canopy backup` write, and what is made of it again.

An archive is a set of named files: parts of bounded size in pairs, and a manifest that comes last.
`commits-*.parquet` has one row for each commit, with its exact payload, so that header bytes and
digests stay what they were; `events-*.parquet` has one row for each event in the shape of
`actors.batch.BATCH`, from which tables are filled as they lie. Read `Writer` first, then `Archive`;
`actors.archive_manifest` is what vouches for the rest (ADR 0019).
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from hashlib import blake2b
from itertools import zip_longest

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from actors.archive_files import Damaged, Files, Sink
from actors.archive_manifest import (
    FORMAT,
    MANIFEST,
    SIGNATURE,
    Key,
    Manifest,
    Part,
    Tables,
    read_manifest,
)
from actors.batch import BATCH, COMMITS, Rows, batch
from actors.eraser import called_for
from actors.projection_file import ProjectionFile
from bus import codec
from bus.chain import GENESIS, linked
from bus.crypto.identity import Identity
from bus.log import Stored
from schemas.envelope import Header
from schemas.settings import Settings
from schemas.upcasters import UPCASTERS

KEYS = "keys.sealed"
PLACED = ("seq", "noun", "key", "payload")
"""The columns that make a commit as it lies in the log."""

WHOLE = COMMITS.append(pa.field("clock", pa.string())).append(pa.field("payload", pa.binary()))
"""One row for each commit: what projections read of it, its clock, and what lies in the log."""

Filled = Callable[[Rows, Rows, int, int], None]
"""Told the events and the commits of a part that is complete, its first and last position."""


class Writer:
    """Writes an archive, part by part: `add` commits in order, then `finish`."""

    def __init__(self, sink: Sink, settings: Settings) -> None:
        self._sink = sink
        self._commits_max = settings.archive_part_commits_max
        self._bytes_max = settings.archive_part_bytes_max
        self._waiting: list[Stored] = []
        self._waiting_bytes = 0
        self._bytes = 0
        self._parts: list[Part] = []
        self._place = GENESIS
        self._keys: Key | None = None
        self.last = 0

    def add(self, page: Sequence[Stored], filled: Filled) -> None:
        """Take *page*, which follows what was added before; *filled* hears of each part that is
        complete, before it is written.

        Raises `Damaged` for a commit that is not what its header says.
        """
        for one in page:
            if one.seq != self.last + 1:
                raise Damaged(f"position {self.last + 1} is missing from the log")
            if self._full(len(one.payload)):
                self._write(filled)
            self._place = linked(self._place, (one,))
            self._waiting.append(one)
            self._waiting_bytes += len(one.payload)
            self._bytes += len(one.payload)
            self.last = one.seq

    def _full(self, more_bytes: int) -> bool:
        many = len(self._waiting) >= self._commits_max
        return many or (bool(self._waiting) and self._waiting_bytes + more_bytes > self._bytes_max)

    def finish(self, filled: Filled) -> None:
        """What still waits is written."""
        if self._waiting:
            self._write(filled)

    def put_keys(self, sealed: bytes) -> None:
        """The sealed keys of the node come along."""
        self._sink.put(KEYS, sealed)
        self._keys = Key(len(sealed), _sum(sealed))

    def seal(self, signer: Identity, program: str, epoch: str, tables: Tables) -> Manifest:
        """Write the manifest of what has been written, signed by *signer*; it is the last file."""
        made = Manifest(
            format=FORMAT,
            program=program,
            created=datetime.now(UTC).isoformat(timespec="seconds"),
            node=signer.node_id,
            verify_key=b64encode(signer.verify_key).decode(),
            exchange_key=b64encode(signer.exchange_key).decode(),
            epoch=epoch,
            last=self.last,
            events=sum(part.events for part in self._parts),
            payload_bytes=self._bytes,
            chain=self._place.digest.hex(),
            shapes=shapes(),
            tables=tables,
            parts=tuple(self._parts),
            keys=self._keys,
        )
        text = msgspec.json.format(msgspec.json.encode(made), indent=1)
        self._sink.put(SIGNATURE, b64encode(signer.sign("backup", text)))
        self._sink.put(MANIFEST, text)
        return made

    def _write(self, filled: Filled) -> None:
        waiting, self._waiting, self._waiting_bytes = self._waiting, [], 0
        try:
            clocks = [_proven(one).clock for one in waiting]
            facts, commits, _ = batch(waiting)
        except codec.Undecodable as error:
            raise Damaged(f"the log cannot be copied: {error}") from error
        first, last = waiting[0].seq, waiting[-1].seq
        filled(facts, commits, first, last)
        payloads = pa.array([one.payload for one in waiting], pa.binary())
        whole = commits.append_column(WHOLE.field("clock"), [clocks]).append_column(
            WHOLE.field("payload"), payloads
        )
        packed, events = _packed(whole), _packed(facts)
        part = Part(first, last, facts.num_rows, _sum(packed), len(packed), _sum(events),
                    len(events))  # fmt: skip
        self._sink.put(part.commits_name, packed)
        self._sink.put(part.events_name, events)
        self._parts.append(part)


class Archive:
    """An archive to read from: its manifest is whole and signed by the node it names.

    Raises `Damaged` or `Unsuitable` when it is not.
    """

    def __init__(self, files: Files) -> None:
        self._files = files
        text = files.read(MANIFEST)
        self.manifest = read_manifest(text, files.read(SIGNATURE))
        self.digest = blake2b(text, digest_size=32).hexdigest()

    def commits(self, part: Part) -> list[Stored]:
        """The commits of *part*, each proven: by its position, its place and its digest."""
        name = part.commits_name
        table = self._table(name, part.commits_blake2b, WHOLE, PLACED)
        found = [Stored(*row) for row in zip(*(c.to_pylist() for c in table), strict=True)]
        if len(found) != part.last - part.first + 1:
            raise Damaged(f"{name} has {len(found)} rows, and not one for each position")
        for row, one in enumerate(found):
            try:
                _proven(one)
            except codec.Undecodable as error:
                raise Damaged(f"{name} row {row}: {error}") from error
            if one.seq != part.first + row:
                raise Damaged(f"{name} row {row}: another commit belongs there")
        return found

    def rows(self, part: Part) -> tuple[Rows, Rows]:
        """The events and the commits of *part*, as projections read them. Raises `Damaged`."""
        facts = self._table(part.events_name, part.events_blake2b, BATCH, BATCH.names)
        commits = self._table(part.commits_name, part.commits_blake2b, WHOLE, COMMITS.names)
        if facts.num_rows != part.events:
            raise Damaged(f"{part.events_name} has {facts.num_rows} of {part.events} rows")
        return facts, commits

    def erased(self) -> set[str]:
        """Whose keys are destroyed in the vault, as this log calls for. Raises `Damaged`."""
        owners: set[str] = set()
        for part in self.manifest.parts:
            owners |= erased_by(self.commits(part))
        return owners

    def keys(self) -> bytes | None:
        """The sealed file of keys, None when none came along."""
        told = self.manifest.keys
        return None if told is None else self._checked(KEYS, told.blake2b)

    @property
    def present(self) -> bool:
        """Whether its events are written in today's shapes, so that tables can be filled as they
        lie; else they are made of the payloads."""
        return self.manifest.shapes == shapes()

    def fill(self, file: ProjectionFile, filled: Callable[[Part], None]) -> None:
        """Bring the tables of *file*, which end where a part does, up to the last position;
        *filled* hears of each part. The next part is read while one is folded. Who fills a file
        closes it soon.

        Raises `Damaged`, or `Poison` for events that fit no table.
        """
        file.expect_much()
        parts = [part for part in self.manifest.parts if part.first > file.seq]
        with ThreadPoolExecutor(1, "ahead") as ahead:
            coming = [ahead.submit(self._foldable, part) for part in parts[:1]]
            for part, following in zip_longest(parts, parts[1:]):
                facts, commits = coming.pop().result()
                if following is not None:
                    coming.append(ahead.submit(self._foldable, following))
                file.fold_rows(facts, commits, part.first, part.last)
                filled(part)

    def _foldable(self, part: Part) -> tuple[Rows, Rows]:
        """The rows of *part* in today's shapes."""
        if self.present:
            return self.rows(part)
        try:
            return batch(self.commits(part))[:2]
        except codec.Undecodable as error:
            raise Damaged(f"{part.commits_name}: {error}") from error

    def _table(self, name: str, digest: str, schema: pa.Schema, columns: Sequence[str]) -> Rows:
        """Those *columns* of one file, which has all of *schema*."""
        data = self._checked(name, digest)
        try:
            file = pq.ParquetFile(pa.BufferReader(data))
            if not file.schema_arrow.equals(schema):
                raise Damaged(f"{name} does not have the columns of its kind")
            return file.read(columns=[*columns])
        except (pa.ArrowException, OSError) as error:
            raise Damaged(f"{name} is no Parquet: {error}") from error

    def _checked(self, name: str, digest: str) -> bytes:
        data = self._files.read(name)
        if _sum(data) != digest:
            raise Damaged(f"{name} is not the file that the manifest tells of: it has changed")
        return data


class Proof:
    """That the commits of an archive, taken part by part, are what its manifest says as a whole."""

    def __init__(self, archive: Archive) -> None:
        self._archive = archive
        self._place = GENESIS

    def take(self, part: Part) -> list[Stored]:
        """The commits of *part*, which comes next. Raises `Damaged`."""
        commits = self._archive.commits(part)
        self._place = linked(self._place, commits)
        return commits

    def end(self) -> None:
        """All parts were taken. Raises `Damaged` when they are not what was copied."""
        if self._place.digest.hex() != self._archive.manifest.chain:
            raise Damaged("the commits do not have the running hash that the manifest tells")

    def tables(self, file: ProjectionFile) -> bool:
        """Whether the tables of *file* could be compared with those that were copied, which other
        projections or another engine may have made. Raises `Damaged` when they differ."""
        told, made = self._archive.manifest.tables, tables_of(file)
        if (name := told.differ(made)) != "":
            raise Damaged(f"the table {name} is not the one that the manifest tells of")
        return told.like(made)


def erased_by(commits: Sequence[Stored]) -> set[str]:
    """Whose keys are destroyed in the vault, as *commits* call for. Raises `Damaged`."""
    try:
        return {deed.owner for deed in called_for(commits, set())}
    except codec.Undecodable as error:
        raise Damaged(f"it cannot be told what was erased: {error}") from error


def shapes() -> str:
    """Identifies the shapes in which events are written today, and the columns around them."""
    told = repr((UPCASTERS.marks, str(BATCH), str(COMMITS)))
    return blake2b(told.encode(), digest_size=8).hexdigest()


def tables_of(file: ProjectionFile) -> Tables:
    """What the tables of *file* are at its position."""
    hashes = {name: (rows, str(sum_)) for name, (rows, sum_) in file.hashes(file.seq).items()}
    return Tables(file.statements.version, file.engine, hashes)


def _proven(one: Stored) -> Header:
    """The header of a commit that is whole and lies where it says. Raises `codec.Undecodable`."""
    header = codec.prove(one.payload)
    if (header.noun, header.key) != (one.noun, one.key):
        raise codec.Undecodable(f"position {one.seq}: it is one of {header.noun} {header.key}")
    return header


def _packed(table: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="zstd", row_group_size=max(1, table.num_rows))
    return bytes(sink.getvalue())


def _sum(data: bytes) -> str:
    return blake2b(data, digest_size=32).hexdigest()

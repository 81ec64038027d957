"""A log that holds every version of every event ever written, and what tables come of it.

`events.jsonl` is history: lines are added, never changed. `python -m tests.golden` adds what the
vocabulary has and the log has not, and writes down the tables anew: look at the difference before
you keep it, because every old node will see the same.
"""

from __future__ import annotations

import json
from hashlib import blake2b
from pathlib import Path
from typing import Any

from hypothesis import find

from actors.projection_file import ProjectionFile
from actors.rooms import statements
from bus.log import Stored
from schemas.settings import MIB
from schemas.upcasters import version
from schemas.vocabulary import NOUNS
from tests.examples import WHEN_MS, Said, events, header

FOLDER = Path(__file__).parent
LOG = FOLDER / "events.jsonl"
STATE = FOLDER / "state.json"
KEYS = {
    "channel": "C1",
    "cursor": "general.ann",
    "message": "general.M1",
    "receipt": "c1",
    "workspace": "main",
}
"""What the events of a noun are about; everything else is about `ann`."""


def golden() -> list[Stored]:
    """The log."""
    lines = LOG.read_text("utf-8").splitlines() if LOG.exists() else []
    told = [json.loads(line) for line in lines]
    return [
        Stored(seq, one["noun"], one["key"], one["payload"].encode())
        for seq, one in enumerate(told, 1)
    ]


def versions(log: list[Stored]) -> set[tuple[str, int]]:
    """(kind, version) of every event in *log*."""
    facts = [fact for one in log for fact in json.loads(one.payload)["events"]]
    return {(fact["kind"], fact.get("v", 1)) for fact in facts}


def wanted() -> set[tuple[str, int]]:
    """(kind, version) of every event that has ever been written."""
    kinds = [event.model_fields["kind"].default for noun in NOUNS.values() for event in noun.events]
    return {(kind, v) for kind in kinds for v in range(1, version(kind) + 1)}


def state(log: list[Stored]) -> dict[str, dict[str, Any]]:
    """For each table that comes of *log*: how many rows it has, and a hash of them."""
    file = ProjectionFile(Path(":memory:"), statements(), "0123456789abcdef", 256 * MIB)
    try:
        file.fold(log)
        with file.reading() as cursor:
            tables = {
                name: cursor.execute(f"SELECT * FROM {name}").fetchall() for name in file.tables()
            }
    finally:
        file.close()
    return {name: {"rows": len(rows), "hash": _hash(rows)} for name, rows in tables.items()}


def _hash(rows: list[tuple[Any, ...]]) -> str:
    told = sorted(json.dumps(row, default=str, sort_keys=True) for row in rows)
    return blake2b("\n".join(told).encode(), digest_size=16).hexdigest()


def completed(log: list[Stored]) -> list[Stored]:
    """*log* and, behind it, an example of everything that it does not hold yet."""
    missing = wanted() - versions(log)
    log = list(log)
    for noun in NOUNS.values():
        for event in noun.events:
            kind = event.model_fields["kind"].default
            if (kind, version(kind)) in missing:
                seq = len(log) + 1
                told = find(events(noun.name), lambda one, kind=kind: one.kind == kind)  # type: ignore[misc]
                about = header(
                    noun.name,
                    KEYS.get(noun.name, "ann"),
                    clock=f"{WHEN_MS + seq:012x}0000",
                    id=f"g{seq}",
                    cause=f"w{seq}",
                )
                log.append(Said(about, (told,)).stored(seq))
    return log

"""Snapshots: the folded state of long aggregates, so that loading one stays short.

A snapshot is a cache in a key-value bucket. Losing one costs time and nothing else; one that was
written by another fold (`version`) is ignored.
"""

from __future__ import annotations

from typing import Any, Protocol

import structlog
from nats.errors import Error as NatsError
from nats.js.errors import NotFoundError
from nats.js.kv import KeyValue
from pydantic import ValidationError

from schemas.envelope import Id, Key, Message

BUCKET = "SNAPSHOT"
log = structlog.get_logger()


class Snapshot(Message):
    """The state of one aggregate after its commit at `seq`; `applied` maps each command id so far
    to the position of its commit, so that a repeated command is known for ever."""

    version: str
    seq: int
    state: dict[str, Any]
    applied: dict[str, int]


class Snapshots(Protocol):
    """Where snapshots are kept."""

    async def load(self, noun: Id, key: Key) -> Snapshot | None:
        """The last snapshot of an aggregate, if there is one."""

    async def save(self, noun: Id, key: Key, snapshot: Snapshot) -> None:
        """Keep *snapshot* in place of the one before."""


class MemorySnapshots:
    """Snapshots that end with the process."""

    def __init__(self) -> None:
        self._kept: dict[tuple[str, str], Snapshot] = {}

    async def load(self, noun: Id, key: Key) -> Snapshot | None:
        return self._kept.get((noun, key))

    async def save(self, noun: Id, key: Key, snapshot: Snapshot) -> None:
        self._kept[noun, key] = snapshot


class BucketSnapshots:
    """Snapshots in the bucket SNAPSHOT, each under `<noun>.<key>`."""

    def __init__(self, bucket: KeyValue) -> None:
        self._bucket = bucket

    async def load(self, noun: Id, key: Key) -> Snapshot | None:
        try:
            entry = await self._bucket.get(f"{noun}.{key}")
            return Snapshot.model_validate_json(entry.value) if entry.value else None
        except NotFoundError:
            return None
        except (NatsError, TimeoutError, ValidationError) as error:
            log.warning("snapshot_unusable", noun=noun, id=key, reason=type(error).__name__)
            return None

    async def save(self, noun: Id, key: Key, snapshot: Snapshot) -> None:
        try:
            await self._bucket.put(f"{noun}.{key}", snapshot.model_dump_json().encode())
        except (NatsError, TimeoutError) as error:
            # The commit is in the log; that it could not be folded ahead is nobody's loss.
            log.warning("snapshot_unsaved", noun=noun, id=key, reason=type(error).__name__)

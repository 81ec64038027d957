"""A log filled anew with commits that were stored elsewhere: the same bytes at the same positions.

For an import into an empty log that nobody else writes to. Every send is guarded by the position
that the whole log is at, so that it lands where it belongs or not at all: whoever is broken off
asks for the head and goes on behind it. Batches are atomic and share their fsyncs (ADR 0003).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import orjson

from bus import codec, subjects
from bus.clock import new_id
from bus.faults import point
from bus.log import Stored, Unstored, guard
from bus.wire import Wire
from schemas.settings import Settings

GUARD = b"Nats-Expected-Last-Sequence: %d\r\n"
LAST_OF_BATCH = b"Nats-Batch-Commit: 1\r\n"


async def refill(wire: Wire, settings: Settings, commits: Sequence[Stored]) -> None:
    """*commits* lie in the log; the first of them follows its head.

    Raises `Unstored` when the broker refuses, and what `Wire.ask` raises; then the head tells how
    many of them are there.
    """
    for batch in _batches(commits, settings):
        await _store(wire, settings, batch)
        point("restore.refilled")


def _batches(commits: Sequence[Stored], settings: Settings) -> Iterator[list[Stored]]:
    """*commits* in their order, as many at once as one atomic batch takes."""
    batch: list[Stored] = []
    size = 0
    for one in commits:
        full = len(batch) == settings.group_commit_batch_max
        if full or (batch and size + len(one.payload) > settings.tail_fetch_bytes_max):
            yield batch
            batch, size = [], 0
        batch.append(one)
        size += len(one.payload)
    if batch:
        yield batch


async def _store(wire: Wire, settings: Settings, batch: list[Stored]) -> None:
    *firsts, last = batch
    place = b"Nats-Batch-Id: %b\r\nNats-Batch-Sequence: %%d\r\n" % new_id().encode()
    guarded = GUARD % guard(batch[0].seq - 1)
    for number, one in enumerate(firsts, 1):
        header = _header(one) + guarded + place % number + b"\r\n"
        wire.publish(subjects.event(one.noun, one.key), one.payload, header=header)
        guarded = b""
    ended = place % len(batch) + LAST_OF_BATCH if firsts else b""
    header = _header(last) + guarded + ended + b"\r\n"
    asked = wire.asked(subjects.event(last.noun, last.key), last.payload, header)
    answer: dict[str, Any] = orjson.loads(await wire.answer(asked, settings.append_timeout_s))
    if "error" in answer:
        raise Unstored(f"the broker refused position {batch[0].seq}: {answer['error']}")
    if answer["seq"] != last.seq:
        raise Unstored(f"position {last.seq} was stored as {answer['seq']}")


def _header(one: Stored) -> bytes:
    return codec.attributes(codec.prove(one.payload))

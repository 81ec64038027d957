"""One JetStream stream: guards, atomic batches, duplicates, limits, and what a crash leaves.

Held to the real nats-server by the contract suites of `tests/bus`, which run on both.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

GUARD = "Nats-Expected-Last-Subject-Sequence"
MESSAGE_ID = "Nats-Msg-Id"
BATCH_ID = "Nats-Batch-Id"
BATCH_SEQUENCE = "Nats-Batch-Sequence"
BATCH_COMMIT = "Nats-Batch-Commit"
NO_POSITION = 2**64 - 1
RECORD_BYTES = 34
"""What the file store adds to each message."""


@dataclass(frozen=True, slots=True)
class Publication:
    """A message that asks to be stored. `headers` are those of `block`, by name."""

    subject: str
    block: bytes
    payload: bytes
    headers: dict[str, str]
    reply: str = ""

    @property
    def size(self) -> int:
        """Its bytes in the file store."""
        return len(self.subject) + len(self.block) + len(self.payload) + RECORD_BYTES


@dataclass(frozen=True, slots=True)
class Kept:
    """A stored message. `time_s` is virtual or wall time, as the broker's loop has it."""

    seq: int
    subject: str
    block: bytes
    payload: bytes
    time_s: float


class Rejected(Exception):
    """The stream refuses, with the code of nats-server's `err_code`."""

    def __init__(self, code: int, description: str) -> None:
        super().__init__(description)
        self.code = code


def headers(block: bytes) -> dict[str, str]:
    """The headers of a NATS header block, by name."""
    if b"Nats-" not in block:
        return {}
    lines = (line.partition(":") for line in block.decode().split("\r\n")[1:])
    return {name: value.strip() for name, _, value in lines if name}


@dataclass
class Stream:
    """A stream as it lies on the disk of the broker; `synced` of `kept` survive a power cut."""

    config: dict[str, Any]
    created: str
    kept: list[Kept | None] = field(default_factory=list)
    synced: int = 0
    last: dict[str, int] = field(default_factory=dict)
    bytes: int = 0
    ids: dict[str, tuple[float, int]] = field(default_factory=dict)
    """Message id → (until when it is remembered, position)."""

    @property
    def head(self) -> int:
        """The position of the last message."""
        return len(self.kept)

    @property
    def prefix(self) -> str:
        """What the subjects of this stream begin with."""
        return str(self.config["subjects"][0]).removesuffix(">")

    def judged(self, batch: Sequence[Publication], now_s: float) -> int | None:
        """None when the whole *batch* may be stored, or the position of the message that *batch*
        (of one) repeats. Raises `Rejected`."""
        alone = len(batch) == 1 and BATCH_ID not in batch[0].headers
        size, written = 0, set()
        for one in batch:
            told = one.headers.get(GUARD, "")
            if told:
                if one.subject in written:
                    raise Rejected(10164, "wrong last sequence")
                stands = self.last.get(one.subject, 0)
                if _position(told) != stands:
                    raise Rejected(10071, f"wrong last sequence: {stands}")
            until, seq = self.ids.get(one.headers.get(MESSAGE_ID, ""), (0.0, 0))
            if seq and until > now_s:
                if alone:
                    return seq
                raise Rejected(10201, "atomic publish batch contains duplicate message id")
            written.add(one.subject)
            size += one.size
            if len(one.block) + len(one.payload) > self.config.get("max_msg_size", NO_POSITION):
                raise Rejected(10054, "message size exceeds maximum allowed")
        if 0 < self.config.get("max_bytes", -1) < self.bytes + size:
            raise Rejected(10077, "maximum bytes exceeded")
        return None

    def store(self, batch: Sequence[Publication], now_s: float) -> int:
        """The position of the last of *batch*, which lies in the stream now, unsynced."""
        for one in batch:
            self._put(Kept(self.head + 1, one.subject, one.block, one.payload, now_s))
            name = one.headers.get(MESSAGE_ID)
            if name:
                window_s = self.config.get("duplicate_window", 0) / 1e9
                self.ids[name] = (now_s + window_s, self.head)
        return self.head

    def sync(self) -> None:
        """All that is stored is on the disk."""
        self.synced = self.head

    def cut(self, keep: int) -> list[Kept]:
        """What a power cut takes: everything unsynced but the first *keep* of it."""
        kept, self.kept = self.kept, []
        self.last.clear()
        self.ids.clear()
        self.bytes = 0
        left = self.synced + keep
        for one in kept[:left]:
            if one is None:
                self.kept.append(None)
            else:
                self._put(one)
        self.synced = self.head
        return [one for one in kept[left:] if one is not None]

    def at(self, seq: int) -> Kept | None:
        """The message at *seq*, if there is one."""
        return self.kept[seq - 1] if 0 < seq <= self.head else None

    def following(self, seq: int, subject: str = "") -> Iterator[Kept]:
        """The messages from *seq* on, on one subject or on all."""
        if subject and self.last.get(subject, 0) < seq:
            return
        for one in self.kept[max(0, seq - 1) :]:
            if one is not None and (not subject or one.subject == subject):
                yield one

    def pending(self, seq: int, subject: str = "") -> int:
        """How many follow from *seq* on."""
        if not subject:
            return max(0, self.head + 1 - seq)
        return sum(1 for _ in self.following(seq, subject))

    def _put(self, one: Kept) -> None:
        if self.config.get("max_msgs_per_subject", -1) == 1:
            before = self.last.get(one.subject, 0)
            if before:
                self.kept[before - 1] = None
        self.kept.append(one)
        self.last[one.subject] = one.seq
        self.bytes += len(one.subject) + len(one.block) + len(one.payload) + RECORD_BYTES


def _position(told: str) -> int:
    """What the server takes a guard for: digits modulo 2^64, nonsense for no position at all."""
    return int(told) % 2**64 if told.isascii() and told.isdigit() else NO_POSITION

"""A durable pull consumer: at least once, in order, redelivered after a refusal or a silence.

After a crash of the broker it may have forgotten its last acknowledgements: they are written to
the disk by and by, so redelivery is part of the contract.
"""

from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from gateway.bench.simulation.stream import Kept, Stream

NANOSECONDS = 1_000_000_000
Deliver = Callable[[str, str, str, bytes, bytes], bool]
"""(reply subject, original subject, subject to answer on, header block, payload) → anybody there"""


@dataclass(slots=True)
class Place:
    """What a consumer knows: everything up to `floor` is acknowledged, and `acked` beyond it."""

    floor: int = 0
    acked: set[int] = field(default_factory=set)

    def done(self, seq: int) -> bool:
        return seq <= self.floor or seq in self.acked

    def copy(self) -> Place:
        return Place(self.floor, set(self.acked))


@dataclass(slots=True, eq=False)
class _Pull:
    reply: str
    left: int
    alarm: asyncio.TimerHandle | None = None


class Consumer:
    """One durable consumer of *stream*; *deliver* hands out, and says whether anybody took it."""

    def __init__(
        self, stream: Stream, config: dict[str, Any], place: Place, deliver: Deliver
    ) -> None:
        self.config = config
        self.name: str = config["durable_name"]
        self.place = place
        self.history: deque[Place] = deque([place.copy()], maxlen=4)
        """The latest places: a crash leaves one of them."""
        self._loop = asyncio.get_running_loop()
        self._stream = stream
        self._deliver = deliver
        self._filter = str(config["filter_subject"])
        self._next = place.floor + 1
        self._again: deque[int] = deque()
        self._waits: dict[int, asyncio.TimerHandle] = {}
        self._told: dict[int, int] = {}
        self._delivered = 0
        self._pulls: deque[_Pull] = deque()

    @property
    def idle(self) -> bool:
        """Whether everything that it wants is acknowledged."""
        wanted = (one.seq for one in self._stream.following(self.place.floor + 1))
        return all(self.place.done(seq) for seq in wanted if self._wants(self._stream.at(seq)))

    def pull(self, reply: str, body: bytes) -> None:
        """Somebody asks for the next messages on *reply*."""
        told: dict[str, Any] = json.loads(body) if body.startswith(b"{") else {"batch": int(body)}
        pull = _Pull(reply, int(told.get("batch", 1)))
        expires_s = told.get("expires", 0) / NANOSECONDS
        if expires_s:
            pull.alarm = self._loop.call_later(expires_s, self._expired, pull)
        self._pulls.append(pull)
        self.pump()

    def acknowledged(self, seq: int, word: bytes) -> bool:
        """Somebody says *word* about the message at *seq*: +ACK (or nothing), or -NAK. Whether it
        is dealt with."""
        waiting = self._waits.pop(seq, None)
        if waiting is not None:
            waiting.cancel()
        done = not word.startswith(b"-NAK")
        if done:
            self._settle(seq)
        elif not self.place.done(seq):
            told = json.loads(word[4:]) if word[4:].strip() else {}
            self._later(seq, told.get("delay", 0) / NANOSECONDS)
        self.pump()
        return done

    def pump(self) -> None:
        """Hand out what is there to whoever asked."""
        while self._pulls:
            seq = self._due()
            if seq is None:
                return
            pull = self._pulls[0]
            if not self._handed(seq, pull.reply):
                self._ended(pull)
                self._again.appendleft(seq)
                continue
            pull.left -= 1
            if not pull.left:
                self._ended(pull)

    def close(self, status: bytes) -> None:
        """Nothing more is handed out; whoever asked hears *status*."""
        for pull in list(self._pulls):
            self._ended(pull)
            self._deliver(pull.reply, pull.reply, "", status, b"")
        for alarm in self._waits.values():
            alarm.cancel()

    def _handed(self, seq: int, reply: str) -> bool:
        one = self._stream.at(seq)
        if one is None:
            raise LookupError(f"consumer {self.name} was to deliver {seq}, which is not there")
        told = self._told[seq] = self._told.get(seq, 0) + 1
        ack = (
            f"$JS.ACK.{self._stream.config['name']}.{self.name}.{told}.{seq}"
            f".{self._delivered + 1}.{int(one.time_s * NANOSECONDS)}.{self._stream.head - seq}"
        )
        if not self._deliver(reply, one.subject, ack, one.block, one.payload):
            return False
        self._delivered += 1
        wait_s = self.config["ack_wait"] / NANOSECONDS
        self._waits[seq] = self._loop.call_later(wait_s, self._silent, seq)
        return True

    def _due(self) -> int | None:
        """The position to hand out next."""
        while self._again:
            seq = self._again.popleft()
            if not self.place.done(seq) and seq <= self._stream.head:
                return seq
        while self._next <= self._stream.head:
            one, self._next = self._stream.at(self._next), self._next + 1
            if one is not None and self._wants(one) and not self.place.done(one.seq):
                return one.seq
        return None

    def _wants(self, one: Kept | None) -> bool:
        if one is None:
            return False
        wanted = self._filter
        prefix = wanted.removesuffix(">")
        return one.subject.startswith(prefix) if prefix != wanted else one.subject == wanted

    def _settle(self, seq: int) -> None:
        place = self.place
        if place.done(seq):
            return
        place.acked.add(seq)
        while place.floor + 1 in place.acked or (
            place.floor < self._stream.head and not self._wants(self._stream.at(place.floor + 1))
        ):
            place.floor += 1
            place.acked.discard(place.floor)
        self.history.append(place.copy())

    def _silent(self, seq: int) -> None:
        """Nobody has said anything about *seq* for too long."""
        del self._waits[seq]
        self._later(seq, 0.0)
        self.pump()

    def _later(self, seq: int, delay_s: float) -> None:
        if delay_s:
            self._waits[seq] = self._loop.call_later(delay_s, self._silent, seq)
        else:
            self._again.append(seq)

    def _expired(self, pull: _Pull) -> None:
        if pull in self._pulls:
            self._ended(pull)
            status = f"NATS/1.0 408 Request Timeout\r\nNats-Pending-Messages: {pull.left}\r\n"
            block = f"{status}Nats-Pending-Bytes: 0\r\n\r\n".encode()
            self._deliver(pull.reply, pull.reply, "", block, b"")

    def _ended(self, pull: _Pull) -> None:
        self._pulls.remove(pull)
        if pull.alarm is not None:
            pull.alarm.cancel()

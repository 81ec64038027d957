"""A broker that behaves as nats-server does, as far as Canopy relies on it.

It speaks the NATS protocol to whatever transport it is given, virtual or real: the product's own
clients talk to it unchanged, and the contract suites of `tests/bus` hold it to the real server.
What it keeps lies on a `Disk` that outlives it.
"""

from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from random import Random
from typing import cast

from bus.roles import PUBLISH, Role
from gateway.bench.simulation import interface
from gateway.bench.simulation.consumer import Consumer, Place
from gateway.bench.simulation.session import Audience, Session, Subscription, matches
from gateway.bench.simulation.stream import (
    BATCH_COMMIT,
    BATCH_ID,
    BATCH_SEQUENCE,
    Publication,
    Rejected,
    Stream,
    headers,
)

BATCH_MAX = 1000
BATCH_IDLE_S = 10.0
NO_RESPONDERS = b"NATS/1.0 503\r\n\r\n"


@dataclass
class Disk:
    """What outlives the broker: its streams and the places of its consumers."""

    streams: dict[str, Stream] = field(default_factory=dict)
    places: dict[str, tuple[dict[str, object], deque[Place]]] = field(default_factory=dict)
    """`<stream>.<consumer>` → its configuration and its latest places, the newest last."""


@dataclass(frozen=True)
class Behaviour:
    """How this broker is: what it takes, how fast its disk is, what it loses."""

    wall_s: Callable[[], float]
    max_payload: int
    passwords: Mapping[str, str] = field(default_factory=dict)
    """By role; nobody is asked who he is when there are none."""
    sync_s: Callable[[int], float] = lambda _messages: 0.0
    """How long it takes to bring so many messages to the disk."""
    loses: Callable[[str], bool] = lambda _subject: False
    """Whether one message on its way to a client gets lost."""
    doubles: Callable[[str], bool] = lambda _subject: False
    """Whether one message on its way to a queue is delivered twice."""
    acked: Callable[[str, int], None] = lambda _consumer, _seq: None
    """Told that a consumer has dealt with the message at a position."""
    lazy: bool = False
    """A broker that acknowledges before it syncs, as nats-server does by default."""


@dataclass
class _Batch:
    members: list[Publication]
    alarm: asyncio.TimerHandle


class Broker:
    """One broker on *disk*. A client's connection is a `Session` of it."""

    def __init__(self, disk: Disk, behaviour: Behaviour, chance: Random) -> None:
        self.disk = disk
        self.behaviour = behaviour
        self.sessions: list[Session] = []
        self.audience = Audience()
        self.frozen = False
        """Whether its disk is full: it stores nothing and says nothing until it starts anew."""
        self.writing: tuple[Stream, list[Publication]] | None = None
        """What is on its way to the disk at this moment."""
        self._chance = chance
        self._loop = asyncio.get_running_loop()
        self._queues: dict[str, deque[tuple[list[Publication], str]]] = {}
        self._batches: dict[str, _Batch] = {}
        self.consumers: dict[str, Consumer] = {}
        for name, (config, history) in disk.places.items():
            self.consume(name, config, history)

    def session(self) -> Session:
        """The broker's end of a new connection."""
        return Session(self)

    def consume(self, name: str, config: dict[str, object], history: deque[Place]) -> None:
        """There is a consumer *name* (`<stream>.<consumer>`) that goes on from its last place."""
        stream = self.disk.streams[name.partition(".")[0]]
        consumer = Consumer(stream, config, history[-1].copy(), self._hand_out)
        self.disk.places[name] = (config, consumer.history)
        self.consumers[name] = consumer

    def allows(self, role: str, subject: str) -> bool:
        """Whether *role* may publish on *subject*."""
        if not self.behaviour.passwords or role == "system":
            return True
        return any(matches(allowed, subject) for allowed in PUBLISH[cast(Role, role)])

    def take(self, subject: str, reply: str, block: bytes, payload: bytes) -> None:
        """A client has said something."""
        if subject.startswith("$") and self._asked(subject, reply, payload):
            return
        stream = self._stream(subject)
        if stream is not None:
            self._offered(stream, Publication(subject, block, payload, headers(block), reply))
        heard = self._spread(subject, reply, block, payload)
        if not heard and reply and stream is None:
            self.say(reply, reply, "", NO_RESPONDERS, b"")

    def say(self, to: str, subject: str, reply: str, block: bytes, payload: bytes) -> bool:
        """Whether anybody listens on *to*, who gets the message as one on *subject*."""
        listeners = self.audience.of(to)
        for one in listeners:
            if not self.behaviour.loses(to):
                one.session.deliver(one.sid, subject, reply, block, payload)
        return bool(listeners)

    def stop(self) -> None:
        """End politely: whoever waits for news is told, then every connection is closed."""
        for consumer in self.consumers.values():
            consumer.close(b"NATS/1.0 409 Server Shutdown\r\n\r\n")
        self.vanish()

    def vanish(self) -> None:
        """End without a word."""
        for batch in self._batches.values():
            batch.alarm.cancel()
        for session in list(self.sessions):
            session.close()

    # Routing.

    def _spread(self, subject: str, reply: str, block: bytes, payload: bytes) -> bool:
        """Whether any subscriber hears it; of a queue group, one does."""
        queues: dict[str, list[Subscription]] = {}
        listeners = self.audience.of(subject)
        for one in listeners:
            if one.queue:
                queues.setdefault(one.queue, []).append(one)
            elif not self.behaviour.loses(subject):
                one.session.deliver(one.sid, subject, reply, block, payload)
        for members in queues.values():
            for _ in range(1 + self.behaviour.doubles(subject)):
                one = self._chance.choice(members)
                if not self.behaviour.loses(subject):
                    one.session.deliver(one.sid, subject, reply, block, payload)
        return bool(listeners)

    def _hand_out(self, to: str, subject: str, reply: str, block: bytes, payload: bytes) -> bool:
        """What a consumer delivers; what gets lost is delivered again after `ack_wait`."""
        return self.say(to, subject, reply, block, payload)

    def _asked(self, subject: str, reply: str, payload: bytes) -> bool:
        """Whether *subject* is the broker's own business."""
        if subject.startswith("$JS.ACK."):
            _, _, stream, name, _, seq, *_ = subject.split(".")
            consumer = self.consumers.get(f"{stream}.{name}")
            if consumer is None:
                return False
            if consumer.acknowledged(int(seq), payload):
                self.behaviour.acked(name, int(seq))
            if reply:
                self.say(reply, reply, "", b"", b"")
            return True
        return interface.answered(self, subject, reply, payload)

    # Storing.

    def _stream(self, subject: str) -> Stream | None:
        for stream in self.disk.streams.values():
            if subject.startswith(stream.prefix):
                return stream
        return None

    def _offered(self, stream: Stream, one: Publication) -> None:
        if self.frozen:
            return
        if BATCH_ID not in one.headers:
            self._queue(stream, [one], "")
            return
        name, number = one.headers[BATCH_ID], one.headers.get(BATCH_SEQUENCE, "")
        batch = self._batches.get(name)
        if batch is None:
            alarm = self._loop.call_later(BATCH_IDLE_S, self._batches.pop, name, None)
            batch = self._batches[name] = _Batch([], alarm)
        batch.members.append(one)
        if number != str(len(batch.members)) or len(batch.members) > BATCH_MAX:
            self._forget(name)
            self._refuse(stream, one, Rejected(10176, "atomic publish batch is incomplete"))
        elif one.headers.get(BATCH_COMMIT):
            self._forget(name)
            self._queue(stream, batch.members, name)
        elif one.reply:
            self.say(one.reply, one.reply, "", b"", b"")

    def _forget(self, name: str) -> None:
        self._batches.pop(name).alarm.cancel()

    def _queue(self, stream: Stream, batch: list[Publication], name: str) -> None:
        """One after the other, as the server's own lock has it."""
        waiting = self._queues.setdefault(stream.prefix, deque())
        waiting.append((batch, name))
        if len(waiting) == 1:
            self._next(stream)

    def _next(self, stream: Stream) -> None:
        waiting = self._queues[stream.prefix]
        while waiting:
            batch, name = waiting[0]
            try:
                repeated = stream.judged(batch, self.behaviour.wall_s())
            except Rejected as error:
                waiting.popleft()
                self._refuse(stream, batch[-1], error)
                continue
            if repeated is not None:
                waiting.popleft()
                self._acknowledge(stream, batch, name, repeated, ', "duplicate": true')
                continue
            took_s = 0.0 if self.behaviour.lazy else self.behaviour.sync_s(len(batch))
            if took_s:
                self.writing = (stream, batch)
                self._loop.call_later(took_s, self._written, stream)
                return
            waiting.popleft()
            self._keep(stream, batch, name)

    def _written(self, stream: Stream) -> None:
        if self.frozen:
            return
        self.writing = None
        batch, name = self._queues[stream.prefix].popleft()
        self._keep(stream, batch, name)
        self._next(stream)

    def _keep(self, stream: Stream, batch: list[Publication], name: str) -> None:
        last = stream.store(batch, self.behaviour.wall_s())
        if not self.behaviour.lazy:
            stream.sync()
        self._acknowledge(stream, batch, name, last, "")
        for key, consumer in self.consumers.items():
            if key.startswith(f"{stream.config['name']}."):
                consumer.pump()

    def _acknowledge(
        self, stream: Stream, batch: list[Publication], name: str, seq: int, note: str
    ) -> None:
        reply = batch[-1].reply
        if reply:
            more = f',"batch":"{name}","count":{len(batch)}' if name else note
            answer = f'{{"stream":"{stream.config["name"]}","seq":{seq}{more}}}'
            self.say(reply, reply, "", b"", answer.encode())

    def _refuse(self, stream: Stream, one: Publication, why: Rejected) -> None:
        if one.reply:
            error = {"code": 400, "err_code": why.code, "description": str(why)}
            answer = {"error": error, "stream": stream.config["name"], "seq": 0}
            self.say(one.reply, one.reply, "", b"", json.dumps(answer).encode())

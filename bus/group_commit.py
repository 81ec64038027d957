"""The one writer of the log on a broker: commits that wait together share their fsyncs.

Few go out as plain publishes, many as one JetStream atomic batch; being busy is the only timer
(ADR 0003).
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from time import perf_counter
from typing import Any

import orjson
from msgspec import Struct

from bus import codec, subjects
from bus.clock import new_id
from bus.log import Conflict, Stored, Unacknowledged, Unstored, fits, guard
from bus.wire import BrokerLost, Wire
from schemas.envelope import Event, Header
from schemas.settings import Settings

WRONG_LAST_SEQUENCE = 10071
DUPLICATE_IN_BATCH = 10201
GUARD = b"Nats-Expected-Last-Subject-Sequence: %d\r\n"
LAST_OF_BATCH = b"Nats-Batch-Commit: 1\r\n"


class _Waiting(Struct):
    noun: str
    key: str
    subject: str
    header: bytes
    payload: bytes
    done: asyncio.Future[int]


class GroupCommit:
    """Appends: what waits is gathered and sent together."""

    def __init__(
        self, wire: Wire, settings: Settings, stored: Callable[[list[Stored]], None]
    ) -> None:
        """*stored* is told of commits that lie in the log now, in the order of their positions."""
        self._loop = asyncio.get_running_loop()
        self._wire = wire
        self._settings = settings
        self._stored = stored
        self._waiting: deque[_Waiting] = deque()
        self._arrived = asyncio.Event()
        self._stopped = False
        self.shut = ""
        """Why nothing may be added at present (`bus.disk`); empty while it may."""
        self.observe: Callable[[int, float], None] = lambda size, took_s: None
        """Told the size of each group commit, and how long it took to reach the disk."""

    async def append(self, header: Header, events: Sequence[Event], expected: int) -> int:
        if self._stopped:
            raise Unacknowledged("the writer stopped")
        if self.shut:
            raise Unstored(self.shut)
        attributes, payload = codec.encode(header, events)
        fits(payload, self._settings.payload_bytes_max)
        waiting = _Waiting(
            header.noun,
            header.key,
            subjects.event(header.noun, header.key),
            attributes + GUARD % guard(expected),
            payload,
            self._loop.create_future(),
        )
        self._waiting.append(waiting)
        self._arrived.set()
        return await waiting.done

    async def flush(self) -> None:
        """Send what waits, for ever: the room that must run wherever commits are appended."""
        slots = asyncio.Semaphore(self._settings.group_commits_in_flight_max)
        self._stopped = False
        async with asyncio.TaskGroup() as group:
            try:
                while True:
                    await self._arrived.wait()
                    await slots.acquire()
                    self._arrived.clear()
                    batch = self._gather()
                    sending = group.create_task(self._send(batch))
                    sending.add_done_callback(lambda _: slots.release())
            finally:
                self._stopped = True
                while self._waiting:
                    _failed(self._waiting.popleft(), Unacknowledged("the writer stopped"))

    def _gather(self) -> list[_Waiting]:
        """What waits, at most one commit for each aggregate; the rest keeps its place."""
        batch: dict[str, _Waiting] = {}
        later: list[_Waiting] = []
        while self._waiting and len(batch) < self._settings.group_commit_batch_max:
            waiting = self._waiting.popleft()
            if waiting.subject in batch:
                later.append(waiting)
            else:
                batch[waiting.subject] = waiting
        self._waiting.extendleft(reversed(later))
        if self._waiting:
            self._arrived.set()
        return list(batch.values())

    async def _send(self, batch: list[_Waiting]) -> None:
        began = perf_counter()
        try:
            many = len(batch) > self._settings.group_commit_plain_max
            if not (many and await self._batched(batch)):
                async with asyncio.TaskGroup() as group:
                    for waiting in batch:
                        group.create_task(self._plain(waiting))
            self.observe(len(batch), perf_counter() - began)
        except BaseException:
            for waiting in batch:
                _failed(waiting, Unacknowledged("the writer stopped"))
            raise

    async def _plain(self, waiting: _Waiting) -> None:
        outcome = await self._acknowledged(waiting)
        if isinstance(outcome, int):
            self._stored([_settled(waiting, outcome)])
        else:
            _failed(waiting, outcome)

    async def _batched(self, batch: list[_Waiting]) -> bool:
        """True once every commit of *batch* has its outcome; False when none was stored."""
        name = new_id()
        *firsts, last = batch
        for number, waiting in enumerate(firsts, 1):
            header = _ended(waiting.header + _member(name, number))
            self._wire.publish(waiting.subject, waiting.payload, header=header)
        outcome = await self._acknowledged(last, _member(name, len(batch)) + LAST_OF_BATCH)
        if isinstance(outcome, int):
            numbered = enumerate(batch, outcome - len(batch) + 1)
            self._stored([_settled(waiting, seq) for seq, waiting in numbered])
        elif isinstance(outcome, Unacknowledged):
            for waiting in batch:
                _failed(waiting, outcome)
        return not isinstance(outcome, Conflict | Unstored)

    async def _acknowledged(self, waiting: _Waiting, batch: bytes = b"") -> int | Exception:
        """The position that the broker gave, or why it gave none."""
        header = _ended(waiting.header + batch)
        timeout_s = self._settings.append_timeout_s
        try:
            data = await self._wire.ask(waiting.subject, waiting.payload, timeout_s, header)
        except TimeoutError:
            return Unacknowledged(f"no answer in {timeout_s} s")
        except BrokerLost as error:
            return Unacknowledged(str(error))
        except LookupError:
            return Unstored("the stream is absent")
        return _outcome(data)


def _member(name: str, number: int) -> bytes:
    return f"Nats-Batch-Id: {name}\r\nNats-Batch-Sequence: {number}\r\n".encode()


def _ended(header: bytes) -> bytes:
    return header + b"\r\n"


def _outcome(data: bytes) -> int | Exception:
    answer: dict[str, Any] = orjson.loads(data)
    error = answer.get("error")
    if error is None:
        return int(answer["seq"])
    if error.get("err_code") in (WRONG_LAST_SEQUENCE, DUPLICATE_IN_BATCH):
        return Conflict(error["description"])
    return Unstored(error.get("description", "the broker refused the commit"))


def _settled(waiting: _Waiting, seq: int) -> Stored:
    """Tell who waits that it is stored, if they still do: the commit as it lies in the log."""
    if not waiting.done.done():
        waiting.done.set_result(seq)
    return Stored(seq, waiting.noun, waiting.key, waiting.payload)


def _failed(waiting: _Waiting, error: Exception) -> None:
    """Tell who waits, if they still do."""
    if not waiting.done.done():
        waiting.done.set_exception(error)

"""The log: the one place where what has happened is kept, and the only way to add to it.

`append` stores one commit if its aggregate still stands where the caller saw it (`expected`, the
position of its last commit, 0 for none): optimistic concurrency and idempotence in one guard.
Commits that wait together share their fsyncs: few go out as plain publishes, many as one JetStream
atomic batch (ADR 0003). Positions (`seq`) start at 1 and have no holes; a hole that the broker
makes is raised, never passed over.

Long because appending, reading and tailing share one connection and one set of traps.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from time import perf_counter
from typing import Any, Protocol

import orjson

from bus import codec, subjects
from bus.clock import new_id
from bus.wire import BrokerLost, TooLarge, Wire
from schemas.envelope import Commit, Event, Header
from schemas.settings import Settings

WRONG_LAST_SEQUENCE = 10071
DUPLICATE_IN_BATCH = 10201
LAST_OF_BATCH = b"Nats-Batch-Commit: 1\r\n"
END_OF_BATCH = b"204"
NOTHING_FOUND = b"404"
POSITION_MAX = 2**63 - 1
POLL_S = 1.0
APPENDED = subjects.ephemeral("appended", "log")


class Conflict(Exception):
    """The aggregate has moved on since the caller read it: read it again, then decide again."""


class Unstored(Exception):
    """The log did not store the commit and says why; nothing was written."""


class Unacknowledged(Exception):
    """No answer: the commit may be in the log or not. Read the aggregate to find out."""


class Missing(Exception):
    """A position of the log cannot be read although later ones, or its end, lie behind it: the
    broker has lost a commit. `seq` is the first that is missing."""

    def __init__(self, seq: int) -> None:
        super().__init__(f"position {seq} is missing from the log: restore it from a backup")
        self.seq = seq


@dataclass(frozen=True, slots=True)
class Stored:
    """One commit as it lies in the log."""

    seq: int
    noun: str
    key: str
    payload: bytes


class Log(Protocol):
    """What readers and writers of the log rely on; one contract suite holds all kinds to it."""

    epoch: str
    """The identity of this log (16 hex digits): positions of another epoch mean nothing here."""

    async def append(self, header: Header, events: Sequence[Event], expected: int) -> int:
        """The position of the new commit.

        Raises `Conflict`, `Unstored`, `bus.wire.TooLarge` for more than `payload_bytes_max`, or
        `Unacknowledged` when the outcome is unknown.
        """

    async def read(self, noun: str, key: str, after: int = 0) -> list[Commit]:
        """The commits of one aggregate later than *after*, oldest first."""

    async def head(self) -> int:
        """The position of the last commit, 0 for an empty log."""

    async def page(self, after: int, limit: int) -> list[Stored]:
        """At most *limit* commits that follow *after*; none at the head."""

    def tail(self, after: int, until: int | None = None) -> AsyncIterator[list[Stored]]:
        """Pages of commits later than *after*, for ever, or up to *until* included.
        Positions follow each other. Raises `Missing` where one is not there."""


@dataclass(slots=True)
class _Waiting:
    subject: str
    header: bytes
    payload: bytes
    done: asyncio.Future[int]


class JetStreamLog:
    """The log on a real broker: stream EVT."""

    def __init__(self, wire: Wire, settings: Settings, epoch: str) -> None:
        self.epoch = epoch
        self._wire = wire
        self._settings = settings
        self._waiting: deque[_Waiting] = deque()
        self._arrived = asyncio.Event()
        self._news = asyncio.Event()
        self._stopped = False
        self.observe: Callable[[int, float], None] = lambda size, took_s: None
        """Told the size of each group commit, and how long it took to reach the disk."""

    async def append(self, header: Header, events: Sequence[Event], expected: int) -> int:
        if self._stopped:
            raise Unacknowledged("the writer stopped")
        attributes, payload = codec.encode(header, events)
        fits(payload, self._settings.payload_bytes_max)
        attributes["Nats-Expected-Last-Subject-Sequence"] = guard(expected)
        waiting = _Waiting(
            subjects.event(header.noun, header.key),
            _header(attributes),
            payload,
            asyncio.get_running_loop().create_future(),
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
                    _settle(self._waiting.popleft(), Unacknowledged("the writer stopped"))

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
                _settle(waiting, Unacknowledged("the writer stopped"))
            raise

    async def _plain(self, waiting: _Waiting) -> None:
        outcome = await self._acknowledged(waiting)
        _settle(waiting, outcome)
        if isinstance(outcome, int):
            self._announce(outcome)

    async def _batched(self, batch: list[_Waiting]) -> bool:
        """True once every commit of *batch* has its outcome; False when none was stored."""
        name = new_id()
        *firsts, last = batch
        for number, waiting in enumerate(firsts, 1):
            header = _ended(waiting.header + _member(name, number))
            self._wire.publish(waiting.subject, waiting.payload, header=header)
        outcome = await self._acknowledged(last, _member(name, len(batch)) + LAST_OF_BATCH)
        if isinstance(outcome, int):
            for seq, waiting in enumerate(batch, outcome - len(batch) + 1):
                _settle(waiting, seq)
            self._announce(outcome)
        elif isinstance(outcome, Unacknowledged):
            for waiting in batch:
                _settle(waiting, outcome)
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

    def _announce(self, seq: int) -> None:
        """Tell tails, here and elsewhere, that there is news: a hint, never the proof."""
        self._wire.publish(APPENDED, str(seq).encode())

    def nudge(self) -> None:
        """There is news: called on each announcement (`bus.attachment` subscribes)."""
        told, self._news = self._news, asyncio.Event()
        told.set()

    async def read(self, noun: str, key: str, after: int = 0) -> list[Commit]:
        subject = subjects.event(noun, key)
        commits: list[Commit] = []
        more = True
        while more:
            stored, more = await self._get({"seq": after + 1, "next_by_subj": subject})
            commits += (codec.decode(one.payload, one.seq) for one in stored)
            after = stored[-1].seq if stored else after
        return commits

    @staticmethod
    async def info(wire: Wire, settings: Settings) -> dict[str, Any]:
        """What the broker says of the stream (JetStream's STREAM.INFO)."""
        subject = f"$JS.API.STREAM.INFO.{subjects.STREAM}"
        answer: dict[str, Any] = orjson.loads(
            await wire.ask(subject, b"", settings.append_timeout_s)
        )
        if "error" in answer:
            raise BrokerLost(f"the log cannot be seen: {answer['error']['description']}")
        return answer

    async def head(self) -> int:
        return int((await self.info(self._wire, self._settings))["state"]["last_seq"])

    async def page(self, after: int, limit: int) -> list[Stored]:
        return (await self._get({"seq": after + 1}, limit))[0]

    async def tail(self, after: int, until: int | None = None) -> AsyncIterator[list[Stored]]:
        while until is None or after < until:
            news = self._news
            limit = self._settings.tail_fetch_max
            page = await self.page(after, limit if until is None else min(limit, until - after))
            whole = _unbroken(page, after)
            if whole:
                after = whole[-1].seq
                yield whole
            if len(whole) < len(page):
                raise Missing(after + 1)
            if not page and not await _something(news) and await self._hidden(after):
                raise Missing(after + 1)

    async def _hidden(self, after: int) -> bool:
        """Whether the log says that it goes on after *after*, and yet shows nothing there."""
        return await self.head() > after and not await self.page(after, 1)

    async def _get(self, query: dict[str, Any], limit: int = 0) -> tuple[list[Stored], bool]:
        """One Direct Get of up to *limit* messages (ADR-31 of NATS), oldest first, and whether
        there are more."""
        body = query | {
            "batch": limit or self._settings.tail_fetch_max,
            "max_bytes": self._settings.tail_fetch_bytes_max,
        }
        subject = f"$JS.API.DIRECT.GET.{subjects.STREAM}"
        timeout_s = self._settings.append_timeout_s
        *found, (end, _) = await self._wire.collect(subject, orjson.dumps(body), timeout_s)
        if end[9:12] not in (END_OF_BATCH, NOTHING_FOUND):
            raise BrokerLost(f"the broker refused to read the log: {end.decode()!r}")
        more = end[9:12] == END_OF_BATCH and _value(end, b"Nats-Num-Pending: ") != "0"
        return [_direct(header, data) for header, data in found], more


def _unbroken(page: list[Stored], after: int) -> list[Stored]:
    """The commits of *page* that follow *after* without a gap."""
    if not page or page[-1].seq - after == len(page):
        return page
    return [one for place, one in enumerate(page, after + 1) if one.seq == place]


async def _something(news: asyncio.Event) -> bool:
    """True at the next announcement, False after a second without one: one may have been lost."""
    try:
        async with asyncio.timeout(POLL_S):
            await news.wait()
    except TimeoutError:
        return False
    return True


def guard(expected: int) -> str:
    """The guard of an append, as the broker reads it: a decimal number and nothing else.

    The broker takes a blank guard for none, and one that is too large modulo 2^64
    (`tests/bus/test_log.py` proves both). Raises ValueError for what is no position.
    """
    if not 0 <= expected <= POSITION_MAX:
        raise ValueError(f"{expected!r} is no position of the log")
    return str(int(expected))


def fits(payload: bytes, payload_bytes_max: int) -> None:
    """Raises `TooLarge` for a commit that no log takes."""
    if len(payload) > payload_bytes_max:
        raise TooLarge(f"the commit has {len(payload)} of {payload_bytes_max} bytes")


def epoch_of(created: str) -> str:
    """The epoch of the stream that was created at *created* (the broker's own timestamp)."""
    return blake2b(created.encode(), digest_size=8).hexdigest()


def _header(attributes: dict[str, str]) -> bytes:
    """The opening of a NATS header block; `_ended` ends it."""
    return ("NATS/1.0\r\n" + "".join([f"{k}: {v}\r\n" for k, v in attributes.items()])).encode()


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


def _direct(header: bytes, data: bytes) -> Stored:
    seq = _value(header, b"Nats-Sequence: ")
    subject = _value(header, b"Nats-Subject: ")
    _, _, aggregate = subject.partition(".")
    noun, _, key = aggregate.partition(".")  # Whatever lies there: who folds it judges it.
    return Stored(int(seq), noun, key, data)


def _value(header: bytes, name: bytes) -> str:
    start = header.index(name) + len(name)
    return header[start : header.index(b"\r", start)].decode()


def _settle(waiting: _Waiting, outcome: int | Exception) -> None:
    """Tell who waits, if they still do."""
    if waiting.done.done():
        return
    if isinstance(outcome, Exception):
        waiting.done.set_exception(outcome)
    else:
        waiting.done.set_result(outcome)

"""The one writer of the log on a broker: commits that wait together share their fsyncs.

Few go out as plain publishes, many as one JetStream atomic batch; being busy is the only timer
(ADR 0003).
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from time import perf_counter
from typing import Any

import orjson
from msgspec import Struct

from bus import codec, subjects
from bus.clock import new_id
from bus.faults import point
from bus.log import LEADERLESS, Conflict, Damaged, Stored, Unacknowledged, Unstored, fits, guard
from bus.marks import Mark, Reused
from bus.wire import Asked, BrokerLost, TooLarge, Wire
from schemas.envelope import Event, Header
from schemas.settings import Settings

WRONG_LAST_SEQUENCE = 10071
WRONG_WHILE_IN_FLIGHT = 10164
"""A cluster is about to store another commit of the same aggregate, and cannot say where yet."""
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
        self,
        wire: Wire,
        settings: Settings,
        mark: Mark,
        stored: Callable[[list[Stored]], None],
        *,
        clustered: bool = False,
    ) -> None:
        """*mark* is raised before anybody learns that a commit is stored; *stored* is told of
        commits that lie in the log now, in the order of their positions. A *clustered* log that
        nobody keeps at a moment has not gone: it has no leader."""
        self._clustered = clustered
        self._loop = asyncio.get_running_loop()
        self._wire = wire
        self._settings = settings
        self._mark = mark
        self._stored = stored
        self._waiting: deque[_Waiting] = deque()
        self._arrived = asyncio.Event()
        self._stopped = False
        self.shut = ""
        """Why nothing may be added at present (`bus.disk`); empty while it may."""
        self.doubted = False
        """Whether a commit has remained without an answer since somebody last looked why."""
        self.damaged = ""
        """What is wrong with the log, so that nothing may be added (`bus.alarm`)."""
        self._slots = 0
        self._group: asyncio.TaskGroup
        self.observe: Callable[[int, float], None] = lambda size, took_s: None
        """Told the size of each group commit, and how long it took to reach the disk."""
        self.reused: Reused | None = None
        """The position that the broker gave a second time, until the alarm about it is written."""
        self.hurt = asyncio.Event()
        """Set when that is found."""

    async def append(self, header: Header, events: Sequence[Event], expected: int) -> int:
        if self._stopped:
            raise Unacknowledged("the writer stopped")
        if self.damaged:
            raise Damaged(self.damaged)
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
        if self._slots and len(self._waiting) >= self._settings.group_commit_full:
            self._send_off()
        else:
            self._arrived.set()
        return await waiting.done

    @property
    def marked(self) -> int:
        """The position up to which it is known outside of the log that it is there."""
        return self._mark.seq

    async def attest(self, found: Stored) -> None:
        """Returns once it is known outside of the log that it has *found*, which somebody stored.

        Raises `Unacknowledged` when it cannot be written down.
        """
        try:
            await self._in_time(self._mark.cover(found))
        except OSError as error:
            self.doubted = True
            raise Unacknowledged(f"the mark cannot be raised: {error}") from error

    async def flush(self) -> None:
        """Send what waits, for ever: the room that must run wherever commits are appended."""
        async with asyncio.TaskGroup() as self._group:
            self._slots = self._settings.group_commits_in_flight_max
            self._stopped = False
            try:
                while True:
                    await self._arrived.wait()
                    self._arrived.clear()
                    if self._slots and self._waiting:
                        self._send_off()
            finally:
                self._stopped, self._slots = True, 0
                while self._waiting:
                    _failed(self._waiting.popleft(), Unacknowledged("the writer stopped"))

    def _send_off(self) -> None:
        """One more group is on its way when this returns, though it is not this turn's end."""
        self._slots -= 1
        batch = self._gather()
        many = len(batch) > self._settings.group_commit_plain_max
        asked = self._published(batch) if many else None
        sending = self._group.create_task(self._send(batch, asked))
        sending.add_done_callback(partial(self._landed, batch))

    def _landed(self, batch: list[_Waiting], sending: asyncio.Task[None]) -> None:
        """However it ended, and be it before it began: nobody waits for it any longer."""
        if sending.cancelled() or sending.exception():
            self._stopped, self._slots = True, 0  # The group takes no more from here on.
            _all_failed(batch, Unacknowledged("the writer stopped"))

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

    def _published(self, batch: list[_Waiting]) -> Asked | Unacknowledged | None:
        """The question, already sent, whether the broker stores *batch* whole; None when one of
        it is more than the broker takes, and each has to go by itself."""
        name = new_id()
        *firsts, last = batch
        try:
            for number, waiting in enumerate(firsts, 1):
                header = _ended(waiting.header + _member(name, number))
                self._wire.publish(waiting.subject, waiting.payload, header=header)
            header = _ended(last.header + _member(name, len(batch)) + LAST_OF_BATCH)
            asked = self._wire.asked(last.subject, last.payload, header)
        except BrokerLost as error:
            return Unacknowledged(str(error))
        except TooLarge:
            return None
        self._wire.flush()
        return asked

    async def _send(self, batch: list[_Waiting], asked: Asked | Unacknowledged | None) -> None:
        began = perf_counter()
        try:
            stored = await self._placed(batch, asked)
        finally:  # The broker is done with it, and may have the next: its mark holds up nobody.
            self._slots += not self._stopped
            self._arrived.set()
        self.observe(len(batch), perf_counter() - began)
        if stored:
            await self._known(stored)

    async def _placed(
        self, batch: list[_Waiting], asked: Asked | Unacknowledged | None
    ) -> list[tuple[int, _Waiting]]:
        """Those of *batch* that lie in the log now, and where; the others have learnt why not."""
        if asked is not None:
            point("append.sent")
            outcome = await self._outcome(asked)
            if isinstance(outcome, int):
                return list(enumerate(batch, outcome - len(batch) + 1))
            if isinstance(outcome, Unacknowledged):
                _all_failed(batch, outcome)
                return []
        return await self._placed_one_by_one(batch)

    async def _placed_one_by_one(self, batch: list[_Waiting]) -> list[tuple[int, _Waiting]]:
        """As `_placed`, by plain publishes: none of *batch* was stored so far."""
        placed: list[tuple[int, _Waiting]] = []
        asked = [self._asked(waiting) for waiting in batch]
        point("append.sent")
        until_s = self._loop.time() + self._settings.append_timeout_s
        for waiting, one in zip(batch, asked, strict=True):
            rest_s = max(0.0, until_s - self._loop.time())
            outcome = one if isinstance(one, Exception) else await self._outcome(one, rest_s)
            if isinstance(outcome, int):
                placed.append((outcome, waiting))
            else:
                _failed(waiting, outcome)
        return placed

    def _asked(self, waiting: _Waiting) -> Asked | Exception:
        """The question, on its way, whether the broker stores *waiting*; or why it is not."""
        try:
            return self._wire.asked(waiting.subject, waiting.payload, _ended(waiting.header))
        except TooLarge as error:
            return error
        except BrokerLost as error:
            return Unacknowledged(str(error))

    async def _known(self, placed: list[tuple[int, _Waiting]]) -> None:
        """What was *placed* lies in the log: first marked, then told."""
        point("append.stored")
        batch = [one for _, one in placed]
        stored = [Stored(seq, one.noun, one.key, one.payload) for seq, one in placed]
        try:
            await self._in_time(self._mark.reach(stored))
        except Reused as error:
            self.damaged = str(error)
            self.reused = self.reused or error
            self.hurt.set()
            _all_failed(batch, Unacknowledged(str(error)))
            return
        except OSError as error:
            self.doubted = True
            _all_failed(batch, Unacknowledged(f"the mark cannot be raised: {error}"))
            return
        point("append.marked")
        for seq, waiting in placed:
            if not waiting.done.done():
                waiting.done.set_result(seq)
        self._stored(stored)

    async def _in_time(self, marking: Awaitable[None]) -> None:
        """Raises what *marking* does, and TimeoutError when the disk is stuck; it goes on then."""
        try:
            async with asyncio.timeout(self._settings.append_timeout_s):
                await marking
        except TimeoutError as error:
            raise TimeoutError("the disk takes too long") from error

    async def _outcome(
        self, asked: Asked | Unacknowledged, timeout_s: float | None = None
    ) -> int | Exception:
        """The position that the broker gave, or why it gave none."""
        if isinstance(asked, Unacknowledged):
            return asked
        if timeout_s is None:
            timeout_s = self._settings.append_timeout_s
        try:
            data = await self._wire.answer(asked, timeout_s)
        except TimeoutError:
            self.doubted = True
            return Unacknowledged(f"no answer in {self._settings.append_timeout_s} s")
        except BrokerLost as error:
            return Unacknowledged(str(error))
        except LookupError:
            if self._clustered:
                return Unacknowledged("nobody keeps the log at this moment: it has no leader")
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
    if error.get("err_code") in (
        WRONG_LAST_SEQUENCE, WRONG_WHILE_IN_FLIGHT, DUPLICATE_IN_BATCH,
    ):  # fmt: skip
        return Conflict(error["description"])
    if error.get("err_code") in LEADERLESS:
        return Unacknowledged(error["description"])
    return Unstored(error.get("description", "the broker refused the commit"))


def _failed(waiting: _Waiting, error: Exception) -> None:
    """Tell who waits, if they still do."""
    if not waiting.done.done():
        waiting.done.set_exception(error)


def _all_failed(batch: list[_Waiting], error: Exception) -> None:
    for waiting in batch:
        _failed(waiting, error)

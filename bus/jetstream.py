"""The log on a real broker: stream EVT, read by Direct Get, written by `GroupCommit`.

What this process has appended itself it need not read again: the newest of it lies in memory, and
tails are served from there as long as nobody else's commits lie between.

Of several copies any may answer a Direct Get, and all but the leader's may end early. So where
"there is no more" is an answer, the leader is asked for the last word, once he is one who has all
that was acknowledged (ADR 0022).
"""

from __future__ import annotations

import asyncio
from base64 import b64decode
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import suppress
from hashlib import blake2b
from typing import Any

import orjson

from bus import codec, subjects
from bus.group_commit import GroupCommit
from bus.leading import led
from bus.log import LEADERLESS, Leaderless, Missing, Stored, Unacknowledged
from bus.marks import Mark, Unmarked
from bus.wire import BrokerLost, Frame, Wire
from schemas.envelope import Commit, Event, Header
from schemas.settings import Settings

END_OF_BATCH = b"204"
NOTHING_FOUND = b"404"
PENDING = b"Nats-Num-Pending: "
PAGE_ATTEMPTS = 3
POLL_S = 1.0
LAG_POLL_S = 0.02
"""Between looks whether a copy has what the leader has."""
NO_MESSAGE = 10037
APPENDED = subjects.ephemeral("appended", "log")


class JetStreamLog:
    """The log as one process reads and writes it."""

    def __init__(
        self,
        wire: Wire,
        settings: Settings,
        epoch: str,
        mark: Mark | None = None,
        *,
        clustered: bool = False,
    ) -> None:
        """*mark* is raised before an append is acknowledged; readers need none. *clustered*:
        several servers may keep this log, and have no leader for a while."""
        self.epoch = epoch
        self._clustered = clustered
        self._wire = wire
        self._settings = settings
        self._news = asyncio.Event()
        self._announced = 0
        self._own = _Own(settings.tail_fetch_max, settings.tail_fetch_bytes_max)
        self._beside = [self]
        self._mark = mark or Unmarked()
        self.writer = GroupCommit(wire, settings, self._mark, self._stored, clustered=clustered)

    async def append(self, header: Header, events: Sequence[Event], expected: int) -> int:
        return await self.writer.append(header, events, expected)

    async def attest(self, seq: int) -> None:
        if seq > self.writer.marked:
            found = await self.page(seq - 1, 1)
            if not found or found[0].seq != seq:
                raise Unacknowledged(f"position {seq} cannot be read any more")
            await self.writer.attest(found[0])

    async def flush(self) -> None:
        """Send what waits, for ever: the room that must run wherever commits are appended."""
        await self.writer.flush()

    def share(self, other: JetStreamLog) -> None:
        """What is appended here, *other* has read: the same log, over a connection of its own."""
        self._beside.append(other)

    def _stored(self, commits: list[Stored]) -> None:
        """Tails in this process go on at once, those elsewhere are told."""
        for log in self._beside:
            log.keep(commits)
        with suppress(BrokerLost):  # It is stored; this is but a hint, and can be lost.
            self._wire.publish(APPENDED, b"%d" % commits[-1].seq)

    def keep(self, commits: list[Stored]) -> None:
        """*commits* lie in the log, as its broker has acknowledged to this process."""
        self._own.keep(commits)
        self.nudge(b"%d" % commits[-1].seq)

    def nudge(self, position: bytes) -> None:
        """The log has reached *position*, somebody says: a hint, never the proof.

        Called on each announcement (`bus.attachment` subscribes).
        """
        if position.isdigit() and int(position) > self._announced:
            self._announced = int(position)
            told, self._news = self._news, asyncio.Event()
            told.set()

    async def read(self, noun: str, key: str, after: int = 0) -> list[Commit]:
        subject = subjects.event(noun, key)
        until = await self._last(subject) if self._clustered else 0
        commits: list[Commit] = []
        more = not self._clustered or until > after
        asked_again_max = int(self._settings.append_timeout_s / LAG_POLL_S)
        while more or after < until:
            stored, more = await self._get({"seq": after + 1, "next_by_subj": subject})
            commits += (codec.decode(one.payload, one.seq) for one in stored)
            after = stored[-1].seq if stored else after
            if not stored and after < until:  # A copy that lags; another may answer next.
                if not asked_again_max:
                    raise TimeoutError(f"no copy of the log shows position {until}")
                asked_again_max -= 1
                await asyncio.sleep(LAG_POLL_S)
        return commits

    @staticmethod
    async def info(wire: Wire, settings: Settings) -> dict[str, Any]:
        """What the broker says of the stream (JetStream's STREAM.INFO)."""
        subject = f"$JS.API.STREAM.INFO.{subjects.STREAM}"
        details = b'{"deleted_details":true}'
        answer = await _told(wire, subject, details, settings.append_timeout_s)
        if "error" in answer:
            raise BrokerLost(f"the log cannot be seen: {answer['error']['description']}")
        return answer

    async def head(self) -> int:
        return int((await self.info(self._wire, self._settings))["state"]["last_seq"])

    async def page(self, after: int, limit: int) -> list[Stored]:
        found = (await self._get({"seq": after + 1}, limit))[0]
        if found or not self._clustered:
            return found
        following = await self._at_leader({"seq": after + 1, "next_by_subj": subjects.EVENTS})
        return [] if following is None else [following]

    async def tail(self, after: int, until: int | None = None) -> AsyncIterator[list[Stored]]:
        limit, behind = self._settings.tail_fetch_max, True
        while until is None or after < until:
            news = self._news
            most = limit if until is None else min(limit, until - after)
            page = self._own.following(after, most)
            if not page and (behind or self._announced > after):
                page = await self._reachable(after, most)
                behind = bool(page)
            whole = _unbroken(page, after)
            if whole:
                after = whole[-1].seq
                yield whole
            if len(whole) < len(page):
                raise Missing(after + 1)
            if not page:
                behind = not await _something(news)
                if behind and await self._hidden(after):
                    raise Missing(after + 1)

    async def _reachable(self, after: int, limit: int) -> list[Stored]:
        """As `page`; a cluster without a leader has nothing new, and is asked again later."""
        if not self._clustered:
            return await self.page(after, limit)
        try:
            return await self.page(after, limit)
        except (Leaderless, TimeoutError):
            return []

    async def _hidden(self, after: int) -> bool:
        """Whether the log says that it goes on after *after*, and yet shows nothing there."""
        try:
            return await self.head() > after and not await self.page(after, 1)
        except Leaderless:
            return False
        except TimeoutError:
            if not self._clustered:
                raise
            return False

    async def _last(self, subject: str) -> int:
        """The position of the last commit on *subject* by the leader's account; 0 for none. Raises
        `Leaderless`."""
        await self._led(0 if self.writer.damaged else await self._mark.acknowledged())
        last = await self._at_leader({"last_by_subj": subject})
        return 0 if last is None else last.seq

    async def _led(self, reaching: int) -> None:
        """Returns once a leader answers whom a majority follows and who has all up to *reaching*:
        one that was deposed may not know of it, and one that was just elected may be behind what
        he is about to show. Raises `Leaderless`."""
        try:
            async with asyncio.timeout(self._settings.nats_look_timeout_s):
                while True:
                    info = await self.info(self._wire, self._settings)
                    if led(info) and info["state"]["last_seq"] >= reaching:
                        return
                    await asyncio.sleep(LAG_POLL_S)
        except TimeoutError as error:
            raise Leaderless(f"the log's leader does not have position {reaching}") from error

    async def _at_leader(self, query: dict[str, Any]) -> Stored | None:
        """The one commit that *query* asks for, if there is one. Raises `Leaderless`."""
        subject = f"$JS.API.STREAM.MSG.GET.{subjects.STREAM}"
        timeout_s = self._settings.nats_look_timeout_s
        try:
            answer = await _told(self._wire, subject, orjson.dumps(query), timeout_s)
        except TimeoutError as error:
            raise Leaderless(f"the log's leader is silent for {timeout_s} s") from error
        if fault := answer.get("error"):
            if fault.get("err_code") == NO_MESSAGE:
                return None
            raise BrokerLost(f"the broker refused to read the log: {fault['description']}")
        found = answer["message"]
        noun, key = _aggregate(found["subject"])
        return Stored(found["seq"], noun, key, b64decode(found.get("data", "")))

    async def _get(self, query: dict[str, Any], limit: int = 0) -> tuple[list[Stored], bool]:
        """One Direct Get of up to *limit* messages (ADR-31 of NATS), oldest first, and whether
        there are more."""
        body = query | {
            "batch": limit or self._settings.tail_fetch_max,
            "max_bytes": self._settings.tail_fetch_bytes_max,
        }
        subject = f"$JS.API.DIRECT.GET.{subjects.STREAM}"
        settings = self._settings
        # A copy whose server has just gone says nothing; another will be asked in its place.
        timeout_s = settings.nats_look_timeout_s if self._clustered else settings.append_timeout_s
        for _ in range(PAGE_ATTEMPTS):
            *found, (end, _) = await self._wire.collect(subject, orjson.dumps(body), timeout_s)
            if end[9:12] not in (END_OF_BATCH, NOTHING_FOUND):
                raise BrokerLost(f"the broker refused to read the log: {end.decode()!r}")
            if _whole(found, end):
                more = end[9:12] == END_OF_BATCH and _value(end, PENDING) != "0"
                return [_direct(header, data) for header, data in found], more
        raise BrokerLost(f"pages of the log arrive with gaps, {PAGE_ATTEMPTS} times in a row")


class _Own:
    """The newest commits of this process, by position."""

    def __init__(self, commits_max: int, bytes_max: int) -> None:
        self._commits_max = commits_max
        self._bytes_max = bytes_max
        self._kept: dict[int, Stored] = {}
        self._kept_bytes = 0

    def keep(self, commits: Iterable[Stored]) -> None:
        for one in commits:
            self._kept[one.seq] = one
            self._kept_bytes += len(one.payload)
        while len(self._kept) > self._commits_max or self._kept_bytes > self._bytes_max:
            oldest = self._kept.pop(next(iter(self._kept)))
            self._kept_bytes -= len(oldest.payload)

    def following(self, after: int, limit: int) -> list[Stored]:
        """At most *limit* commits that follow *after* without a gap."""
        kept = self._kept
        page: list[Stored] = []
        while len(page) < limit and (one := kept.get(after + 1 + len(page))) is not None:
            page.append(one)
        return page


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


def epoch_of(created: str) -> str:
    """The epoch of the stream that was created at *created* (the broker's own timestamp)."""
    return blake2b(created.encode(), digest_size=8).hexdigest()


def _whole(found: list[Frame], end: bytes) -> bool:
    """Whether nothing of a page got lost on the way. Within one server nothing does, but a route
    of a cluster may break in its midst: a decision on a state with a gap would pass every guard.
    """
    if end[9:12] != END_OF_BATCH:
        return not found
    if not found or _value(found[0][0], b"Nats-Last-Sequence: ") != "0":
        return False
    return len(found) == 1 + int(_value(found[0][0], PENDING)) - int(_value(end, PENDING))


def _direct(header: bytes, data: bytes) -> Stored:
    seq = _value(header, b"Nats-Sequence: ")
    noun, key = _aggregate(_value(header, b"Nats-Subject: "))
    return Stored(int(seq), noun, key, data)


def _aggregate(subject: str) -> tuple[str, str]:
    """Noun and key of what lies on *subject*. Whatever lies there: who folds it judges it."""
    _, _, aggregate = subject.partition(".")
    noun, _, key = aggregate.partition(".")
    return noun, key


async def _told(wire: Wire, subject: str, request: bytes, timeout_s: float) -> dict[str, Any]:
    """What JetStream answers. Raises `Leaderless` when nobody may, `BrokerLost`, TimeoutError."""
    try:
        answer: dict[str, Any] = orjson.loads(await wire.ask(subject, request, timeout_s))
    except LookupError as error:
        raise Leaderless("the log has no leader: a majority of the servers is away") from error
    if answer.get("error", {}).get("err_code") in LEADERLESS:
        raise Leaderless(f"the log has no leader: {answer['error']['description']}")
    return answer


def _value(header: bytes, name: bytes) -> str:
    start = header.index(name) + len(name)
    return header[start : header.index(b"\r", start)].decode()

"""Those who write and the one who listens while parts of the node die, and what they count.

Each writer says numbered things, in public and in private, changes what it has said, and takes
things back; each wish is repeated, with the same Idempotency-Key, until it is acknowledged. The
listener follows the live page over every break of it.
"""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import count
from time import monotonic
from typing import Any

import aiohttp

from gateway.bench.parts import Unfound

WRITERS = 8
PAUSE_S = 0.005
AGAIN_S = 0.02
RECOVERY_S = 60.0
ANSWER_S = 10.0
CHANGE_EVERY = 5
TAKE_BACK_EVERY = 7
LOOKED_AT_MAX = 1000
"""Changes and removals that are looked at in the end: the last so many of each."""
LOOKERS = 8
"""So many messages are looked at at once."""

Message = tuple[str, str]
"""The ids of a channel and of a message in it."""


@dataclass
class Journal:
    """What was acknowledged, and what was heard."""

    acked: dict[str, int] = field(default_factory=dict)
    """What was said → the position that was answered."""
    heard: dict[int, str] = field(default_factory=dict)
    """Position → what was said there."""
    changed: dict[Message, str] = field(default_factory=dict)
    """Message → what it was changed to."""
    taken_back: list[Message] = field(default_factory=list)
    cursor: int = 0
    backwards: int = 0
    """Commits heard that did not follow the one before."""

    def lost(self, acked: dict[str, int]) -> list[str]:
        """What of *acked* is not heard where it was answered to be."""
        return [said for said, seq in acked.items() if self.heard.get(seq) != said]

    def doubled(self) -> list[str]:
        """What is heard more than once."""
        return [said for said, times in Counter(self.heard.values()).items() if times > 1]

    def cut(self) -> Journal:
        """What is certain when the power goes now: what was acknowledged, nothing that was only
        heard. The listener begins anew."""
        return Journal(dict(self.acked), {}, dict(self.changed), list(self.taken_back))


@dataclass
class Silence:
    """How long nobody was granted anything, and how that was said."""

    since_s: float = field(default_factory=monotonic)
    longest_s: float = 0.0
    put_off: int = 0
    """503 with Retry-After."""
    curt: Counter[str] = field(default_factory=Counter)
    """Other answers from 500 up, in their own words: ours to avoid."""

    def broken(self) -> None:
        """A wish was granted now."""
        now_s = monotonic()
        self.longest_s = max(self.longest_s, now_s - self.since_s)
        self.since_s = now_s

    def refused(self, status: int, headers: Mapping[str, str], answer: Any) -> None:
        """An answer has come with *status*."""
        if status >= 500:
            polite = status == 503 and "Retry-After" in headers
            self.put_off += polite
            if not polite:
                self.curt[f"{status} {answer.get('code')}: {answer.get('detail')}"] += 1


@dataclass
class Crowd:
    """Those who write and the one who listens, on one node."""

    http: aiohttp.ClientSession
    urls: tuple[str, ...]
    """Of the gateways, which are asked in turn: what one did not answer, the next one is asked."""
    private: str
    """The id of a private channel of theirs."""
    pause_s: float
    keyed: bool
    """Whether a wish that is repeated says that it is the same."""
    page: aiohttp.ClientWebSocketResponse | None = None
    """The live page that the listener follows at this moment."""
    dark: bool = False
    """Whether the power is gone: what is still answered counts for nothing."""
    journal: Journal = field(default_factory=Journal)
    news: asyncio.Event = field(default_factory=asyncio.Event)
    """Set whenever something has been heard."""
    silence: Silence = field(default_factory=Silence)
    _turn: Iterator[int] = field(default_factory=count)
    _lookers: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(LOOKERS))

    @property
    def url(self) -> str:
        """The gateway whose turn it is."""
        return self.urls[next(self._turn) % len(self.urls)]

    async def heard(self, seq: int) -> None:
        """Returns once the listener has come as far as *seq*."""
        while self.journal.cursor < seq:
            self.news.clear()
            await self.news.wait()

    async def write(self, writer: int) -> None:
        """One wish after the other, each until it is acknowledged, for ever."""
        for nth in count(1):
            channel = ("general", self.private)[nth % 2]
            said = f"writer {writer} says {nth}"
            message, seq = await self._say(channel, said)
            self.journal.acked[said] = seq
            self.silence.broken()
            if nth % CHANGE_EVERY == 0:
                await self._change(message, f"{said}, or so")
            if nth % TAKE_BACK_EVERY == 0:
                message, _ = await self._say(channel, f"{said} too much")
                await self._take_back(message)
            await asyncio.sleep(self.pause_s)

    async def _say(self, channel: str, said: str) -> tuple[Message, int]:
        """The message, and the position at which it was said."""
        body = {"channel_id": channel, "content": said}
        answer = await self._acknowledged("POST", "/channels/messages", body, said)
        return (channel, answer["message"]["id"]), answer["seq"]

    async def _change(self, message: Message, said: str) -> None:
        await self._acknowledged("PATCH", _path(message), {"content": said}, said)
        self.journal.changed[message] = said

    async def _take_back(self, message: Message) -> None:
        await self._acknowledged("DELETE", _path(message), None, f"without {message[1]}")
        self.journal.taken_back.append(message)

    async def _acknowledged(self, method: str, path: str, body: Any, wish: str) -> Any:
        """The answer to a wish, said again until there is one."""
        headers = {"Idempotency-Key": wish.replace(" ", "-")} if self.keyed else {}
        while True:
            status, answer = await self._asked(method, path, body, headers)
            if 200 <= status < 300:
                return answer
            if status < 500:
                raise Unfound(f"{method} {path} ({wish!r}) was answered {status}: {answer}")
            await asyncio.sleep(AGAIN_S)

    async def _asked(
        self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None
    ) -> tuple[int, Any]:
        """Status and body; 503 as well when nobody answers, or not whole."""
        url = f"{self.url}/api/v1{path}"
        try:
            async with self.http.request(method, url, json=body, headers=headers) as response:
                status, answer = response.status, await response.json()
                self.silence.refused(status, response.headers, answer)
        except (aiohttp.ClientError, TimeoutError, json.JSONDecodeError):
            status, answer = 503, None  # It may have been done or not, and is asked again.
        return (503, None) if self.dark else (status, answer)

    async def listen(self) -> None:
        """Follow the live page from the beginning, over every break of it, for ever."""
        while True:
            journal = self.journal
            try:
                url = f"{self.url}/api/v1/live?after={journal.cursor}"
                async with self.http.ws_connect(url, heartbeat=5.0) as page:
                    self.page = page
                    async for message in page:
                        if (
                            self.journal is not journal
                            or message.type is not aiohttp.WSMsgType.TEXT
                        ):
                            break  # A gateway that dies may leave half a frame.
                        self._hear(json.loads(message.data))
            except (aiohttp.ClientError, TimeoutError):
                pass
            await asyncio.sleep(AGAIN_S)

    async def part(self) -> None:
        """The listener, once he follows, is cut off; he follows again after what he has heard
        last."""
        async with asyncio.timeout(RECOVERY_S):
            while self.page is None or self.page.closed:  # noqa: ASYNC110 - of aiohttp
                await asyncio.sleep(AGAIN_S)
        await self.page.close()

    def _hear(self, frame: dict[str, Any]) -> None:
        journal, seq = self.journal, frame.get("seq")
        if not isinstance(seq, int):
            return
        journal.backwards += seq <= journal.cursor
        journal.cursor = max(journal.cursor, seq)
        for event in frame.get("events") or ():
            if event["kind"] == "message_posted" and event["data"].get("content"):
                journal.heard[seq] = event["data"]["content"]  # What was taken back has none.
        self.news.set()

    async def recovered(self, what: str) -> dict[str, int]:
        """What was acknowledged until the node has granted two more wishes of each writer; the
        listener has heard of all of it. Raises `Unfound` when that does not happen."""
        journal = self.journal
        before = len(journal.acked)
        try:
            async with asyncio.timeout(RECOVERY_S):
                while len(journal.acked) < before + 2 * WRITERS:  # noqa: ASYNC110 - of a dict
                    await asyncio.sleep(AGAIN_S)
                acked = dict(journal.acked)
                await self.heard(max(acked.values()))
        except TimeoutError as error:
            raise Unfound(f"no recovery in {RECOVERY_S:g} s after {what}") from error
        return acked

    async def undone(self) -> list[Message]:
        """The messages whose last change or removal cannot be seen."""
        journal = self.journal
        gone, changed = journal.taken_back[-LOOKED_AT_MAX:], list(journal.changed)[-LOOKED_AT_MAX:]
        wanted: dict[Message, tuple[int, str | None]] = dict.fromkeys(gone, (404, None))
        wanted |= {message: (200, journal.changed[message]) for message in changed}
        async with asyncio.TaskGroup() as group:
            found = {message: group.create_task(self._read(message)) for message in wanted}
        return [message for message in wanted if found[message].result() != wanted[message]]

    async def _read(self, message: Message) -> tuple[int, str | None]:
        """Status and text of a message by the account of any gateway that knows what has been
        heard, once it says."""
        async with self._lookers, asyncio.timeout(RECOVERY_S):
            path = f"{_path(message)}?after_seq={self.journal.cursor}"
            while (told := await self._asked("GET", path))[0] == 503:  # noqa: ASYNC110 - over HTTP
                await asyncio.sleep(AGAIN_S)
        status, answer = told
        return status, answer["message"]["content"] if status == 200 else None

    async def verified(self) -> dict[str, object] | None:
        """The first difference between tables and log, by the node's own account."""
        async with asyncio.timeout(RECOVERY_S):
            while True:
                status, answer = await self._verify()
                if status == 200:
                    difference: dict[str, object] | None = answer["difference"]
                    return difference
                if status != 503:
                    raise Unfound(f"verify was answered {status}: {answer}")
                await asyncio.sleep(AGAIN_S)

    async def _verify(self) -> tuple[int, dict[str, Any]]:
        """Status and body; 503 as well when the gateway has not noticed yet what was killed."""
        timeout = aiohttp.ClientTimeout(total=RECOVERY_S)
        url = f"{self.url}/api/v1/node/verify"
        try:
            async with self.http.post(url, timeout=timeout) as response:
                return response.status, await response.json()
        except aiohttp.ClientConnectionError:
            return 503, {}


def _path(message: Message) -> str:
    return f"/channels/{message[0]}/messages/{message[1]}"


@asynccontextmanager
async def crowd(
    urls: tuple[str, ...],
    headers: dict[str, str],
    pause_s: float = PAUSE_S,
    *,
    keyed: bool = True,
) -> AsyncIterator[Crowd]:
    """Writers, each of whom rests for *pause_s* after each wish, and a listener at work."""
    timeout = aiohttp.ClientTimeout(total=ANSWER_S)
    async with aiohttp.ClientSession(headers=headers, timeout=timeout) as http:
        draft = {"name": "among-us", "type": "private"}
        async with http.post(f"{urls[0]}/api/v1/channels", json=draft) as response:
            made = await response.json()
            private = made["channel"]["id"]
        for url in urls:  # Each gateway knows of it before anybody writes there.
            seen = f"{url}/api/v1/channels/{private}?after_seq={made['seq']}"
            async with http.get(seen) as response:
                response.raise_for_status()
        at_work = Crowd(http, urls, private, pause_s, keyed)
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(at_work.write(nth)) for nth in range(WRITERS)]
            tasks.append(group.create_task(at_work.listen()))
            yield at_work
            for task in tasks:
                task.cancel()

"""Whose turn it is at an aggregate, among processes: a queue that is a hint (ADR 0023).

Whoever has just appended knows where the aggregate stands, and appends again while others are still
reading: a process that is a little slower, or farther from the broker, would never have a turn. So
one that has lost its turn says that it waits, and says so again when it waits no more. Those who
have lost go on in the order in which they said so, and whoever has something new to do there lets
them go first. Words may be lost, and who waits in vain goes on in the end: all that hangs on them
is whose turn it is, never what is stored. While nobody loses, nobody says anything.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from itertools import count

import msgspec
import structlog
from msgspec import Struct

from bus import subjects
from bus.clock import new_id
from bus.wire import BrokerLost, Wire

TURNS = subjects.ephemeral("turns", "all")
WAITED_S_MAX = 1.0
"""By one command for all before it; and after so long one that waits counts as gone."""
QUEUES_MAX = 1024

log = structlog.get_logger()


class Waiting(Struct, frozen=True):
    """*process* has lost its turn at an aggregate, and waits under a number of its own; or has
    ended to wait."""

    process: str
    number: int
    noun: str
    key: str
    ended: bool = False


WORDS = msgspec.json.Decoder(Waiting)


class Rivals:
    """The processes that change the same aggregates as this one, in the order of their turns."""

    def __init__(self, say: Callable[[bytes], None] = lambda _word: None) -> None:
        """*say* is heard by all of them and by this one, perhaps; without it there are none."""
        self.say = say
        self.process = new_id()
        self.numbers = count()
        self.news = asyncio.Event()
        """Set, and replaced, when one of them has ended to wait."""
        self._queues: dict[tuple[str, str], dict[tuple[str, int], float]] = {}

    def place(self, noun: str, key: str) -> Place:
        """Where one command about an aggregate stands, to be entered at once."""
        return Place(self, noun, key)

    def hear(self, data: bytes) -> None:
        """What somebody said, this process included."""
        try:
            word = WORDS.decode(data)
        except msgspec.MsgspecError as error:
            log.warning("turn_unreadable", reason=str(error))
            return
        name, one = (word.noun, word.key), (word.process, word.number)
        now_s = asyncio.get_running_loop().time()
        queue = self._queues.pop(name, {})
        queue = {other: until_s for other, until_s in queue.items() if until_s > now_s}
        if word.ended:
            queue.pop(one, None)
            news, self.news = self.news, asyncio.Event()
            news.set()
        else:
            queue[one] = now_s + WAITED_S_MAX  # One that has a place keeps it.
        if queue:
            self._queues[name] = queue
        while len(self._queues) > QUEUES_MAX:
            self._queues.pop(next(iter(self._queues)))

    def before(self, name: tuple[str, str], number: int | None) -> bool:
        """Whether another process waits at *name*, before *number* if that waits as well."""
        queue = self._queues.get(name)
        if queue is None:
            return False
        now_s = asyncio.get_running_loop().time()
        for one, until_s in queue.items():
            if one == (self.process, number):
                return False
            if one[0] != self.process and until_s > now_s:
                return True
        return False


class Place:
    """One command's place in the queue, if it needs one: `with rivals.place(…) as place:`."""

    __slots__ = ("_latest_s", "_name", "_number", "_rivals")

    def __init__(self, rivals: Rivals, noun: str, key: str) -> None:
        self._rivals = rivals
        self._name = noun, key
        self._number: int | None = None
        self._latest_s = 0.0

    def __enter__(self) -> Place:
        return self

    def __exit__(self, *_: object) -> None:
        if self._number is not None:
            self._say(self._number, ended=True)

    @property
    def others_wait(self) -> bool:
        """Whether it is somebody else's turn."""
        return self._rivals.before(self._name, self._number)

    async def wait(self) -> None:
        """Returns when it is nobody else's turn, or the others have had long enough."""
        if not self._latest_s:
            self._latest_s = asyncio.get_running_loop().time() + WAITED_S_MAX
        with suppress(TimeoutError):
            async with asyncio.timeout_at(self._latest_s):
                while self.others_wait:
                    await self._rivals.news.wait()

    async def line_up(self) -> None:
        """The turn was lost: say so, and wait for the next."""
        if self._number is None:
            self._number = next(self._rivals.numbers)
        self._say(self._number, ended=False)
        await self.wait()

    def _say(self, number: int, *, ended: bool) -> None:
        word = Waiting(self._rivals.process, number, *self._name, ended)
        self._rivals.say(msgspec.json.encode(word))


def rivals_on(wire: Wire) -> Rivals:
    """Those on the same broker, as long as *wire* lasts."""

    def say(word: bytes) -> None:
        with suppress(BrokerLost):  # The next attempt will notice.
            wire.publish(TURNS, word)

    rivals = Rivals(say)
    wire.subscribe(TURNS, lambda _reply, _header, data: rivals.hear(data))
    return rivals

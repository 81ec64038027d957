"""The feed: the end of the log, made ready to be sent, and whatever lies before it on demand.

There is no second bus: a reader has a position, asks for the `page` that follows it, and is woken
when there is more. The last commits lie in memory, their frames written once and shared by all
readers; older ones are read from the log again. A reader may be as late as it likes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Protocol

import orjson

from bus import codec
from bus.clock import iso
from bus.log import Log, Missing, Stored
from schemas.settings import Settings

Show = Callable[[dict[str, Any], dict[str, Any]], dict[str, Any]]
"""(header, fact) → what a client may be shown of the fact's data."""
ERASURE = "content_erased"
ERASURE_SIGN = ERASURE.encode()

CHANNEL_NOUNS = frozenset({"channel", "cursor", "message"})
RIGHTLESS = frozenset({"cursor", "message", "receipt"})
"""Nouns that change nobody's rights: the directory is the same before and after."""


class Form(Protocol):
    """How the JSON of a frame becomes the bytes of one transport. Hashable: frames are shared."""

    def numbered(self, seq: int, json: bytes) -> bytes:
        """A frame that moves the client's position to *seq*."""

    def passing(self, json: bytes) -> bytes:
        """A frame that has no position."""


class Entry:
    """One commit, ready to be sent: opened for its first reader, each frame written once."""

    __slots__ = ("_frames", "_show", "_stored", "author", "kinds", "pushed", "traceparent")

    def __init__(self, stored: Stored, show: Show) -> None:
        self._stored = stored
        self._show = show
        self._frames: dict[tuple[Form, int], bytes] = {}
        self.kinds: tuple[str, ...] = ()
        """The kind of each of its events; like author and traceparent known once it is open."""
        self.author = ""
        self.traceparent = ""
        self.pushed = False
        """Whether any client has been sent it."""

    def open(self) -> None:
        """Look into the payload, once."""
        if not self.kinds:
            commit = codec.parse(self._stored.payload)
            self.kinds = tuple(fact["kind"] for fact in commit["events"])
            self.author = commit["header"]["author"]
            self.traceparent = commit["header"].get("traceparent", "")

    @property
    def seq(self) -> int:
        return self._stored.seq

    @property
    def noun(self) -> str:
        return self._stored.noun

    @property
    def key(self) -> str:
        return self._stored.key

    @property
    def payload_bytes(self) -> int:
        return len(self._stored.payload)

    @property
    def channel(self) -> str:
        """The channel that the commit belongs to; empty for nouns that belong to none."""
        return self.key.partition(".")[0] if self.noun in CHANNEL_NOUNS else ""

    def frame(self, form: Form, shown: int) -> bytes:
        """The commit in *form*, with those events whose bit (1 for the first) is set in *shown*."""
        frame = self._frames.get((form, shown))
        if frame is None:
            frame = self._frames[form, shown] = form.numbered(self.seq, self._json(shown))
        return frame

    @property
    def erases(self) -> bool:
        """Whether it tells that keys were destroyed. Nearly none does, and is told without a look
        into the payload."""
        return ERASURE_SIGN in self._stored.payload and _opens(self) and ERASURE in self.kinds

    def forget(self) -> None:
        """Write its frames anew for whoever reads it next: what it said has been erased."""
        self._frames.clear()

    def _json(self, shown: int) -> bytes:
        commit = codec.parse(self._stored.payload)
        header = commit["header"]
        return orjson.dumps(
            {
                "type": "commit",
                "seq": self.seq,
                "noun": self.noun,
                "id": self.key,
                "time": iso(header["clock"]),
                "author": header["author"],
                "origin": header["origin"],
                "cause": header["cause"],
                "events": [
                    {"kind": fact["kind"], "data": self._show(header, fact)}
                    for nth, fact in enumerate(commit["events"])
                    if shown >> nth & 1
                ],
            }
        )


class Feed:
    """The commits up to `head`; up to `folded` the tables of this process know them too.

    What changes no rights is shown when it is sighted, some milliseconds before it is folded, as
    long as nothing that does is waiting before it. `published` is called whenever there is more:
    the readers' alarm.
    """

    def __init__(self, log: Log, show: Show, settings: Settings, head: int = 0) -> None:
        self.head = head
        self.folded = head
        self.published: Callable[[], None] = lambda: None
        self.awaited: Callable[[], bool] = lambda: True
        """Whether anybody would see what is sighted."""
        self._log = log
        self._show = show
        self._settings = settings
        self._entries: dict[int, Entry] = {}
        self._oldest = head + 1
        self._kept_bytes = 0

    @property
    def epoch(self) -> str:
        """The identity of the log: positions of another epoch mean nothing here."""
        return self._log.epoch

    def sight(self, page: Iterable[Stored]) -> None:
        """*page* is in the log but not in the tables: show of it what need not wait for them."""
        before = self.head
        for stored in page if self.awaited() else ():
            if stored.seq <= self.head:
                continue
            entry = Entry(stored, self._show)
            if stored.seq != self.head + 1 or stored.noun not in RIGHTLESS or not _opens(entry):
                break
            self._keep(entry)
        if self.head > before:
            self._forget()
            self.published()

    def publish(self, batch: Iterable[Stored]) -> None:
        """*batch* is in the tables: show what of it has not been shown yet."""
        before = self.head
        for stored in batch:
            if stored.seq > self.head:
                self._keep(Entry(stored, self._show))
            self.folded = stored.seq
        if self.head > before:
            self._forget()
            self.published()

    def _keep(self, entry: Entry) -> None:
        if entry.seq != self.head + 1:  # Commits between lie in the log: what is kept has no holes.
            self._entries.clear()
            self._kept_bytes = 0
            self._oldest = entry.seq
        if entry.erases:
            self._erase(entry)
        self._entries[entry.seq] = entry
        self._kept_bytes += entry.payload_bytes
        self.head = entry.seq

    def _erase(self, erasure: Entry) -> None:
        """What is ready to be sent of an aggregate, or of all in a channel, is so no longer."""
        for entry in self._entries.values():
            if erasure.key in (entry.key, entry.channel):
                entry.forget()

    def _forget(self) -> None:
        settings = self._settings
        while (
            len(self._entries) > settings.live_buffer_commits
            or self._kept_bytes > settings.live_buffer_bytes
        ):
            self._kept_bytes -= self._entries.pop(self._oldest).payload_bytes
            self._oldest += 1

    async def stored(self) -> int:
        """How far the log itself is, which this process may not have folded yet."""
        return await self._log.head()

    async def page(self, after: int) -> Sequence[Entry]:
        """The commits that follow *after*, at most `live_page_commits`; none at the head.

        Raises `Missing` when the log does not have the next one any more, or not as it was.
        """
        until = min(self.head, after + self._settings.live_page_commits)
        if after + 1 >= self._oldest:
            kept = self._entries
            return [kept[seq] for seq in range(after + 1, until + 1)]
        if after >= until:
            return ()
        whole: list[Entry] = []
        for place, one in enumerate(await self._log.page(after, until - after), after + 1):
            entry = Entry(one, self._show)
            if one.seq != place or not _opens(entry):
                break
            whole.append(entry)
        if not whole:
            raise Missing(after + 1)
        return whole


def _opens(entry: Entry) -> bool:
    """Whether the entry can be read; if not, folding it will say so, loudly."""
    try:
        entry.open()
    except codec.Undecodable:
        return False
    return True

"""The eraser: a reactor whose effect is that keys are gone.

Deletion calls for it: of a private message, by its author or by time, and of a channel with all
that was said in it. Its intents are planned as any reactor's; their effect is the destruction of
keys in the vault (ADR 0016); and it has happened when the log says so. It reads the log by its tail
instead of by a consumer, because a consumer of messages would be handed every post: that is the
price of a fifth of all posts, for deletions that are rare. One process of a node does it at a time.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

import structlog

from actors.reactor import Intent, send
from bus import codec
from bus.commands import Commands, Unavailable
from bus.faults import point
from bus.key_table import VaultUnusable
from bus.log import Log, Missing, Stored
from bus.sealing import owner
from bus.storage import Storage
from bus.vault import Vault
from schemas.channel import ChannelRemoved
from schemas.envelope import Commit, Id
from schemas.erasure import RecordErasure
from schemas.message import MessageDeleted
from schemas.settings import Settings

NAME = "erase"
PROGRESS = "erased"
"""The file that tells how far the log has been worked on; without it, it is read from the start."""
DELETED, REMOVED = b'"message_deleted"', b'"channel_removed"'
"""What stands in the payload of every commit that calls for erasing, and in few others."""
SAID_IN_PRIVATE = b'"sealed":{'
"""What stands in the payload of every commit that hides something, and in few others."""
LATE_WITHIN = 10_000
"""Positions before those that are worked on, in which the eraser looks for channels that were
removed: what was being said there meanwhile comes after the removal, but not so much later."""
NOTED_EVERY = 10_000
"""Positions without anything to erase, after which progress is noted all the same."""
HOLD_EVERY_S = 2.0
REST_S = 0.1
"""From one page to the next while commits pour in: erasing waits for more than that anyway."""
RETRY_S = 1.0
DESTROY_TIMEOUT_S = 120.0

log = structlog.get_logger()


@dataclass(frozen=True)
class Deed:
    """Whose keys are to be destroyed, because of which commit, and what is recorded then."""

    owner: str
    commit: Commit
    intent: Intent


def plan(commit: Commit) -> Sequence[Deed]:
    """What *commit* calls for."""
    noun, key = commit.header.noun, commit.header.key
    intent = Intent(noun, key, RecordErasure())
    deeds: list[Deed] = []
    for event in commit.events:
        match event:
            case MessageDeleted(private=True):
                deeds.append(Deed(owner(noun, key), commit, intent))
            case ChannelRemoved():
                deeds.append(Deed(owner("message", key), commit, intent))
            case _:
                pass
    return deeds


class Eraser:
    """Destroys keys as the log calls for it. *storage* is the directory of the vault."""

    def __init__(
        self, vault: Vault, storage: Storage, log_: Log, commands: Commands, settings: Settings
    ) -> None:
        self._vault = vault
        self._storage = storage
        self._log = log_
        self._commands = commands
        self._settings = settings
        self._held = False
        self._noted = 0
        self._seen = 0
        self._deeds: list[Deed] = []
        self._removed: set[Id] = set()
        self._news = asyncio.Event()

    async def run(self) -> None:
        """Erase, for ever, or until a commit cannot be read: nothing behind it is passed over."""
        while not self._held:
            self._held = await asyncio.to_thread(self._storage.hold, NAME)
            if not self._held:
                await asyncio.sleep(HOLD_EVERY_S)
        self._seen = self._noted = await asyncio.to_thread(self._progress)
        self._deeds.clear()
        try:
            async with asyncio.TaskGroup() as group:
                working = group.create_task(self._work())
                await self._read()
                working.cancel()
        except* (codec.Undecodable, Missing) as poison:
            reason = str(poison.exceptions[0])
            remedy = "put back a copy of the log; until then what is deleted keeps its keys"
            log.critical("eraser_stopped", reason=reason, remedy=remedy)
        except* VaultUnusable as unusable:
            remedy = "then start the node again; until then what is deleted keeps its keys"
            log.critical("eraser_stopped", reason=str(unusable.exceptions[0]), remedy=remedy)

    async def _read(self) -> None:
        done = self._noted
        async for page in self._log.tail(max(0, done - LATE_WITHIN)):
            deeds = called_for(page, self._removed)
            self._deeds += [deed for deed in deeds if deed.commit.seq > done]
            self._seen = max(done, page[-1].seq)
            if self._deeds or self._seen - self._noted >= NOTED_EVERY:
                self._news.set()
            await asyncio.sleep(REST_S)

    async def _work(self) -> None:
        while True:
            await self._news.wait()
            self._news.clear()
            if self._deeds:
                await asyncio.sleep(self._settings.erasure_gather_s)
            deeds, self._deeds, seen = self._deeds, [], self._seen
            if deeds and not await self._done(deeds):
                self._deeds = deeds + self._deeds
                await asyncio.sleep(RETRY_S)
                self._news.set()
            else:
                await asyncio.to_thread(self._note, seen)

    async def _done(self, deeds: Sequence[Deed]) -> bool:
        """Whether the keys are gone and the log says so; if not, all of it is done again."""
        owners = {deed.owner for deed in deeds}
        # They wait for the vault together, so it is rewritten once.
        delayed = await _all([self._vault.destroy(one, DESTROY_TIMEOUT_S) for one in owners])
        if delayed is None:
            delayed = await _all(
                [send(NAME, deed.intent, deed.commit, 0, self._commands) for deed in deeds]
            )
        if delayed is not None:
            log.warning("erasure_delayed", owners=len(owners), reason=str(delayed))
        return delayed is None

    def _progress(self) -> int:
        """The position up to which everything is done; 0 for another log, or none noted, or when
        what was noted has changed."""
        try:
            noted = self._storage.read(PROGRESS)
        except FileNotFoundError:
            return 0
        seq = noted.decode("ascii", "replace").split(" ")[0]
        return int(seq) if seq.isdigit() and noted == note(self._log.epoch, int(seq)) else 0

    def _note(self, seen: int) -> None:
        point("erasure.told")
        self._storage.replace(PROGRESS, note(self._log.epoch, seen))
        point("erasure.noted")
        self._noted = seen


def note(epoch: str, seen: int) -> bytes:
    """What is noted once everything is done up to the position *seen* of the log of *epoch*: a
    position that has changed would leave keys where they are."""
    check = blake2b(f"{epoch} {seen}".encode(), digest_size=16).hexdigest()
    return f"{seen} {epoch} {check}".encode()


async def _all(deeds: Sequence[Coroutine[Any, Any, None]]) -> Exception | None:
    """Why not all of *deeds* are done, if it is of the moment: a disk that is full, a broker that
    is away. Raises anything else.

    Gathered, not grouped: a group of tasks whose members fail as it is cancelled tells of the
    failures alone, and who goes on after them would never end.
    """
    told = await asyncio.gather(*deeds, return_exceptions=True)
    failures = [one for one in told if isinstance(one, BaseException)]
    passing = [one for one in failures if isinstance(one, OSError | Unavailable)]
    for failure in failures:
        if failure not in passing:
            raise failure
    return passing[0] if passing else None


def called_for(page: Sequence[Stored], removed: set[Id]) -> list[Deed]:
    """What a page of the log calls for; *removed* are the channels known as removed, to which those
    of this page are added. Raises `bus.codec.Undecodable`."""
    deeds: list[Deed] = []
    for one in page:
        if DELETED in one.payload or REMOVED in one.payload:
            commit = codec.decode(one.payload, one.seq)
            deeds += plan(commit)
            if any(isinstance(event, ChannelRemoved) for event in commit.events):
                removed.add(commit.header.key)
        if not removed or one.noun != "message" or SAID_IN_PRIVATE not in one.payload:
            continue
        channel = one.key.partition(".")[0]
        if channel in removed:
            commit = codec.decode(one.payload, one.seq)  # It was in flight when the channel went.
            intent = Intent("channel", channel, RecordErasure())
            deeds.append(Deed(owner("message", one.key), commit, intent))
    return deeds

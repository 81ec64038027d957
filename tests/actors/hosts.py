"""Hosts for tests, and what is asked of them: one message that people like and unlike."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from actors.aggregate import Aggregate
from actors.host import Host
from actors.rooms import AGGREGATES
from bus.clock import Clock
from bus.log import Log, Stored
from bus.memory import MemoryLog
from bus.rivals import Rivals
from bus.snapshots import MemorySnapshots
from bus.telemetry import Telemetry
from bus.vault import Vault
from schemas.envelope import Answer, Commit, Event, Header, Request
from schemas.message import PostMessage, ToggleReaction
from schemas.settings import Settings
from tests.bus.vaults import empty_vault
from tests.examples import request

KEY = "general.M1"
POST = request("message", KEY, PostMessage(content="Hi."), id="r1", fingerprint="f1")
LIKE = ToggleReaction(reaction="like")


def host(
    log: Log,
    snapshots: MemorySnapshots | None = None,
    clock: Clock | None = None,
    telemetry: Telemetry | None = None,
    aggregates: tuple[Aggregate[Any], ...] = AGGREGATES,
    vault: Vault | None = None,
    rivals: Rivals | None = None,
    **knobs: Any,
) -> Host:
    """A host that has just been started."""
    return Host(
        aggregates,
        log,
        snapshots or MemorySnapshots(),
        clock or Clock(),
        "n1",
        Settings(**knobs),
        telemetry or Telemetry(),
        vault or empty_vault(),
        rivals=rivals or Rivals(),
    )


def wish(command: Any, **fields: Any) -> Request:
    """A command about the message."""
    return request("message", KEY, command, **fields)


def like(**fields: Any) -> Request:
    """A wish that has an effect each time."""
    return wish(LIKE, **fields)


def code(answer: Answer) -> str:
    """Why it was refused; empty when it was not."""
    return answer.refused.code if answer.refused else ""


def first(answer: Answer) -> Answer:
    """What the first delivery of the command was answered."""
    assert answer.replayed
    return msgspec.structs.replace(answer, replayed=False)


class Listened(MemoryLog):
    """A log that counts what is read from it, and fails when told to."""

    def __init__(self) -> None:
        super().__init__()
        self.read_commits = 0
        self.fault: Exception | None = None
        self.stores_first = False

    async def append(self, header: Header, events: Sequence[Event], expected: int) -> int:
        if self.fault is None:
            return await super().append(header, events, expected)
        if self.stores_first:
            await super().append(header, events, expected)
        raise self.fault

    async def read(self, noun: str, key: str, after: int = 0) -> list[Commit]:
        commits = await super().read(noun, key, after)
        self.read_commits += len(commits)
        return commits

    def poison(self, seq: int) -> None:
        """Make the commit at *seq* unreadable."""
        one = self._stored[seq - 1]
        self._stored[seq - 1] = Stored(seq, one.noun, one.key, b"hello")

    def lose(self, count: int) -> None:
        """Lose the last *count* commits, as a broken disk does."""
        for one in self._stored[-count:]:
            self._last[one.noun, one.key] = 0
        del self._stored[-count:]
        for one in self._stored:
            self._last[one.noun, one.key] = one.seq

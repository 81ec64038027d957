"""Snapshots make loading short, and are believed only if the log agrees."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from actors.channel.aggregate import CHANNEL
from actors.host import Host
from actors.message.aggregate import MESSAGE
from actors.rooms import AGGREGATES
from bus.clock import Clock
from bus.log import Log
from bus.memory import MemoryLog
from bus.sealing import SealedSnapshots
from bus.snapshots import MemorySnapshots
from schemas.envelope import SYSTEM, Event, Header
from schemas.erasure import RecordErasure
from schemas.message import DeleteMessage, EditMessage, MessageDeleted, PostMessage
from schemas.upcasters import Upcasters
from tests import examples
from tests.actors.hosts import KEY, LIKE, POST, Listened, host, like, wish
from tests.bus.vaults import WAIT_S, empty_vault
from tests.examples import WHEN_MS


async def liked(log: Log, snapshots: MemorySnapshots, times: int = 20, **knobs: Any) -> Host:
    """A host under which the message was posted and liked and unliked."""
    one = host(log, snapshots, snapshot_every=5, **knobs)
    await one.handle(POST)
    for nth in range(times):
        await one.handle(like(id=f"l{nth}"))
    return one


async def test_a_snapshot_makes_loading_short() -> None:
    """What was folded is not read again, but for its last commit, which proves it."""
    log, snapshots = Listened(), MemorySnapshots()
    await liked(log, snapshots)
    log.read_commits = 0
    answer = await host(log, snapshots).handle(like())

    assert (answer.seq, answer.facts[0].kind) == (22, "reaction_added")
    assert log.read_commits == 2


@pytest.mark.parametrize("change", [{"version": "another"}, {"state": {"author": 3}}])
async def test_a_snapshot_of_another_fold_is_ignored(change: dict[str, Any]) -> None:
    """Or one that does not fit the state that it claims to be."""
    log, snapshots = MemoryLog(), MemorySnapshots()
    await liked(log, snapshots)
    kept = await snapshots.load("message", KEY)
    assert kept is not None
    await snapshots.save("message", KEY, kept.model_copy(update=change))

    assert (await host(log, snapshots).handle(like())).facts[0].kind == "reaction_added"


async def test_a_snapshot_of_what_the_log_has_lost_is_ignored() -> None:
    """Decisions follow the log, and commands go through: nobody is told to try for ever."""
    log, snapshots = Listened(), MemorySnapshots()
    await liked(log, snapshots)
    log.lose(8)
    answer = await host(log, snapshots).handle(like())

    assert answer.seq == 14
    assert answer.facts[0].kind == "reaction_added"


async def test_a_snapshot_of_another_log_is_ignored() -> None:
    """Although there, too, the aggregate has a commit at that position."""
    snapshots = MemorySnapshots()
    await liked(MemoryLog(), snapshots)
    log = MemoryLog()
    one = host(log)
    await one.handle(POST)
    for nth in range(25):
        await one.handle(wish(EditMessage(content=str(nth))))

    answer = await host(log, snapshots).handle(like(author="bob"))
    assert (answer.seq, answer.facts[0].kind) == (27, "reaction_added")


async def test_a_clock_that_went_back_is_told_by_the_snapshots_last_commit() -> None:
    """Else what is decided now would lose to what was decided before."""
    log, snapshots = MemoryLog(), MemorySnapshots()
    await liked(log, snapshots, times=4, clock=Clock(lambda: WHEN_MS))
    yesterday = host(log, snapshots, Clock(lambda: WHEN_MS - 86_400_000))

    assert (await yesterday.handle(like())).facts[0].kind == "reaction_added"
    assert (await yesterday.handle(like())).facts[0].kind == "reaction_removed"


def test_a_snapshot_is_of_one_shape_of_state() -> None:
    """Rooms with other states have other versions; the same room always has the same."""
    versions = [aggregate.version for aggregate in AGGREGATES]

    assert len(set(versions)) == len(versions)


def test_a_snapshot_is_of_one_way_to_evolve() -> None:
    """A room whose text has changed may fold the same events to another state."""
    another: Any = CHANNEL.evolve
    changed = replace(MESSAGE, evolve=another)

    assert replace(MESSAGE).version == MESSAGE.version != changed.version


def test_a_snapshot_is_of_one_way_to_read_old_events(monkeypatch: pytest.MonkeyPatch) -> None:
    steps = Upcasters({("message_posted", 1): dict})
    monkeypatch.setattr("actors.aggregate.UPCASTERS", steps)

    assert replace(MESSAGE).version != MESSAGE.version


SECRET = PostMessage(content="The secret.", private=True)


async def test_no_snapshot_holds_what_was_erased() -> None:
    """Although one is taken of the last thing that is said of it, under a key of its own."""
    vault, snapshots = empty_vault(), MemorySnapshots()
    one = host(MemoryLog(), snapshots, vault=vault, snapshot_every=3)
    for nth, command in enumerate((SECRET, LIKE, LIKE, LIKE, DeleteMessage())):
        await one.handle(wish(command, id=f"s{nth}"))
    before = await SealedSnapshots(snapshots, vault, WAIT_S).load("message", KEY)
    await vault.destroy(f"message.{KEY}", WAIT_S)
    for _ in range(3):
        await one.handle(wish(RecordErasure(), author=SYSTEM))
    after = await SealedSnapshots(snapshots, vault, WAIT_S).load("message", KEY)
    vault.close()

    assert "The secret." in str(before)
    assert after is None


class Overtaken(MemoryLog):
    """A log in which another process deletes the message right after the next append."""

    overtake = False

    async def append(self, header: Header, events: Sequence[Event], expected: int) -> int:
        seq = await super().append(header, events, expected)
        if not self.overtake:
            return seq
        await super().append(examples.header(key=KEY), (MessageDeleted(private=True),), seq)
        return seq


async def test_no_snapshot_is_taken_of_what_was_deleted_elsewhere_meanwhile() -> None:
    vault, snapshots, log = empty_vault(), MemorySnapshots(), Overtaken()
    one = host(log, snapshots, vault=vault, snapshot_every=3)
    await one.handle(wish(SECRET))
    await one.handle(like())
    log.overtake = True
    await one.handle(like())
    vault.close()

    assert await snapshots.load("message", KEY) is None

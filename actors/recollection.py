"""What a process knows of aggregates: from memory, from a snapshot, from the log."""

from __future__ import annotations

from collections import OrderedDict
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Generic

import structlog
from pydantic import ValidationError

from actors.aggregate import Aggregate, State
from bus.clock import Clock
from bus.log import Log
from bus.sealing import ContentDamaged, SealedSnapshots, Sealing
from bus.snapshots import Snapshot
from schemas.envelope import Commit, Id
from schemas.settings import Settings

log = structlog.get_logger()


@dataclass(slots=True)
class Loaded(Generic[State]):
    """An aggregate as this process knows it: its state after the commit at `seq`."""

    state: State
    seq: int = 0
    applied: dict[Id, int] = field(default_factory=dict)
    since_snapshot: int = 0


class Recollection:
    """The aggregates that commands were about lately, each as the log had it when it was read."""

    def __init__(
        self,
        aggregates: tuple[Aggregate[Any], ...],
        log: Log,
        snapshots: SealedSnapshots,
        sealing: Sealing,
        clock: Clock,
        settings: Settings,
    ) -> None:
        self._versions = {aggregate.noun: aggregate.version for aggregate in aggregates}
        self._log = log
        self._snapshots = snapshots
        self._sealing = sealing
        self._clock = clock
        self._settings = settings
        self._known: OrderedDict[tuple[str, str], Loaded[Any]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._known)

    async def loaded(self, aggregate: Aggregate[Any], key: str, *, unheard: bool) -> Loaded[Any]:
        """The aggregate as the log tells it: from memory, from a snapshot, from the beginning."""
        known = self._known.get((aggregate.noun, key))
        if known is not None:
            self._known.move_to_end((aggregate.noun, key))
            return known
        if unheard:
            return Loaded(aggregate.initial)
        loaded = await self._snapshot(aggregate, key)
        commits = await self._read(aggregate.noun, key, max(0, loaded.seq - 1))
        if loaded.seq and not (commits and _continues(loaded, commits[0])):
            # The log that the snapshot was taken of is not this one, or has lost its end.
            loaded, commits = Loaded(aggregate.initial), await self._read(aggregate.noun, key)
        for commit in commits:
            self._clock.observe(commit.header.clock)
            if commit.seq > loaded.seq:
                fold(aggregate, loaded, commit)
        self._remember(aggregate.noun, key, loaded)
        return loaded

    async def behind(self, aggregate: Aggregate[Any], key: str, loaded: Loaded[Any]) -> bool:
        """Whether the log had news of the aggregate; *loaded* has caught up with it now."""
        news = await self._read(aggregate.noun, key, loaded.seq)
        for commit in news:
            self._clock.observe(commit.header.clock)
            fold(aggregate, loaded, commit)
        return bool(news)

    async def append(
        self, aggregate: Aggregate[Any], key: str, loaded: Loaded[Any], commit: Commit
    ) -> None:
        """*commit*, which this process has just stored, is what *loaded* ends with now."""
        if loaded.seq:
            fold(aggregate, loaded, commit)
            if loaded.since_snapshot >= self._settings.snapshot_every:
                await self._save(aggregate, key, loaded)
        else:  # Of most that are begun, as messages are, nothing is heard again.
            self._known.pop((aggregate.noun, key), None)

    async def refresh(self, aggregate: Aggregate[Any], key: str) -> None:
        """What is known of the aggregate, if anything is, is what the log has now."""
        known = self._known.get((aggregate.noun, key))
        if known is not None:
            await self.behind(aggregate, key, known)

    async def catch_up(self, aggregate: Aggregate[Any], key: str, loaded: Loaded[Any]) -> None:
        """An append has shown that *loaded* is behind: whoever asks next gets what is in the log.

        Read is what is new alone; all of it when there is nothing new, because then *loaded* is not
        of this log.
        """
        if not loaded.seq or not await self.behind(aggregate, key, loaded):
            self._known.pop((aggregate.noun, key), None)

    async def _snapshot(self, aggregate: Aggregate[Any], key: str) -> Loaded[Any]:
        """The aggregate as its snapshot has it; empty when there is none that can be used."""
        snapshot = await self._snapshots.load(aggregate.noun, key)
        if snapshot is None or snapshot.version != self._versions[aggregate.noun]:
            return Loaded(aggregate.initial)
        try:
            state = aggregate.states.validate_python(snapshot.state)
        except ValidationError as error:
            problem = error.errors(include_input=False)[0]["msg"]
            log.warning("snapshot_unusable", noun=aggregate.noun, id=key, reason=problem)
            return Loaded(aggregate.initial)
        return Loaded(state, snapshot.seq, dict(snapshot.applied))

    async def _read(self, noun: str, key: str, after: int = 0) -> list[Commit]:
        """The commits of an aggregate with all that they say.

        What is damaged is as good as erased to those who decide: they must be able to delete it.
        """
        commits = await self._log.read(noun, key, after)
        for nth, commit in enumerate(commits):
            with suppress(ContentDamaged):  # Told of when it was found, and wherever it is shown.
                commits[nth] = self._sealing.opened(commit)
        return commits

    def _remember(self, noun: str, key: str, loaded: Loaded[Any]) -> None:
        self._known[noun, key] = loaded
        while len(self._known) > self._settings.aggregates_cached_max:
            self._known.popitem(last=False)

    async def _save(self, aggregate: Aggregate[Any], key: str, loaded: Loaded[Any]) -> None:
        state = aggregate.states.dump_python(loaded.state, mode="json")
        version = self._versions[aggregate.noun]
        snapshot = Snapshot(version=version, seq=loaded.seq, state=state, applied=loaded.applied)

        async def latest() -> bool:
            return not await self._log.read(aggregate.noun, key, loaded.seq)

        await self._snapshots.save(aggregate.noun, key, snapshot, latest)
        loaded.since_snapshot = 0


def _continues(loaded: Loaded[Any], commit: Commit) -> bool:
    """Whether *commit* is the one that *loaded* ends with."""
    return loaded.applied.get(commit.header.cause) == commit.seq == loaded.seq


def fold(aggregate: Aggregate[Any], loaded: Loaded[Any], commit: Commit) -> None:
    """*loaded* stands after *commit* now, its next one."""
    for event in commit.events:
        loaded.state = aggregate.evolve(loaded.state, event, commit.header)
    loaded.seq = commit.seq
    loaded.applied[commit.header.cause] = commit.seq
    loaded.since_snapshot += 1

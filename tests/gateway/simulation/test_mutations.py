"""Each defence taken away once: some seed among a few must find it missing.

A simulator that finds nothing proves nothing. What is broken here is the product's own code, in
the way in which somebody might break it by a change that looks harmless.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest

from actors import reactor as reactors
from actors import recollection
from actors.host import Host
from actors.recollection import Loaded, Recollection
from bus import group_commit, jetstream
from bus.chain import Place, packed
from bus.clock import Clock, wall_ms
from bus.commands import Unavailable
from bus.group_commit import GroupCommit
from bus.jetstream import JetStreamLog
from bus.log import Conflict, Unacknowledged
from bus.marks import HighWater, Slots
from bus.sealing import Sealing
from bus.steady import Steady
from bus.vault import Vault
from gateway import expiry
from gateway.bench.simulation.disk import SimulatedStorage
from gateway.bench.simulation.simulate import simulate
from schemas.envelope import Answer, Event, Header, Request

SEEDS = 120
LAZY_SEEDS = 16
ALARM_S = 70.0
"""In which a node that was started again has looked at its log: for `nats_silence_s` it believes
that a leader may be about to catch up."""
Patch = pytest.MonkeyPatch


def no_guard(patch: Patch) -> None:
    """Appends do not say where they believe the aggregate to stand."""
    patch.setattr(group_commit, "GUARD", b"Not-Expected: %d\r\n")


def no_second_look(patch: Patch) -> None:
    """A conflict is an answer instead of a reason to read again."""
    appended = Host._appended

    async def stubborn(self: Host, *args: Any) -> Answer:
        try:
            return await appended(self, *args)
        except Conflict:
            return Answer(seq=args[1].seq, author=args[2].author)

    patch.setattr(Host, "_appended", stubborn)


def acknowledged_before_stored(patch: Patch) -> None:
    """A commit that got no answer in time counts as stored."""
    outcome = GroupCommit._outcome

    async def hopeful(self: GroupCommit, asked: Any) -> Any:
        found = await outcome(self, asked)
        return 1 if isinstance(found, Unacknowledged) else found

    patch.setattr(GroupCommit, "_outcome", hopeful)


def no_memory_of_commands(patch: Patch) -> None:
    """What a command did is not known by its id."""
    fold = recollection.fold

    def forgetful(aggregate: Any, loaded: Loaded[Any], commit: Any) -> None:
        fold(aggregate, loaded, commit)
        loaded.applied.clear()

    patch.setattr(recollection, "fold", forgetful)


def no_fingerprint(patch: Patch) -> None:
    """An id used again for another wish is answered as the first."""
    replayed = Host._replayed

    async def trusting(self: Host, request: Request, seq: int) -> Answer:
        return await replayed(self, _without_fingerprint(request), seq)

    patch.setattr(Host, "_replayed", trusting)


def _without_fingerprint(request: Request) -> Request:
    return Request(
        id=request.id,
        noun=request.noun,
        key=request.key,
        author=request.author,
        correlation=request.correlation,
        command=request.command,
    )


def stale_refusals(patch: Patch) -> None:
    """A refusal and a "so already" are answered from memory, without a look at the log."""

    async def never(*_: Any) -> bool:
        return False

    patch.setattr(Recollection, "behind", never)


def clock_not_observed(patch: Patch) -> None:
    """A process's clock does not learn from commits that others have made."""
    patch.setattr(Clock, "observe", lambda *_: None)


def gaps_in_pages(patch: Patch) -> None:
    """A page from which something got lost on the way is taken for whole."""
    patch.setattr(jetstream, "_whole", lambda *_: True)


def positions_miscounted(patch: Patch) -> None:
    """The members of an atomic batch are numbered from the wrong end."""
    placed = GroupCommit._placed

    async def reversed_batch(self: GroupCommit, batch: list[Any], asked: Any) -> Any:
        return await placed(self, batch[::-1], asked)

    patch.setattr(GroupCommit, "_placed", reversed_batch)


def effects_forgotten(patch: Patch) -> None:
    """A reactor acknowledges what it has not done when nobody answers."""
    send = reactors.send

    async def careless(*args: Any) -> None:
        try:
            await send(*args)
        except Unavailable:
            return

    patch.setattr(reactors, "send", careless)


def effects_with_fresh_ids(patch: Patch) -> None:
    """The command of a reactor has another id each time that it is sent."""
    names = iter(range(10**9))
    patch.setattr(reactors, "derived_id", lambda *_, **__: f"fresh{next(names)}")


def no_mark(patch: Patch) -> None:
    """What is acknowledged is known to the broker alone."""

    async def unmarked(*_: Any) -> None:
        """Nothing is written down."""

    patch.setattr(HighWater, "cover", unmarked)


def replays_not_marked(patch: Patch) -> None:
    """What somebody stored before they died is acknowledged by the next as it is found."""

    async def trusted(*_: Any) -> None:
        """Nothing is written down."""

    patch.setattr(JetStreamLog, "attest", trusted)


def one_record_for_a_mark(patch: Patch) -> None:
    """The record of a mark is overwritten instead of written beside the one before."""

    def begin(self: Slots, epoch: str, place: Place) -> None:
        self._storage.replace(self._name, packed(epoch, place))

    def put(self: Slots, record: bytes) -> None:
        self._storage.put(self._name, 0, record)

    patch.setattr(Slots, "begin", begin)
    patch.setattr(Slots, "put", put)


def in_clear(patch: Patch) -> None:
    """What is said in private goes into the log as it is."""

    async def as_it_is(_: Sealing, __: Header, events: tuple[Event, ...]) -> tuple[Event, ...]:
        return events

    patch.setattr(Sealing, "sealed", as_it_is)


def keys_not_kept(patch: Patch) -> None:
    """A private commit does not wait until its key is on the disk."""

    def lost(self: SimulatedStorage, name: str, data: bytes) -> None:
        self.put(name, self.size(name) if name in self.names() else 0, b"\0" * len(data))

    patch.setattr(SimulatedStorage, "append", lost)


def erasure_told_and_not_done(patch: Patch) -> None:
    """The log says that keys are destroyed, and they are not."""

    async def spared(*_: Any) -> None:
        """Nothing is destroyed."""

    patch.setattr(Vault, "destroy", spared)


def expired_by_the_wall(patch: Patch) -> None:
    """A wall clock that leaps ahead is believed."""
    patch.setattr(Steady, "now_ms", lambda _: wall_ms())


def started_by_the_wall(patch: Patch) -> None:
    """A process that begins does not hold its wall clock against the last commit."""
    begin = Steady.begin
    patch.setattr(Steady, "begin", lambda self, _: begin(self, 0))


def nobody_looks_for_what_has_expired(patch: Patch) -> None:
    """What has expired is hidden, and its keys stay."""

    async def overlooked(*_: Any) -> None:
        """Nothing is wished away."""

    patch.setattr(expiry, "_expired", overlooked)


MUTATIONS: Mapping[Callable[[Patch], None], tuple[str, ...]] = {
    no_guard: (),
    no_second_look: (),
    acknowledged_before_stored: ("frozen", "broker killed"),
    no_memory_of_commands: (),
    no_fingerprint: (),
    stale_refusals: ("doubled",),
    clock_not_observed: ("clock set",),
    gaps_in_pages: ("lossy",),
    positions_miscounted: ("slow",),
    effects_forgotten: ("lossy",),
    effects_with_fresh_ids: (),
    no_mark: (),
    replays_not_marked: ("killed at a point",),
    one_record_for_a_mark: ("killed at a point",),
    in_clear: (),
    keys_not_kept: (),
    erasure_told_and_not_done: (),
    expired_by_the_wall: ("clock set",),
    started_by_the_wall: ("clock lost",),
    nobody_looks_for_what_has_expired: (),
}
"""What is taken away → the faults that it was there for; all of them where none is named."""


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda one: one.__name__)
def test_a_defence_that_is_taken_away_is_missed(
    mutation: Callable[[Patch], None], monkeypatch: Patch
) -> None:
    mutation(monkeypatch)
    faults = MUTATIONS[mutation]
    found = next((seed for seed in range(SEEDS) if simulate(seed, only=faults).violations), None)

    assert found is not None


def test_a_broker_that_acknowledges_before_it_syncs_is_found_out() -> None:
    """The default of nats-server, on which Canopy refuses to run. What it loses is known from
    outside of the log: whenever somebody was acknowledged for nothing, the node sounds the alarm.
    """
    worlds = [
        simulate(seed, only=("power cut",), lazy=True, patience_s=ALARM_S)
        for seed in range(LAZY_SEEDS)
    ]
    told = [" ".join(one.violations) for one in worlds]
    losses = [one for one in told if "is lost" in one]

    assert losses
    assert all("log_damaged" in one for one in losses)

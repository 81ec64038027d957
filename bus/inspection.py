"""How a log is held against what is known of it outside: its marks and its ledger.

`inspected` is the short look of every start; `proved` reads as much as is wanted; `vouched` begins
anew with the log as it is (ADR 0015).
"""

from __future__ import annotations

import asyncio
from typing import NamedTuple, Protocol

from msgspec import Struct

from bus.alarm import Alarm, Broken, Fault
from bus.chain import GENESIS, Place, alone
from bus.connection import RETRY_S
from bus.ledger import EVERY, Ledger, Proof, chained
from bus.log import Log, Missing, Stored
from bus.marks import PREFIX, MarksDamaged, marks, path, storage
from bus.storage import Storage
from bus.topology import LogState
from schemas.settings import Settings


class Look(Protocol):
    """Asks the broker how the log is; a cluster may need a moment until it is *reaching* what was
    acknowledged."""

    async def __call__(self, reaching: int = 0) -> LogState: ...


async def inspected(log: Log, kept: Storage, look: Look, *, trust: bool = False) -> Fault | None:
    """What is wrong with the log as far as a short look tells: it has all that was acknowledged,
    and its end is what was written there. None when nothing is.

    Reads at most a thousand commits and one for each mark. Begins the ledger of a log of which
    nothing is known: of an empty one, and with *trust* of any.
    """
    try:
        known = await asyncio.to_thread(Known.load, kept)
        state = await look(known.highest)  # After the marks: they may be raised meanwhile.
        unheard = known.nothing and (known.ledger is None or known.ledger.epoch != log.epoch)
        if unheard and (trust or not state.last_seq):
            whole(state)
            await noted(log, kept, state.last_seq)
            return None
        ledger = known.borne_out(log.epoch, state)
        for place in known.places:
            (one,) = await read_on(log, place.seq - 1, place.seq)
            if alone(one) != place:
                text = "a commit is not what was acknowledged"
                raise Broken(Fault("commit_changed", place.seq, text))
        await proved(log, ledger, ledger.before(ledger.tip.seq - 1))
    except MarksDamaged as damaged:
        return Fault("marks_damaged", 1, str(damaged))
    except Missing as missing:
        return gone(missing)
    except Broken as broken:
        return broken.fault
    return None


class Known(Struct, frozen=True):
    """What lies in the directory of the marks: the `places` of all processes, the `epochs` of
    whatever was marked, and the ledger."""

    places: list[Place]
    epochs: set[str]
    ledger: Ledger | None

    @classmethod
    def load(cls, kept: Storage) -> Known:
        """All of it. Blocks. Raises `MarksDamaged`."""
        marked = [one for one in marks(kept).values() if one[1].seq]
        ledger = Ledger.load(kept)
        epochs = {epoch for epoch, _ in marked}
        if ledger is not None and ledger.tip.seq:
            epochs.add(ledger.epoch)
        return cls([place for _, place in marked], epochs, ledger)

    @property
    def nothing(self) -> bool:
        """Whether nothing is known of any commit."""
        return not self.epochs

    @property
    def highest(self) -> int:
        """The last position that is known to be acknowledged."""
        tip = [self.ledger.tip] if self.ledger is not None else []
        return max((place.seq for place in (*self.places, *tip)), default=0)

    def borne_out(self, epoch: str, state: LogState) -> Ledger:
        """The ledger, when a log of *epoch* in *state* has all that is known. Raises `Broken`."""
        if self.ledger is None or (self.nothing and state.last_seq and self.ledger.epoch != epoch):
            text = "nothing beside the log says what it should hold"
            raise Broken(Fault("marks_absent", 1, text))
        if self.epochs - {epoch}:
            raise Broken(Fault("log_foreign", 1, "this is not the log that was written here"))
        reaches(state, self.highest)
        whole(state)
        return self.ledger


class End(NamedTuple):
    """Where a log ends, and where it must end at least: what had been acknowledged before."""

    head: int
    acknowledged: int

    def fault(self) -> Fault | None:
        """The tail that is lost, if one is."""
        if self.head >= self.acknowledged:
            return None
        text = f"the log ends at {self.head}, and {self.acknowledged} was acknowledged"
        return Fault("tail_lost", self.head + 1, text)


async def end_of(log: Log, settings: Settings) -> End:
    """Where the log ends. In a cluster, a leader that was elected a moment ago may be about to
    catch up with what was acknowledged: after `nats_silence_s` it is believed as it is.

    Marks that cannot be read say nothing here: whoever writes has sounded the alarm.
    """
    acknowledged = await asyncio.to_thread(_acknowledged, settings, log.epoch)
    time = asyncio.get_running_loop().time
    until_s = time() + settings.nats_silence_s
    while True:
        end = End(await log.head(), acknowledged)
        if not settings.nats_url or end.fault() is None or time() > until_s:
            return end
        await asyncio.sleep(RETRY_S)


def _acknowledged(settings: Settings, epoch: str) -> int:
    if not path(settings).exists():
        return 0
    kept = storage(settings)
    try:
        known = Known.load(kept)
    except MarksDamaged:
        return 0
    finally:
        kept.close()
    return known.highest if known.epochs == {epoch} else 0


def standing(settings: Settings) -> Fault | None:
    """What the alarm of this data directory is about; None while there is none. Blocks."""
    if not path(settings).exists():
        return None
    alarm = Alarm(storage(settings))
    try:
        return alarm.standing()
    finally:
        alarm.close()


def whole(state: LogState) -> None:
    """Raises `Broken` when the broker knows itself that it has lost something."""
    if state.missing:
        text = "the broker says that it has lost something"
        raise Broken(Fault("commit_missing", state.missing, text))


def reaches(state: LogState, seq: int) -> None:
    """Raises `Broken` when the log ends before *seq*."""
    if state.last_seq < seq:
        text = f"the log ends at {state.last_seq}, and {seq} was acknowledged"
        first = min(state.missing or state.last_seq + 1, state.last_seq + 1)
        raise Broken(Fault("tail_lost", first, text))


def gone(missing: Missing) -> Fault:
    """The fault that a missing commit is."""
    return Fault("commit_missing", missing.seq, "a commit is missing from the log")


async def read_on(log: Log, after: int, until: int, most: int = EVERY) -> list[Stored]:
    """What follows *after*, from the broker itself, without a gap: at most so many commits, and
    none beyond *until*. Raises `Missing`."""
    page = await log.page(after, min(most, until - after))
    for seq, one in enumerate(page, after + 1):
        if one.seq != seq:
            raise Missing(seq)
    if not page:
        raise Missing(after + 1)
    return page


async def proved(log: Log, ledger: Ledger, start: Place = GENESIS) -> Proof:
    """The log is what the ledger says, from *start* to the tip. Raises `Broken` or `Missing`."""
    proof = Proof(ledger, start)
    while proof.place.seq < ledger.tip.seq:
        proof.hear(await read_on(log, proof.place.seq, ledger.tip.seq))
        await asyncio.sleep(0)
    return proof


async def noted(log: Log, kept: Storage, until: int) -> Ledger:
    """A new ledger of the log as it is, up to *until*, in the place of any other: whoever calls
    this vouches for it. Raises `Missing`."""
    place, records = GENESIS, list[Place]()
    while place.seq < until:
        places = list(chained(place, await read_on(log, place.seq, until)))
        records += [one for one in places if one.seq % EVERY == 0]
        place = places[-1]
        await asyncio.sleep(0)
    ledger = await asyncio.to_thread(Ledger.begin, kept, log.epoch)
    await asyncio.to_thread(ledger.keep, records, place)
    return ledger


async def vouched(log: Log, kept: Storage, until: int) -> None:
    """What is known of the log is what it is now, up to *until*, and the alarm is lifted.

    Raises `Missing` when it has gaps: then nothing has changed. Cut short, it can be done again.
    """
    await noted(log, kept, until)
    for name in await asyncio.to_thread(kept.names):
        if name.startswith(PREFIX):
            await asyncio.to_thread(kept.remove, name)
    await asyncio.to_thread(Alarm(kept).lift)

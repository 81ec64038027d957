"""The notary: hashes the log as it grows, and reads all of it again and again against the ledger.

One per data directory, in the process that runs the broker. What it finds wrong sounds the alarm
(`bus.alarm`); while one stands, it proves the log from end to end, and lifts it if that holds. Read
`bus.inspection` first: how a log is held against its marks.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import msgspec
import structlog
from msgspec import Struct

from bus.alarm import LASTING, Alarm, Broken, Fault
from bus.chain import GENESIS, Place
from bus.clock import wall_ms
from bus.inspection import Look, gone, inspected, proved, reaches, read_on, whole
from bus.ledger import EVERY, Ledger, Proof, chained
from bus.log import Leaderless, Log, Missing
from bus.marks import TIP, MarksDamaged, Slots, path, storage
from bus.storage import Storage
from schemas.settings import Settings

HOLD = "notary"
SCRUB = "scrub"
AGAIN_S = 1.0
REST_S = 0.1
"""From one page to the next while commits pour in: what was written is hashed a little later, in
larger pages, and whoever waits for an answer need not wait for that."""
SAID_S = 10.0
SCRUBBED_MOST = 100
"""Commits read again at a time: a millisecond or two, in which nobody else is answered."""
"""Between two notes of how far the scrubber is."""
Result = TypeVar("Result")

journal = structlog.get_logger()


class Scrub(Struct, frozen=True):
    """How far the log has been read again: `seq` in this pass, `passes` are complete, the last of
    them at `ended_ms` (milliseconds since 1970)."""

    epoch: str
    seq: int = 0
    passes: int = 0
    ended_ms: int = 0


class Attested(Struct, frozen=True):
    """What is known of the log without reading it: the alarm, and how far it is hashed."""

    fault: Fault | None
    seq: int
    scrub: Scrub


class Notary:
    """The room: `run` it in one process of a data directory; more of them wait for their turn."""

    def __init__(self, log: Log, settings: Settings, look: Look) -> None:
        self._log = log
        self._settings = settings
        self._ask = look
        self._kept = storage(settings)
        self._alarm = Alarm(self._kept)
        self._worker = ThreadPoolExecutor(1, "notary")
        self._fresh: list[Place] = []
        self._place = GENESIS

    async def run(self) -> None:
        """Attest the log, for ever; whatever is wrong with it sounds the alarm."""
        try:
            while not await self._off_loop(self._kept.hold, HOLD):  # noqa: ASYNC110 - a file's lock
                await asyncio.sleep(AGAIN_S)
            await self._off_loop(self._alarm.sound, await self._wrong())
            await asyncio.get_running_loop().create_future()  # Nothing more is attested.
        finally:
            self._worker.shutdown(wait=True)
            self._kept.close()

    async def _wrong(self) -> Fault:
        """Attests the log until something is wrong: what."""
        while True:
            try:
                return await self._proved_again() or await self._attended()
            except MarksDamaged as damaged:
                return Fault("marks_damaged", 1, str(damaged))
            except Broken as broken:
                return broken.fault
            except Leaderless:  # Nobody knows at this moment; what was hashed is hashed again.
                await asyncio.sleep(AGAIN_S)

    async def _proved_again(self) -> Fault | None:
        """The fault that the alarm stands for, unless the whole log can be proved all the same."""
        standing = await self._off_loop(self._alarm.standing)
        if standing is None or standing.kind in LASTING:
            return standing
        fault = await inspected(self._log, self._kept, self._ask)
        if fault is None:
            ledger = await self._loaded()
            try:
                await proved(self._log, ledger)
            except Missing as missing:
                fault = gone(missing)
            except Broken as broken:
                fault = broken.fault
        if fault is None:
            await self._off_loop(self._alarm.lift)
        return fault

    async def _loaded(self) -> Ledger:
        """The ledger. Raises `Broken` or `MarksDamaged` when somebody has touched it just now."""
        ledger = await self._off_loop(Ledger.load, self._kept)
        if ledger is None:
            raise Broken(Fault("marks_absent", 1, "the ledger has been removed"))
        return ledger

    async def _attended(self) -> Fault:
        """Attests what comes and reads again what was, until something is wrong: what."""
        ledger = await self._loaded()
        self._place, self._fresh = ledger.tip, []
        found: list[Fault] = []
        try:
            async with asyncio.TaskGroup() as group:
                for duty in (self._follow, self._keep, self._scrub, self._look):
                    group.create_task(duty(ledger))
        except* Missing as faults:
            found += [gone(one) for one in faults.exceptions if isinstance(one, Missing)]
        except* Broken as faults:
            found += [one.fault for one in faults.exceptions if isinstance(one, Broken)]
        except* Leaderless:
            pass  # Told below, unless something is wrong as well.
        if not found:
            raise Leaderless("the log has no leader")
        return found[0]

    async def _follow(self, ledger: Ledger) -> None:
        """Hash what comes."""
        async for page in self._log.tail(ledger.tip.seq):
            for place in chained(self._place, page):
                self._place = place
                if place.seq % EVERY == 0:
                    self._fresh.append(place)
            await asyncio.sleep(REST_S)

    async def _keep(self, ledger: Ledger) -> None:
        """Write down what has been hashed, every moment.

        What is written was seen a moment ago: by now the broker has synced it, or has lost it. What
        was seen last when this ends is hashed again at the next start.
        """
        seen = (0, self._place)
        while True:
            await asyncio.sleep(self._settings.tip_every_s)
            (count, place), seen = seen, (len(self._fresh), self._place)
            if await self._off_loop(_kept, ledger, tuple(self._fresh[:count]), place):
                del self._fresh[:count]
                seen = (seen[0] - count, seen[1])

    async def _look(self, ledger: Ledger) -> None:
        """Ask the broker whether it knows of a loss."""
        while True:
            tip = ledger.tip
            state = await self._ask(tip.seq)
            reaches(state, tip.seq)
            whole(state)
            await asyncio.sleep(self._settings.nats_health_every_s)

    async def _scrub(self, ledger: Ledger) -> None:
        """Read the whole log against the ledger, again and again, at the share of a processor that
        the settings allow."""
        scrub = await self._off_loop(scrubbed, self._kept, ledger.epoch)
        while True:
            if scrub.seq == 0:
                rest_s = scrub.ended_ms / 1000 + self._settings.scrub_every_s - wall_ms() / 1000
                await asyncio.sleep(min(max(rest_s, 0.0), self._settings.scrub_every_s))
            scrub = await self._scrubbed_once(ledger, scrub)

    async def _scrubbed_once(self, ledger: Ledger, scrub: Scrub) -> Scrub:
        proof, until = Proof(ledger, ledger.before(scrub.seq)), ledger.tip.seq
        idle = 1 / self._settings.scrub_share - 1
        time = asyncio.get_running_loop().time
        said_s = time()
        while proof.place.seq < until:
            began_s = time()
            proof.hear(await read_on(self._log, proof.place.seq, until, SCRUBBED_MOST))
            if proof.healed:
                await self._off_loop(ledger.heal, proof.healed)
                proof.healed = []
            now_s = time()
            if now_s - said_s > SAID_S:
                said_s = now_s
                scrub = msgspec.structs.replace(scrub, seq=proof.place.seq)
                await self._off_loop(self._said, scrub)
            await asyncio.sleep((now_s - began_s) * idle)
        scrub = Scrub(ledger.epoch, 0, scrub.passes + 1, wall_ms())
        await self._off_loop(self._said, scrub)
        return scrub

    def _said(self, scrub: Scrub) -> None:
        try:
            self._kept.replace(SCRUB, msgspec.json.encode(scrub))
        except OSError as error:  # It only tells where to go on: from the beginning, if need be.
            journal.warning("scrub_unwritten", reason=str(error), remedy="tried again later")

    async def _off_loop(self, work: Callable[..., Result], *args: object) -> Result:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._worker, work, *args)


def _kept(ledger: Ledger, fresh: Sequence[Place], place: Place) -> bool:
    """Whether *fresh* records and the tip are written down."""
    try:
        ledger.keep(fresh, place)
    except OSError as error:  # A full disk passes; meanwhile it is all still known here.
        journal.warning("tip_unwritten", reason=str(error), remedy="tried again in a moment")
        return False
    return True


def scrubbed(kept: Storage, epoch: str) -> Scrub:
    """How far the log of *epoch* has been read again; from the beginning when nobody knows."""
    try:
        scrub = msgspec.json.decode(kept.read(SCRUB), type=Scrub)
    except (FileNotFoundError, msgspec.MsgspecError, UnicodeDecodeError):
        return Scrub(epoch)
    return scrub if scrub.epoch == epoch else Scrub(epoch)


def kept_ledger(settings: Settings, epoch: str) -> Ledger | None:
    """What is kept of the log of *epoch*, to be read; None when nothing is. Blocks.

    Raises `MarksDamaged`.
    """
    if not path(settings).exists():
        return None
    kept = storage(settings)
    try:
        ledger = Ledger.load(kept)
    finally:
        kept.close()
    return ledger if ledger is not None and ledger.epoch == epoch else None


def attested(settings: Settings, epoch: str = "") -> Attested:
    """What is known of the log in this data directory, of that of *epoch* if told. Blocks."""
    kept = storage(settings)
    try:
        fault, found = Alarm(kept).standing(), None
        try:
            found = Slots(kept, TIP).read()
        except MarksDamaged as damaged:
            fault = fault or Fault("marks_damaged", 1, str(damaged))
        tip = found[1].seq if found else 0
        return Attested(fault, tip, scrubbed(kept, epoch))
    finally:
        kept.close()

"""How a process comes to its mark, and what keeps it from writing (`bus.marks`, ADR 0015)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from bus.alarm import Alarm, Broken, Fault
from bus.connection import RETRY_S
from bus.inspection import Known, Look
from bus.jetstream import JetStreamLog
from bus.leading import led
from bus.log import REMEDY, Leaderless
from bus.marks import Mark, MarksDamaged, Unmarkable, high_water, highest, storage
from bus.storage import Storage
from bus.topology import LogState, Unfit, state_of
from bus.wire import BrokerLost, Wire
from schemas.settings import Settings


@asynccontextmanager
async def marked(settings: Settings, epoch: str, wire: Wire) -> AsyncIterator[tuple[Mark, str]]:
    """The mark of a writing process, and why nothing may be written, if nothing may: a broker that
    was started again may have less than it had acknowledged."""
    kept = await asyncio.to_thread(storage, settings)
    alarm, mark = Alarm(kept), None
    try:
        fault = await asyncio.to_thread(alarm.standing)
        try:
            known = await _prepared(kept, settings)
            mark = await asyncio.to_thread(high_water, kept, epoch)
            if fault is None:
                known.borne_out(epoch, await _state(wire, settings, known.highest))
        except MarksDamaged as damaged:
            fault = fault or Fault("marks_damaged", 1, str(damaged))
        except Broken as broken:
            fault = fault or broken.fault
        if fault is not None:
            await asyncio.to_thread(alarm.sound, fault)
        yield mark or Unmarkable(), fault.words if fault else ""
    finally:
        if mark is not None:
            await asyncio.to_thread(mark.close)
        kept.close()


async def _prepared(kept: Storage, settings: Settings) -> Known:
    """What is known of the log, once whoever prepares the broker has begun its ledger.

    Raises `bus.wire.BrokerLost` when that does not happen in `nats_silence_s`.
    """
    try:
        async with asyncio.timeout(settings.nats_silence_s):
            while True:
                known = await asyncio.to_thread(Known.load, kept)
                standing = await asyncio.to_thread(Alarm(kept).standing)
                if known.ledger is not None or standing is not None:
                    return known
                await asyncio.sleep(RETRY_S)
    except TimeoutError as error:
        raise BrokerLost(f"nobody has prepared {settings.data_directory}") from error


async def _state(wire: Wire, settings: Settings, reaching: int) -> LogState:
    """The state of the log, once it has a leader, who is given `nats_silence_s` to catch up. Raises
    `bus.wire.BrokerLost` when there is none for twice as long."""
    try:
        async with asyncio.timeout(2 * settings.nats_silence_s):
            while True:
                try:
                    return await look(wire, settings)(reaching)
                except Leaderless:
                    await asyncio.sleep(RETRY_S)
    except TimeoutError as error:
        raise BrokerLost("the log has had no leader for too long") from error


async def never_begun(kept: Storage) -> None:
    """Returns when there has never been a log here. Raises `Unfit` when there was one."""
    try:
        reached = await asyncio.to_thread(highest, kept)
    except MarksDamaged as damaged:
        raise Unfit("log_lost", f"the broker has no log, and {damaged}: {REMEDY}") from damaged
    if reached:
        raise Unfit(
            "log_lost",
            f"the broker has no log any more, and {reached} commits were acknowledged: {REMEDY}; "
            "its files are left as they are",
        )


def look(wire: Wire, settings: Settings) -> Look:
    """How the broker is asked for the state of the log.

    In a cluster the answer is that of a leader whom a majority follows, and who has caught up with
    what is known to be acknowledged: one that was elected a moment ago may be about to. After
    `nats_silence_s` it is believed as it is.
    """

    async def state(reaching: int = 0) -> LogState:
        time = asyncio.get_running_loop().time
        until_s = time() + settings.nats_silence_s
        while True:
            try:
                info = await JetStreamLog.info(wire, settings)
            except TimeoutError as error:
                if settings.nats_url:  # Whoever should lead has gone, and nobody knows yet.
                    raise Leaderless("the log has no leader that answers") from error
                raise
            found = state_of(info)
            settled = led(info) and found.last_seq >= reaching
            if not settings.nats_url or settled or time() > until_s:
                return found
            await asyncio.sleep(RETRY_S)

    return state

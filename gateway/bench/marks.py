"""What it costs that the log proves itself: marks before acknowledgements, the look at a start, and
the notary's endless reading.

The writer of the log runs against one real broker, with marks and without, round by round. The
second half needs the long log that other measures use too.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil

from bus.attachment import attached, notarize, prepared
from bus.clock import new_id
from bus.connection import wired
from bus.holding import hold
from bus.identity_file import identify
from bus.inspection import proved
from bus.jetstream import JetStreamLog
from bus.ledger import Ledger
from bus.log import Log
from bus.marks import high_water, storage
from bus.notary import attested
from bus.server import Broker, broker
from bus.telemetry import Telemetry
from gateway.bench.report import Figure, Report, middle, quantile
from gateway.bench.seed import EVENTS, seeded
from schemas.envelope import Header
from schemas.message import MessagePosted
from schemas.settings import Settings

CROWD = 256
"""Appends that wait at once: as many as the bar names."""
TEXT = "What is said is kept, and can be heard by everybody. " * 6
WATCHED_S = 20.0
HASHED_S = 120.0


async def marks(
    directory: Path, log: Path, rounds: int = 3, seconds: float = 5.0, events: int = EVENTS
) -> Report:
    """Appends a second with marks and without, and their ratio; the seconds that a start looks at
    the long log; how fast all of it is proved, and the processor that the scrubber takes."""
    measured = await _compared(directory / "data", rounds, seconds)
    await seeded(log, events)
    long = await _long(log)
    figures = (
        Figure(f"{CROWD} at once, marked", middle(measured, "marked_rate"), "/s"),
        Figure(f"{CROWD} at once, unmarked", middle(measured, "bare_rate"), "/s"),
        Figure("marked ÷ unmarked", middle(measured, "ratio"), "×", 0.85, rising=True),
        Figure("p50 alone, marked", middle(measured, "marked_alone_ms"), "ms"),
        Figure("p50 alone, unmarked", middle(measured, "bare_alone_ms"), "ms"),
        Figure(f"look at {long['seq']:,} commits at a start", long["look_s"], "s", 2.0),
        Figure("proved", long["proved_rate"], "commits/s", 40_000.0, rising=True),
        Figure("processor taken by the scrubber", long["share"], "", 0.05),
    )
    conditions = f"the node's own writer, median of {rounds} interleaved rounds of {seconds:g} s"
    return Report("marks", conditions, figures, tuple(measured))


async def _compared(data: Path, rounds: int, seconds: float) -> list[dict[str, Any]]:
    """Rounds of appends, one after the other, to one log by two writers."""
    settings = Settings(data_directory=data)
    identify(data)
    async with broker(settings) as running:
        await prepared(running.endpoint, settings, ())
        async with wired(running.endpoint, "actors", settings) as wire:
            mark = high_water(storage(settings), epoch := "0" * 16)
            writers = {
                "bare": JetStreamLog(wire, settings, epoch),
                "marked": JetStreamLog(wire, settings, epoch, mark),
            }
            flushing = [asyncio.create_task(log.flush()) for log in writers.values()]
            found = [await _round(writers, seconds) for _ in range(rounds)]
            for one in flushing:
                one.cancel()
            await asyncio.gather(*flushing, return_exceptions=True)
            mark.close()
    return found


async def _round(writers: dict[str, JetStreamLog], seconds: float) -> dict[str, Any]:
    told: dict[str, Any] = {}
    for name, log in writers.items():
        took_s = await _appended(log, CROWD, seconds)
        told[f"{name}_rate"] = len(took_s) / seconds
        took_s = await _appended(log, 1, seconds / 5)
        told[f"{name}_alone_ms"] = quantile(sorted(took_s), 0.5) * 1000
    return told | {"ratio": told["marked_rate"] / told["bare_rate"]}


async def _appended(log: Log, crowd: int, seconds: float) -> list[float]:
    """How long each append took, of a crowd that appends all the time."""
    until, took_s = time.perf_counter() + seconds, list[float]()

    async def one() -> None:
        while (began := time.perf_counter()) < until:
            cause = new_id()
            header = Header(
                id=new_id(), noun="message", key=f"general.{new_id('M')}", author="ann",
                origin="n1", clock="0" * 16, cause=cause, correlation=cause,
            )  # fmt: skip
            await log.append(header, [MessagePosted(content=TEXT)], 0)
            took_s.append(time.perf_counter() - began)

    await asyncio.gather(*(one() for _ in range(crowd)))
    return took_s


async def _long(directory: Path) -> dict[str, Any]:
    """The figures of a long log of which everything is hashed."""
    settings = Settings(data_directory=directory)
    with hold(directory, datetime.now(UTC).isoformat()):
        async with _attended(settings) as _:
            pass
        async with broker(settings) as running:
            began = time.perf_counter()
            await prepared(running.endpoint, settings, ())
            look_s = time.perf_counter() - began
            seq, rate = await _proved(running, settings)
        restless = settings.model_copy(update={"scrub_every_s": 0.0})
        async with _attended(restless) as running:
            share = await _share(running)
    return {"seq": seq, "look_s": look_s, "proved_rate": rate, "share": share}


@asynccontextmanager
async def _attended(settings: Settings) -> AsyncIterator[Broker]:
    """A broker whose log is attested, and hashed up to its end."""
    async with broker(settings) as running:
        await prepared(running.endpoint, settings, ())
        identity = identify(settings.data_directory)
        async with attached(running.endpoint, "notary", identity, settings, Telemetry()) as bus:
            notary = asyncio.create_task(notarize(bus))
            head = await bus.log.head()
            async with asyncio.timeout(HASHED_S):
                while attested(settings).seq < head:  # noqa: ASYNC110 - in a file
                    await asyncio.sleep(0.1)
            yield running
            notary.cancel()
            await asyncio.gather(notary, return_exceptions=True)


async def _proved(running: Broker, settings: Settings) -> tuple[int, float]:
    """The last position of the log, and how many commits a second are proved."""
    kept = storage(settings)
    ledger = Ledger.load(kept)
    kept.close()
    if ledger is None or not ledger.tip.seq:
        return 0, 0.0
    async with wired(running.endpoint, "notary", settings) as wire:
        began = time.perf_counter()
        await proved(JetStreamLog(wire, settings, ledger.epoch), ledger)
    return ledger.tip.seq, ledger.tip.seq / (time.perf_counter() - began)


async def _share(running: Broker) -> float:
    """How much of a processor this process and the broker take while the log is read again."""
    processes = (psutil.Process(), psutil.Process(running.pid))
    before = sum(sum(one.cpu_times()[:2]) for one in processes)
    await asyncio.sleep(WATCHED_S)
    return float(sum(sum(one.cpu_times()[:2]) for one in processes) - before) / WATCHED_S

"""Damage of every kind to a log that lies still; then see whether the node notices.

A small log is written once, and stopped in three ways: cleanly, by kill -9, and by kill -9 before
the broker had ever written its index. Each round takes a
copy of it, damages one file in it at random, starts the broker on it and lets the notary look. What
was damaged must be reported, or have changed nothing: every commit is there, and what it was. And
whatever can be read must be what was written.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from random import Random

from bus.alarm import Alarm
from bus.attachment import attached, notarize, prepared
from bus.clock import new_id
from bus.connection import wired
from bus.identity_file import identify
from bus.jetstream import JetStreamLog
from bus.log import Stored
from bus.marks import storage
from bus.notary import attested
from bus.roles import Endpoint
from bus.server import BrokerUnusable, broker
from bus.telemetry import Telemetry
from bus.topology import TopologyRefused, Unfit
from bus.wire import BrokerLost
from gateway.bench.report import Figure, Report
from schemas.envelope import Header
from schemas.message import MessagePosted
from schemas.settings import Settings

LOG_BYTES_MAX = 120_000
"""So small that the broker makes blocks of 32 kB: a few of them for a few hundred commits."""
COMMITS = 130
OLDER = 80
"""How many of them an older copy of the log has."""
ROUND_S = 20.0
EVT = Path("nats/jetstream/CANOPY/streams/EVT")
BLOCKS = EVT / "msgs"

Damage = Callable[[Path, Path, Random], str]
"""Does something to the data directory, given an older copy of it: says what it was."""


@dataclass(frozen=True, slots=True)
class Logs:
    """The log as it was written, and its data directory as it was left."""

    said: Mapping[int, Stored]
    older: Path
    left: tuple[Path, ...]
    """Stopped, killed, and killed without an index."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What came of one round: what was reported, and what could be read."""

    reported: str
    read: Mapping[int, Stored]


def settings(directory: Path) -> Settings:
    """Those of the node that is damaged: its notary reads the whole log at once, without a rest."""
    return Settings(
        data_directory=directory,
        log_bytes_max=LOG_BYTES_MAX,
        tip_every_s=0.05,
        scrub_share=1.0,
        scrub_every_s=0.0,
        nats_silence_s=5.0,
    )


async def written(directory: Path) -> Logs:
    """A log of `COMMITS` commits, and what was left of it at three moments."""
    data, copies = directory / "data", directory / "copies"
    copies.mkdir(parents=True)
    said: dict[int, Stored] = {}
    await _filled(data, OLDER, said)
    shutil.copytree(data, copies / "older")
    await _filled(data, COMMITS - OLDER, said)
    shutil.copytree(data, copies / "stopped")
    await _filled(data, 0, said, dead=copies / "killed")
    shutil.copytree(copies / "killed", copies / "unindexed")
    (copies / "unindexed" / BLOCKS / "index.db").unlink()
    left = tuple(copies / name for name in ("stopped", "killed", "unindexed"))
    return Logs(said, copies / "older", left)


async def _filled(
    data: Path, count: int, said: dict[int, Stored], dead: Path | None = None
) -> None:
    """*count* more commits, all of them hashed; the broker stops, or leaves *dead* when killed."""
    knobs = settings(data)
    identify(data)
    async with broker(knobs) as running, _bus(running.endpoint, knobs) as log:
        await _appended(log, count)
        said |= await read(log)
        if dead is not None:
            os.kill(running.pid, signal.SIGKILL)
            await running.stop(ROUND_S)
            shutil.copytree(data, dead, ignore=shutil.ignore_patterns(".*"))  # Drafts come and go.


@asynccontextmanager
async def _bus(endpoint: Endpoint, knobs: Settings) -> AsyncIterator[JetStreamLog]:
    """The log of a node that writes and is attested, until all of it is hashed."""
    await prepared(endpoint, knobs, ())
    identity = identify(knobs.data_directory)
    async with attached(endpoint, "actors", identity, knobs, Telemetry()) as bus:
        rooms = [asyncio.create_task(bus.log.flush()), asyncio.create_task(notarize(bus))]
        try:
            yield bus.log
            with suppress(BrokerLost):
                head = await bus.log.head()
                async with asyncio.timeout(ROUND_S):
                    while attested(knobs).seq < head:  # noqa: ASYNC110 - in a file
                        await asyncio.sleep(0.01)
        finally:
            for room in rooms:
                room.cancel()
            await asyncio.gather(*rooms, return_exceptions=True)


async def _appended(log: JetStreamLog, count: int) -> None:
    for nth in range(count):
        key, cause = f"general.{new_id('M')}", new_id()
        header = Header(
            id=new_id(), noun="message", key=key, author="ann", origin="n1",
            clock=f"{nth:016x}", cause=cause, correlation=cause,
        )  # fmt: skip
        await log.append(header, [MessagePosted(content=f"{nth} " * 10)], 0)


async def read(log: JetStreamLog) -> dict[int, Stored]:
    """Whatever can be read of the log, gaps passed over."""
    found: dict[int, Stored] = {}
    after = 0
    while page := await log.page(after, 1000):
        found |= {one.seq: one for one in page}
        after = page[-1].seq
    return found


async def looked(directory: Path) -> Seen:
    """What a node makes of the log in *directory*: its alarm once the log has been read as a whole,
    or why it does not start."""
    knobs = settings(directory)
    try:
        async with asyncio.timeout(ROUND_S), broker(knobs) as running:
            await prepared(running.endpoint, knobs, ())
            async with wired(running.endpoint, "notary", knobs) as wire:
                readable = await read(JetStreamLog(wire, knobs, ""))
            return Seen(await _attested(running.endpoint, knobs), readable)
    except (Unfit, TopologyRefused, BrokerUnusable, BrokerLost) as refusal:
        return Seen(f"refused: {refusal}", {})


async def _attested(endpoint: Endpoint, knobs: Settings) -> str:
    """What the alarm says after one pass of the scrubber; empty when there is none."""
    identity = identify(knobs.data_directory)
    before = attested(knobs).scrub.passes
    async with attached(endpoint, "notary", identity, knobs, Telemetry()) as bus:
        notary = asyncio.create_task(notarize(bus))
        try:
            while (known := attested(knobs, bus.log.epoch)).scrub.passes <= before:
                if known.fault is not None:
                    return known.fault.kind
                if notary.done():
                    notary.result()
                await asyncio.sleep(0.005)
        finally:
            notary.cancel()
            await asyncio.gather(notary, return_exceptions=True)
    kept = storage(knobs)
    fault = Alarm(kept).standing()
    kept.close()
    return fault.kind if fault else ""


def flipped(directory: Path, _older: Path, chance: Random) -> str:
    """One bit, anywhere in the log or in its marks."""
    path = _some(directory, chance)
    data = bytearray(path.read_bytes())
    bit = chance.randrange(len(data) * 8)
    data[bit // 8] ^= 1 << bit % 8
    path.write_bytes(data)
    return f"bit {bit} of {path.relative_to(directory)} flipped"


def truncated(directory: Path, _older: Path, chance: Random) -> str:
    """Some bytes at the end of a file."""
    path = _some(directory, chance)
    size = chance.randrange(path.stat().st_size)
    os.truncate(path, size)
    return f"{path.relative_to(directory)} cut at {size}"


def zeroed(directory: Path, _older: Path, chance: Random) -> str:
    """Up to 4 KiB of nothing in a file."""
    path = _some(directory, chance)
    data = bytearray(path.read_bytes())
    start = chance.randrange(len(data))
    data[start : start + 4096] = bytes(len(data[start : start + 4096]))
    path.write_bytes(data)
    return f"{path.relative_to(directory)} zeroed from {start}"


def deleted(directory: Path, _older: Path, chance: Random) -> str:
    """A file."""
    path = _some(directory, chance)
    path.unlink()
    return f"{path.relative_to(directory)} deleted"


def swapped(directory: Path, _older: Path, chance: Random) -> str:
    """Two blocks in each other's place."""
    one, other = chance.sample(sorted((directory / BLOCKS).glob("*.blk")), 2)
    aside = one.with_suffix(".aside")
    one.rename(aside)
    other.rename(one)
    aside.rename(other)
    return f"{one.name} and {other.name} swapped"


def outdated(directory: Path, older: Path, chance: Random) -> str:
    """A block as it was some time ago; now and then the whole log."""
    blocks = sorted((older / BLOCKS).glob("*.blk"))
    if chance.random() < 0.25:
        shutil.rmtree(directory / "nats/jetstream")
        shutil.copytree(older / "nats/jetstream", directory / "nats/jetstream")
        return "the log as it was before"
    block = chance.choice(blocks)
    shutil.copyfile(block, directory / BLOCKS / block.name)
    return f"{block.name} as it was before"


DAMAGES: tuple[Damage, ...] = (
    flipped,
    flipped,
    flipped,
    truncated,
    zeroed,
    deleted,
    swapped,
    outdated,
)


def _some(directory: Path, chance: Random) -> Path:
    """A file of the log or of its marks; three times of four one that holds commits."""
    blocks = sorted((directory / BLOCKS).glob("*.blk"))
    if chance.random() < 0.75:
        return chance.choice([path for path in blocks if path.stat().st_size])
    others = sorted(
        path
        for place in (EVT, Path("marks"))
        for path in (directory / place).rglob("*")
        if path.is_file() and path.stat().st_size and path.suffix != ".blk"
    )
    return chance.choice(others)


async def flips(directory: Path, count: int = 1000, seed: int = 1) -> Report:
    """*count* damages; how many were reported, how many had changed nothing, and how many of the
    others were not noticed, or were served."""
    logs = await written(directory / "log")
    outcomes: Counter[str] = Counter()
    rounds = []
    wrong_bytes = 0
    for nth in range(count):
        chance = Random(f"{seed}.{nth}")
        base = chance.choice(logs.left)
        place = directory / "round"
        shutil.copytree(base, place)
        done = chance.choice(DAMAGES)(place, logs.older, chance)
        seen = await looked(place)
        shutil.rmtree(place)
        verdict, wrong = judged(seen, logs.said)
        outcomes[verdict] += 1
        wrong_bytes += wrong
        if verdict == "unnoticed" or wrong:
            rounds.append({"round": nth, "base": base.name, "damage": done, "wrong": wrong})
    changed = outcomes["reported"] + outcomes["unnoticed"]
    share = 100 * outcomes["reported"] / max(changed, 1)
    figures = (
        Figure("reported, of what was changed", share, "%", 100.0, rising=True),
        Figure("reported", outcomes["reported"], "damages"),
        Figure("had changed nothing", outcomes["harmless"], "damages"),
        Figure("unnoticed", outcomes["unnoticed"], "damages", 0.0),
        Figure("wrong commits served", wrong_bytes, "commits", 0.0),
    )
    return Report("flips", f"{count} damages to a log at rest, seed {seed}", figures, tuple(rounds))


def judged(seen: Seen, said: Mapping[int, Stored]) -> tuple[str, int]:
    """Whether the damage was reported, and how many commits were read that were never written."""
    wrong = sum(said.get(seq) != one for seq, one in seen.read.items())
    if seen.reported:
        return "reported", wrong
    return ("harmless" if seen.read == said else "unnoticed"), wrong

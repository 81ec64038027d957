"""What a node makes of the data directory that it is given: what it reports, and what it answers.

It is a whole node, in this process, made by the same root as `canopy up`. Whatever can be read of
it is read over HTTP with the key of its owner, and below that from the log and the snapshots, and
it is waited for until its notary has read all of the log.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine, Iterator, Mapping, MutableMapping
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import structlog

from bus import codec
from bus.connection import connected, located, wired
from bus.jetstream import JetStreamLog, epoch_of
from bus.notary import attested
from bus.snapshots import BUCKET, BucketSnapshots
from gateway.cli.exits import Failure
from gateway.cli.running import failures
from gateway.node import Up, up
from schemas.settings import Settings

LOG_BYTES_MAX = 127_000
"""So small that the broker makes blocks of 32 kB: a few of them for a hundred commits."""
ROUND_S = 20.0
AGAIN_S = 0.01

Answers = Mapping[str, Any]
"""What was read, by name: a commit, a message, a page, a snapshot."""


@dataclass(frozen=True, slots=True)
class Owner:
    """Who reads, and what: a channel of her own, paths of pages, nouns and keys of snapshots."""

    headers: Mapping[str, str]
    private: str
    paths: tuple[str, ...]
    folded: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Seen:
    """What came of one round: what was reported, what could be read, and how asking or the node
    ended when that is no word to anybody."""

    reported: tuple[str, ...]
    read: Answers
    fell: str = ""


def settings(directory: Path) -> Settings:
    """Those of the node that is damaged: its notary reads the whole log at once, without a rest."""
    return Settings(
        data_directory=directory,
        port=0,
        log_bytes_max=LOG_BYTES_MAX,
        disk_spare_bytes=0,
        snapshot_every=4,
        erasure_gather_s=0.0,
        tip_every_s=0.05,
        scrub_share=1.0,
        scrub_every_s=0.0,
        nats_silence_s=5.0,
        restart_backoff_s=0.01,
    )


async def looked(directory: Path, owner: Owner) -> Seen:
    """What a node reports of what lies in *directory*, and all that can be read of it; or why it
    does not start."""
    read: dict[str, Any] = {}
    with reports() as reported:
        try:
            async with asyncio.timeout(ROUND_S):
                fell = await _ended(_looked(settings(directory), owner, read))
        except TimeoutError:
            fell = TimeoutError(f"neither well nor ended in {ROUND_S:g} s")
    if isinstance(fell, Failure):
        reported.append(f"refused: {fell.code}: {fell.message}")
        fell = None
    return Seen(tuple(reported), read, repr(fell) if fell else "")


async def _looked(knobs: Settings, owner: Owner, read: dict[str, Any]) -> None:
    """Raises `Failure` for what a node ends with as it should, and what asking it ends with."""
    with failures(knobs):
        async with running(knobs) as node:
            asked = await _ended(_asked(node, owner, knobs, read))
    if asked is not None:
        raise asked


async def _asked(node: Up, owner: Owner, knobs: Settings, read: dict[str, Any]) -> None:
    await answers(node, owner, knobs, read)
    await _read_through(knobs)


async def _ended(deed: Coroutine[Any, Any, None]) -> BaseException | None:
    """What *deed* raises, whatever it is: a measure counts it and goes on."""
    told: tuple[BaseException | None] = await asyncio.gather(deed, return_exceptions=True)
    return told[0]


@contextmanager
def reports() -> Iterator[list[str]]:
    """What the journal tells an operator of until the block ends: what is critical, by its name,
    and of an alarm its kind."""
    told: list[str] = []

    def record(
        _logger: object, level: str, entry: MutableMapping[str, Any]
    ) -> MutableMapping[str, Any]:
        if level == "critical":
            told.append(entry["kind"] if entry["event"] == "log_damaged" else entry["event"])
        raise structlog.DropEvent

    processors = structlog.get_config()["processors"]
    before = list(processors)
    processors[:] = [record]
    try:
        yield told
    finally:
        processors[:] = before


@asynccontextmanager
async def running(knobs: Settings) -> AsyncIterator[Up]:
    """A whole node, stopped when the block ends; raises what ends it before."""
    told: asyncio.Future[Up] = asyncio.get_running_loop().create_future()
    environ = {"XDG_CONFIG_HOME": str(knobs.data_directory / "config")}
    node = asyncio.create_task(up(knobs, told.set_result, environ))
    try:
        await asyncio.wait((told, node), return_when=asyncio.FIRST_COMPLETED)
        if not told.done():
            await node
        yield told.result()
    finally:
        node.cancel()
        with suppress(asyncio.CancelledError):
            await node


async def answers(node: Up, owner: Owner, knobs: Settings, read: dict[str, Any]) -> None:
    """*read* holds all that *owner* can read: over HTTP, from the log, and of the snapshots."""
    async with aiohttp.ClientSession(node.url, headers=owner.headers) as http:
        for path in owner.paths:
            read |= await page(http, path)
    endpoint = await located(knobs)
    async with wired(endpoint, "notary", knobs) as wire:
        await _stored(JetStreamLog(wire, knobs, ""), read)
    async with connected(endpoint, "actors", knobs) as connection:
        bucket = BucketSnapshots(await connection.client.jetstream().key_value(BUCKET))
        for noun, key in owner.folded:
            if (snapshot := await bucket.load(noun, key)) is not None:
                read[f"snapshot {noun}.{key}"] = snapshot


async def page(http: aiohttp.ClientSession, path: str) -> Answers:
    """What there is on the page at *path*, by name."""
    return _items(path, await _answered(http, path))


async def _answered(http: aiohttp.ClientSession, path: str) -> dict[str, Any]:
    """The answer to a read, once there is one; nothing when it is refused."""
    while True:
        async with http.get(path) as response:
            if response.status == 200:
                answer: dict[str, Any] = await response.json()
                return answer
            if response.status != 503:
                return {}
            told = await response.json()
            if told["code"] == "log_damaged":
                return {}
        await asyncio.sleep(AGAIN_S)


def _items(path: str, answer: Mapping[str, Any]) -> Answers:
    """What an answer holds: message by message, commit by commit, or as a whole; without what it
    says of itself to be damaged."""
    if "messages" in answer:
        shown = (one for one in answer["messages"] if one["crypto_state"] != "damaged")
        return {f"message {one['id']}": one for one in shown}
    if "versions" in answer:
        kept = (one for one in answer["versions"] if one["crypto_state"] != "damaged")
        return {f"{path} {one['edited_at']}": one for one in kept}
    if "commits" in answer:
        return {f"commit {one['seq']}": one for one in answer["commits"] if not _damaged(one)}
    return {path: answer} if answer else {}


def _damaged(commit: Mapping[str, Any]) -> bool:
    return any("damaged" in one["data"] for one in commit["events"])


async def _stored(log: JetStreamLog, read: dict[str, Any]) -> None:
    """*read* holds of the log itself what every reader takes for a commit, gaps passed over."""
    after = 0
    while page := await log.page(after, 1000):
        for one in page:
            with suppress(codec.Undecodable):
                codec.prove(one.payload)
                read[f"stored {one.seq}"] = one
        after = page[-1].seq


async def _read_through(knobs: Settings) -> None:
    """Returns once the whole log has been read again, or the alarm was sounded."""
    async with wired(await located(knobs), "notary", knobs) as wire:
        epoch = epoch_of((await JetStreamLog.info(wire, knobs))["created"])
    before = attested(knobs, epoch).scrub.passes
    while (known := attested(knobs, epoch)).scrub.passes <= before and known.fault is None:  # noqa: ASYNC110 - in a file
        await asyncio.sleep(AGAIN_S)

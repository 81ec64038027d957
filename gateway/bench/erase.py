"""Erasure on the raw disk: what is deleted is gone from every block of it, dead process or not.

A node in parts runs on a volume of its own. In each round something is said and changed in private,
deleted, and its keys are destroyed; the actors die at one of the points on the way, or at none.
Then every block of the disk is searched: for what was said, for its keys, for the keys above them,
and for the old table key as the root had sealed it. That one has to be found *before*, or the
search could find nothing at all.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
from base64 import b64encode
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from secrets import token_hex
from typing import Any, get_args

import aiohttp

from bus.faults import Point
from bus.identity_file import identify, vault_name
from bus.key_record import TAG_BYTES, opened, owned, records_of, tags_of, where
from bus.key_table import SLOTS, KeyTable, segment_file
from bus.sealing import owner
from bus.storage import Directory
from bus.vault_file import DIRECTORY
from gateway.bench.cuts import kept_when_failed
from gateway.bench.node import credentials
from gateway.bench.parts import Parts, Unfound
from gateway.bench.report import Figure, Report
from gateway.bench.volume import volume
from schemas.settings import GIB

VOLUME_BYTES = 2 * GIB
CHUNK_BYTES = 16 << 20
ROUND_S = 100.0
AGAIN_S = 0.05
DYING = tuple(point for point in get_args(Point) if point.startswith("vault."))
DEATHS: tuple[Point | None, ...] = (*DYING, None)
SAYING: tuple[Point, ...] = ("vault.grown", "vault.kept")
"""Deaths of those who say something; the first of all."""
SYNC_S = 120.0


@dataclass(frozen=True)
class Said:
    """A private message: its channel, its id, and the words that stand in it and nowhere else."""

    channel: str
    id: str
    words: tuple[str, ...]

    @property
    def path(self) -> str:
        return f"/channels/{self.channel}/messages/{self.id}"

    @property
    def owner(self) -> str:
        return owner("message", f"{self.channel}.{self.id}")


class Speaker:
    """Who says things, and repeats each wish until it is granted."""

    def __init__(self, http: aiohttp.ClientSession, url: str) -> None:
        self._http = http
        self._url = url

    async def asked(self, method: str, path: str, body: Any = None) -> Any:
        """The answer, once there is one. Raises `Unfound` when it is a refusal."""
        headers = {} if method == "GET" else {"Idempotency-Key": token_hex(8)}
        async with asyncio.timeout(ROUND_S):
            while True:
                status, answer = await self._once(method, path, body, headers)
                if status < 400:
                    return answer
                if status < 500:
                    raise Unfound(f"{method} {path} was answered {status}: {answer}")
                await asyncio.sleep(AGAIN_S)

    async def _once(
        self, method: str, path: str, body: Any, headers: Mapping[str, str]
    ) -> tuple[int, Any]:
        url = f"{self._url}/api/v1{path}"
        try:
            async with self._http.request(method, url, json=body, headers=headers) as response:
                return response.status, await response.json()
        except (aiohttp.ClientError, TimeoutError):
            return 503, None

    async def open(self) -> str:
        """The id of a private channel."""
        made = await self.asked("POST", "/channels", {"name": "erased", "type": "private"})
        return str(made["channel"]["id"])

    async def say(self, channel: str) -> Said:
        """A message, said and then changed; both times in words of their own."""
        first, second = (f"marker-{token_hex(12)}" for _ in "ab")
        body = {
            "channel_id": channel, "content": first, "attachments": [{"id": "f", "name": first}],
        }  # fmt: skip
        posted = await self.asked("POST", "/channels/messages", body)
        said = Said(channel, posted["message"]["id"], (first, second))
        await self.asked("PATCH", said.path, {"content": second})
        return said

    async def erased(self, said: Said) -> None:
        """Returns once the log says that the keys are destroyed."""
        path = f"/log?noun=message&key={said.channel}.{said.id}"
        async with asyncio.timeout(ROUND_S):
            while True:
                commits = (await self.asked("GET", path))["commits"]
                if any(e["kind"] == "content_erased" for one in commits for e in one["events"]):
                    return
                await asyncio.sleep(AGAIN_S)


def needles(node: Path, said: Said) -> dict[str, list[bytes]]:
    """What must not be on the disk afterwards, by what it is; `sealed` lies there until then."""
    storage, me = Directory(node / DIRECTORY), identify(node)
    name = vault_name(node)
    table = KeyTable(storage, me, name, str(storage.path)).load()
    keys: list[bytes] = []
    above = [table.key]
    tag = tags_of(said.owner)[TAG_BYTES:]
    for number, segment in table.segments.items():
        raw = storage.read(segment_file(number, segment.generation))
        for index, record in records_of(raw):
            if owned(record, {tag}):
                keys.append(opened(segment.key, where(name, number, index), record))
                above.append(segment.key)
    slots = storage.read(SLOTS)
    storage.close()
    if not keys:
        raise Unfound(f"the vault has no keys of {said.owner}")
    sealed = [part.split()[-1] for part in slots.split(b"\n") if part.strip(b"\0")]
    return {
        "words": [word.encode() for word in said.words],
        "keys": [form for key in keys for form in (key, b64encode(key))],
        "keys above": [form for key in above for form in (key, b64encode(key))],
        "sealed": sealed,
    }


def on_disk(image: Path, wanted: list[bytes]) -> int:
    """How many of *wanted* stand in any block of the disk, used or freed."""
    longest = max(map(len, wanted))
    left = set(wanted)
    rest = b""
    for chunk in _chunks(image):
        block = rest + chunk
        left = {one for one in left if one not in block}
        rest = block[-longest:]
    return len({*wanted}) - len(left)


def _chunks(image: Path) -> Iterator[bytes]:
    """What the file holds, without its holes."""
    size, at = image.stat().st_size, 0
    with image.open("rb", buffering=0) as file:
        while at < size:
            try:
                at = os.lseek(file.fileno(), at, os.SEEK_DATA)
            except OSError:
                return  # There is nothing but a hole from here on.
            end = os.lseek(file.fileno(), at, os.SEEK_HOLE)
            while at < end:
                file.seek(at)
                chunk = file.read(min(CHUNK_BYTES, end - at))
                yield chunk
                at += len(chunk)


async def erase(
    directory: Path, count: int = 50, deaths: Sequence[Point | None] = DEATHS
) -> Report:
    """*count* rounds, with one of *deaths* in turn in each. Raises `gateway.bench.volume.NoVolume`
    where there can be no volume, and `gateway.bench.parts.Unfound` when something does not happen
    in time."""
    left: Counter[str] = Counter()
    before = 0
    with volume(directory, VOLUME_BYTES) as disk, kept_when_failed(disk.path, directory / "kept"):
        node = disk.path / "node"
        parts = Parts(node)
        try:
            await parts.start("nats")
            await parts.start("actors")
            headers = await credentials(node, parts.url, await parts.start("gateway"))
            async with aiohttp.ClientSession(headers=headers) as http:
                speaker = Speaker(http, parts.url)
                channel = await speaker.open()
                stay: list[Said] = []
                wanted: list[dict[str, list[bytes]]] = []
                for nth in range(count):
                    stay.append(await speaker.say(channel))  # In a segment with what goes.
                    said = await speaker.say(channel)
                    wanted.append(needles(node, said))
                    found = await _found(disk.path, disk.image, wanted[-1])
                    before += found["sealed"] > 0
                    await _erased(parts, speaker, said, deaths[nth % len(deaths)])
                    left += await _found(disk.path, disk.image, wanted[-1])
                read = [await speaker.asked("GET", one.path) for one in stay]
        finally:
            await parts.stop()
        for each in wanted:
            left += await _found(disk.path, disk.image, each)
    figures = (
        Figure("sealed table key found before", before, "times", count, rising=True),
        Figure("words left", left["words"], "times", 0.0),
        Figure("their keys left", left["keys"], "times", 0.0),
        Figure("keys above them left", left["keys above"], "times", 0.0),
        Figure("sealed table keys left", left["sealed"], "times", 0.0),
        Figure("what stays and is read", sum(
            one["message"]["content"] == said.words[1]
            for one, said in zip(read, stay, strict=True)
        ), "times", count, rising=True),
        Figure("parts that ended unkilled", parts.deserted, "times", 0.0),
    )  # fmt: skip
    return Report("erase", f"{count} × said, deleted and sought in every block", figures)


async def _found(path: Path, image: Path, wanted: dict[str, list[bytes]]) -> Counter[str]:
    """By what it is: how much of *wanted* is on the disk, once all that is written is there."""

    def look() -> Counter[str]:
        subprocess.run(["sync", "-f", str(path)], check=True, timeout=SYNC_S)  # noqa: S603,S607
        return Counter({what: on_disk(image, each) for what, each in wanted.items()})

    return await asyncio.to_thread(look)


async def _erased(parts: Parts, speaker: Speaker, said: Said, death: Point | None) -> None:
    """*said* is deleted and the log says that it is erased, though the actors die on the way."""
    if death is not None:
        await parts.arm("actors", death, 1)
    async with asyncio.TaskGroup() as group:
        group.create_task(speaker.asked("DELETE", said.path))
        if death in SAYING:
            group.create_task(speaker.say(said.channel))
        if death is not None:
            async with asyncio.timeout(ROUND_S):
                await parts.died("actors")
            await parts.revive()
    await speaker.erased(said)

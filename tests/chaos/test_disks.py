"""Disks that fill up, run out of inodes, or fail: refused early, read on, healed without anybody.

On small volumes of our own, with whole nodes; the broker is the real one and freezes as it does.
"""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from itertools import count
from pathlib import Path
from time import monotonic
from typing import Any

import pytest

from bus.server import Broker
from gateway.bench.volume import Volume, volume
from schemas.settings import KIB, MIB
from tests.canopy import Caller, Canopy, running
from tests.gateway.test_broker_troubles import broker_pid

pytestmark = [pytest.mark.usefixtures("disks"), pytest.mark.slow, pytest.mark.timeout(120)]

DISK_BYTES = 128 * MIB
FILES = 1600
"""Inodes of a disk that has few of them."""
SEEN_S = 10.0
"""For a refusal to become a clear one: two looks at the disk, and a broker that is started."""
HEALED_S = 15.0
TEXT = "x" * 40_000
KNOBS = {
    "disk_reserve_bytes": 24 * MIB,
    "disk_spare_bytes": 8 * MIB,
    "disk_look_every_s": 0.2,
    "nats_health_every_s": 0.2,
    "append_timeout_s": 1.0,
    "command_timeout_s": 2.0,
    "requests_per_second_max": 100_000,
    "requests_burst_max": 100_000,
}


@dataclass
class Told:
    """One who posts, and what he has been told is kept."""

    caller: Caller
    acked: dict[int, str] = field(default_factory=dict)

    async def post(self) -> int:
        """The status of one more post."""
        text = f"{len(self.acked)} {TEXT}"
        body = {"channel_id": "general", "content": text}
        status, _, answer = await self.caller.call("POST", "/channels/messages", body)
        if status == 201:
            self.acked[answer["seq"]] = text
        return status

    async def until(self, wanted: int, seconds: float) -> float:
        """How long it took until a post was answered so. Raises TimeoutError."""
        began = monotonic()
        async with asyncio.timeout(seconds):
            while True:
                try:
                    if await self.post() == wanted:
                        return monotonic() - began
                except OSError:
                    pass  # The door is closed for a moment while the node attaches anew.
                await asyncio.sleep(0.05)

    async def lost(self) -> list[int]:
        """Positions at which it was answered that something is kept, and it cannot be read."""
        kept: dict[int, Any] = {}
        page = await self.caller.get("/channels/general/messages?limit=200")
        while page["messages"]:
            kept |= {one["seq"]: one["content"] for one in page["messages"]}
            if not page["next"]:
                break
            page = await self.caller.get(
                f"/channels/general/messages?limit=200&cursor={page['next']}"
            )
        return [seq for seq, text in self.acked.items() if kept.get(seq) != text]


@asynccontextmanager
async def node(disk: Volume, **knobs: Any) -> AsyncIterator[tuple[Canopy, Told]]:
    """A node on *disk*, somebody who posts, and some posts."""
    async with running(disk.path / "node", **(KNOBS | knobs)) as canopy:
        told = Told(await canopy.owner())
        assert [await told.post() for _ in range(5)] == [201] * 5
        yield canopy, told


def filled(path: Path, leave_bytes: int = 0) -> Path:
    """A foreign file at *path* that leaves so many bytes of the disk."""
    with path.open("wb", buffering=0) as file:
        size = MIB
        while size >= KIB:
            try:
                file.write(bytes(size))
            except OSError:
                size //= 2
        file.truncate(max(0, file.tell() - leave_bytes))
    return path


async def refused(told: Told) -> int:
    """The status of the first post that is not taken."""
    while (status := await told.post()) == 201:
        pass
    return status


async def readable(told: Told) -> bool:
    status, _, _ = await told.caller.call("GET", "/channels/general/messages")
    return status == 200


async def until_readable(told: Told) -> bool:
    """True once a read is answered: if DuckDB gives up its file, that is opened anew first, and a
    read that waits for what was about to be folded is told to come again. Raises TimeoutError."""
    async with asyncio.timeout(SEEN_S):
        while not await readable(told):
            await asyncio.sleep(0.05)
    return True


async def test_a_log_that_fills_the_disk_is_refused_before_it_is_full(tmp_path: Path) -> None:
    """507 while there is still room for what runs; taken again when somebody makes more."""
    with volume(tmp_path, DISK_BYTES) as disk:
        async with node(disk) as (canopy, told):
            foreign = filled(disk.path / "foreign", leave_bytes=28 * MIB)
            await told.until(507, SEEN_S)
            status, _, ready = await canopy.nobody.call("GET", "/readyz")

            assert (status, ready["code"]) == (507, "log_full")
            assert await readable(told)
            foreign.unlink()
            assert await told.until(201, HEALED_S) < HEALED_S
            assert await told.lost() == []


async def test_a_disk_that_others_fill_to_the_last_byte_heals_by_itself(tmp_path: Path) -> None:
    """The broker freezes; the spare is given up, the broker started again, the writer told 507;
    with room again, everything goes on. Looks at the disk are rare here, so that none comes between
    the last byte and the post that freezes the broker."""
    with volume(tmp_path, DISK_BYTES) as disk:
        async with node(disk, disk_look_every_s=10.0) as (_, told):
            spare = disk.path / "node" / "spare"
            async with asyncio.timeout(SEEN_S):
                while not spare.exists() or len(list(spare.iterdir())) < 64:
                    await asyncio.sleep(0.05)
            first = broker_pid(disk.path / "node")
            foreign = filled(disk.path / "foreign")
            status = await refused(told)
            await told.until(507, 3 * SEEN_S)

            assert status == 503
            assert broker_pid(disk.path / "node") not in (0, first)
            assert list(spare.iterdir()) == []
            assert await until_readable(told)
            foreign.unlink()
            await told.until(201, 10.0 + HEALED_S)
            assert await told.lost() == []


@pytest.fixture
def unwatched(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody looks at the disk, nor whether the broker is well."""

    async def ended(self: Broker, _: object) -> None:
        await self._process.wait()

    monkeypatch.setattr(Broker, "watch", ended)
    monkeypatch.setattr("actors.__main__.keep_reserve", lambda *_: asyncio.sleep(999))


@pytest.mark.usefixtures("unwatched")
async def test_without_a_watch_a_frozen_broker_stays_frozen(tmp_path: Path) -> None:
    """The proof that the test before this one can fail: space alone does not heal it."""
    with volume(tmp_path, DISK_BYTES) as disk:
        async with node(disk) as (_, told):
            foreign = filled(disk.path / "foreign")
            await refused(told)
            foreign.unlink()
            with pytest.raises(TimeoutError):
                await told.until(201, 5.0)


async def test_a_disk_without_inodes_is_as_good_as_full(tmp_path: Path) -> None:
    """507 with its own words, before the broker freezes; reads go on; healed when there are some
    again."""
    with volume(tmp_path, DISK_BYTES, files=FILES) as disk:
        async with node(disk) as (_, told):
            foreign = exhausted(disk.path / "foreign")
            status = await refused(told)
            _, _, ready = await told.caller.call("GET", "/readyz")

            assert (status, "more files" in ready["detail"]) == (507, True)
            assert await until_readable(told)
            shutil.rmtree(foreign)
            assert await told.until(201, HEALED_S) < HEALED_S
            assert await told.lost() == []


@pytest.mark.usefixtures("unwatched")
async def test_without_a_watch_a_broker_without_inodes_freezes(tmp_path: Path) -> None:
    """The proof that the test before this one can fail: posts are taken until the broker needs its
    next file, nobody knows what became of the last one, and inodes alone do not heal it."""
    with volume(tmp_path, DISK_BYTES, files=FILES) as disk:
        async with node(disk) as (_, told):
            foreign = exhausted(disk.path / "foreign")

            assert await refused(told) == 503
            shutil.rmtree(foreign)
            with pytest.raises(TimeoutError):
                await told.until(201, 3.0)


def exhausted(folder: Path) -> Path:
    """A foreign *folder* of so many files that not one more can be made beside it."""
    folder.mkdir()
    with suppress(OSError):
        for nth in count():
            (folder / str(nth)).touch()
    return folder


@pytest.mark.parametrize("posts", [5, 50])
async def test_a_disk_that_fails_is_read_and_not_written(tmp_path: Path, posts: int) -> None:
    """The kernel makes it read-only under the node, in the midst of folding or not; who wrote just
    before reads on as well, and what was acknowledged is there afterwards."""
    with volume(tmp_path, DISK_BYTES) as disk:
        async with node(disk) as (_, told):
            posting = [asyncio.create_task(told.until(507, 2 * SEEN_S)) for _ in range(4)]
            while len(told.acked) < posts:
                await asyncio.sleep(0)
            await asyncio.to_thread(disk.abort)
            await asyncio.gather(*posting)

            assert await until_readable(told)
            assert [await readable(told) for _ in range(20)] == [True] * 20
        await asyncio.to_thread(disk.remount)
        async with running(disk.path / "node", **KNOBS) as canopy:
            again = replace(told.caller, http=canopy.http, base=canopy.up.url)
            told.caller = again

            assert await told.lost() == []
            assert await told.post() == 201

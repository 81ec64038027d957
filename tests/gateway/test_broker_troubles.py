"""What a node does when its broker is killed or frozen: it goes on, or it ends, and soon."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
from dataclasses import replace
from pathlib import Path
from time import monotonic
from weakref import WeakSet

import aiohttp
import psutil
import pytest

from bus.server import Broker, kept_endpoint
from bus.wire import dial
from gateway.reads import Reads
from tests.canopy import Caller, running

DEADLINE_S = 30.0
STOP_S = 5.0
PATIENCE_S = 7.0
"""For an answer: `command_timeout_s`, and what a busy machine adds."""
HI = {"channel_id": "general", "content": "Hi."}


def broker_pid(directory: Path) -> int:
    """The broker that runs on *directory* for this very process; 0 when there is none."""
    for child in psutil.Process().children():
        try:
            if str(directory / "nats" / "nats.conf") in child.cmdline():
                return child.pid
        except (psutil.NoSuchProcess, psutil.ZombieProcess):
            continue
    return 0


async def next_broker_pid(directory: Path, last: int) -> int:
    """The broker that follows *last*, at the moment at which it appears."""
    async with asyncio.timeout(DEADLINE_S):
        while (pid := broker_pid(directory)) in (0, last):
            await asyncio.sleep(0)
        return pid


async def posted(caller: Caller) -> str:
    """The id of a message, said until it is acknowledged."""
    async with asyncio.timeout(DEADLINE_S):
        while True:
            status, _, answer = await caller.call("POST", "/channels/messages", HI)
            if status < 300:
                return str(answer["message"]["id"])
            assert status == 503, answer
            await asyncio.sleep(0.05)


async def test_a_broker_killed_again_while_it_starts_is_started_again(tmp_path: Path) -> None:
    """The node answers again, with everything it has acknowledged."""
    async with running(tmp_path) as canopy:
        ann = await canopy.register("ann")
        said = [await posted(ann) for _ in range(3)]

        first = broker_pid(tmp_path)
        os.kill(first, signal.SIGKILL)
        second = await next_broker_pid(tmp_path, first)
        os.kill(second, signal.SIGKILL)
        await next_broker_pid(tmp_path, second)
        said.append(await posted_when_there(ann))

        read = await ann.get("/channels/general/messages")
        assert set(said) <= {one["id"] for one in read["messages"]}


async def posted_when_there(caller: Caller) -> str:
    """As `posted`, of a node whose door is closed for a moment."""
    async with asyncio.timeout(DEADLINE_S):
        while True:
            try:
                return await posted(caller)
            except (aiohttp.ClientError, OSError):
                await asyncio.sleep(0.05)


async def test_a_gateway_that_has_lost_its_broker_is_forgotten(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With its tables and its routes: else each death of a broker costs the next one a megabyte."""
    alive: WeakSet[Reads] = WeakSet()
    opened = Reads.open

    async def seen(reads: Reads) -> None:
        alive.add(reads)
        await opened(reads)

    monkeypatch.setattr(Reads, "open", seen)
    async with running(tmp_path) as canopy:
        ann = await canopy.register("ann")
        for _ in range(2):
            broker = broker_pid(tmp_path)
            os.kill(broker, signal.SIGKILL)
            await next_broker_pid(tmp_path, broker)
            await posted_when_there(ann)

        assert len(alive) == 1


async def test_a_frozen_broker_does_not_hold_up_the_end(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """It is killed, which hurts nothing: what it acknowledged is on the disk."""
    async with running(tmp_path) as canopy:
        ann = await canopy.register("ann")
        await posted(ann)
        frozen = psutil.Process(broker_pid(tmp_path))
        frozen.suspend()
        asked = monotonic()
    took_s = monotonic() - asked
    gc.collect()

    assert took_s < STOP_S
    assert not frozen.is_running()
    assert "never retrieved" not in caplog.text


async def answered(caller: Caller) -> tuple[int, float, str]:
    """Status, seconds until it came, and Retry-After, of one post."""
    began = monotonic()
    status, headers, _ = await caller.call("POST", "/channels/messages", HI)
    return status, monotonic() - began, headers.get("Retry-After", "")


async def test_a_frozen_broker_is_started_again(tmp_path: Path) -> None:
    """Until then who writes waits a bounded time and is told to come again; nothing is lost."""
    async with running(tmp_path) as canopy:
        ann = await canopy.register("ann")
        said = [await posted(ann) for _ in range(3)]
        frozen = psutil.Process(broker_pid(tmp_path))
        frozen.suspend()
        status, took_s, retry_after = await answered(ann)
        said.append(await posted_when_there(ann))
        read = await ann.get("/channels/general/messages")

        assert (status, retry_after) == (503, "1")
        assert took_s < PATIENCE_S
        assert set(said) <= {one["id"] for one in read["messages"]}
        assert not frozen.is_running()


async def test_nobody_else_starts_a_frozen_broker_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The proof that the test before this one can fail: without its watch it stays frozen."""

    async def unwatched(self: Broker, _: object) -> None:
        await self._process.wait()

    monkeypatch.setattr(Broker, "watch", unwatched)
    async with running(tmp_path, command_timeout_s=0.5, append_timeout_s=0.5) as canopy:
        ann = await canopy.register("ann")
        await posted(ann)
        psutil.Process(broker_pid(tmp_path)).suspend()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(PATIENCE_S):
                await posted_when_there(ann)


async def test_an_unreadable_head_does_not_keep_a_node_from_starting(tmp_path: Path) -> None:
    """It says why its tables stopped."""
    async with running(tmp_path) as canopy:
        endpoint = kept_endpoint(tmp_path)
        assert endpoint is not None
        user, password = endpoint.login("actors")
        wire = await dial(endpoint.url, user, password)
        await wire.ask("evt.message.general.M1", b'{"header": {}}', DEADLINE_S)
        wire.close()
        assert canopy.up.url

    async with running(tmp_path) as canopy:
        status, answer = 200, None
        async with asyncio.timeout(DEADLINE_S):
            while "cannot be projected" not in str(answer):
                status, _, answer = await canopy.nobody.call("GET", "/readyz")

    assert status == 503
    assert "position 2 cannot be projected" in str(answer)


async def test_a_node_short_of_disk_is_read_and_not_written(tmp_path: Path) -> None:
    """It starts all the same, and says why it takes nothing."""
    async with running(tmp_path) as canopy:
        ann = await canopy.register("ann")
        said = await posted(ann)

    async with running(tmp_path, disk_reserve_bytes=2**60) as canopy:
        ann = replace(ann, http=canopy.http, base=canopy.up.url)
        status, _, refused = await ann.call("POST", "/channels/messages", HI)
        ready, _, reason = await canopy.nobody.call("GET", "/readyz")
        health = await canopy.nobody.get("/health")
        read = await ann.get("/channels/general/messages")

    assert (status, refused["code"], ready, reason["code"]) == (507, "log_full", 507, "log_full")
    assert "MiB in reserve: make room first" in refused["detail"]
    assert "MiB in reserve: make room first" in reason["detail"]
    assert (health["ready"], health["subsystems"]["workspace_events"]) == (False, "full")
    assert [one["id"] for one in read["messages"]] == [said]

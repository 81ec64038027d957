"""A gateway whose broker is away: nobody waits for it for long."""

from __future__ import annotations

import asyncio
from contextlib import closing
from pathlib import Path
from time import monotonic

import aiohttp
import pytest

from gateway.__main__ import listening, url
from gateway.closed import Threshold
from gateway.node import run_gateway
from schemas.settings import Settings
from tests.servers import free_port

QUEUED_S = 0.2
DEADLINE_S = 10.0


def knobs(directory: Path, port: int) -> Settings:
    away = f"nats://127.0.0.1:{free_port()}"
    return Settings(data_directory=directory, nats_url=away, port=port, requests_queued_s=QUEUED_S)


async def reachable(port: int) -> None:
    """Returns once somebody listens on *port*."""
    async with asyncio.timeout(DEADLINE_S):
        while True:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
            except OSError:
                await asyncio.sleep(0.01)
            else:
                writer.close()
                return


async def test_a_gateway_without_a_broker_says_when_to_come_again(tmp_path: Path) -> None:
    port = free_port()
    gateway = asyncio.create_task(run_gateway(knobs(tmp_path, port), lambda up: None))
    try:
        async with aiohttp.ClientSession() as http:
            await reachable(port)
            began_s = monotonic()
            async with http.post(f"http://127.0.0.1:{port}/api/v1/channels", json={}) as response:
                took_s, told = monotonic() - began_s, await response.json()
    finally:
        gateway.cancel()
        await asyncio.wait([gateway])

    assert (response.status, told["code"]) == (503, "unavailable")
    assert response.headers["Retry-After"] == "1"
    assert took_s < QUEUED_S + 5.0


async def test_what_waits_a_short_while_is_left_to_the_gateway(tmp_path: Path) -> None:
    settings = knobs(tmp_path, 0)
    with closing(listening(settings)) as listener:
        threshold = Threshold(listener, settings)
        threshold.open()
        attending = asyncio.create_task(threshold.attend())
        timeout = aiohttp.ClientTimeout(total=3 * QUEUED_S)
        async with aiohttp.ClientSession(timeout=timeout) as http:
            with pytest.raises(TimeoutError):  # It is the gateway's to answer, and there is none.
                await http.get(url(settings, listener))
            threshold.close()
            async with http.get(url(settings, listener)) as response:
                status = response.status
        attending.cancel()
        await asyncio.wait([attending])

    assert status == 503

"""A process whose broker goes begins anew, and for a cluster without a leader it never ends."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from bus.log import Leaderless
from bus.telemetry import Telemetry
from bus.wire import BrokerLost
from gateway.node import renewed
from schemas.settings import Settings
from tests.logs import DEADLINE_S

TIMES = 20
"""Many more than `restarts_max`."""


class Done(Exception):
    """What ends a life that would go on for ever."""


def failing(fault: Exception) -> Callable[[], Awaitable[None]]:
    """A life that ends with *fault* so many times, alone and in a group, and then is done."""
    lives = iter(range(TIMES))

    async def once() -> None:
        nth = next(lives, None)
        if nth is None:
            raise Done
        raise ExceptionGroup("rooms", [fault]) if nth % 2 else fault

    return once


async def lived(fault: Exception, nats_url: str) -> None:
    settings = Settings(nats_url=nats_url, restart_backoff_s=0.001)
    async with asyncio.timeout(DEADLINE_S):
        await renewed("gateway", failing(fault), settings, Telemetry())


@pytest.mark.parametrize("fault", [Leaderless("no leader"), BrokerLost("gone")])
async def test_a_cluster_without_a_leader_is_waited_for(fault: Exception) -> None:
    """Also by what nobody supervises: the first look at the log, and attaching to it."""
    with pytest.raises(Done):
        await lived(fault, "nats://127.0.0.1:1,nats://127.0.0.1:2")


async def test_a_broker_of_our_own_that_goes_too_often_ends_the_process() -> None:
    with pytest.raises(ExceptionGroup) as told:
        await lived(BrokerLost("gone"), "")

    assert told.group_contains(BrokerLost)

"""A durable place in the log: nothing is skipped, nothing is dropped, the place survives."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path

import pytest

from bus.attachment import Bus
from bus.codec import Undecodable
from bus.connection import connected
from bus.consumer import PULL_MAX, ConsumerLost, Delivery
from bus.topology import Durable
from bus.wire import BrokerLost
from schemas.message import MessagePosted
from schemas.settings import Settings
from tests.logs import DEADLINE_S, bus_on, fresh_broker, settings, told
from tests.simulated import Running

HI = MessagePosted(content="Hi.")
SCRIBE = Durable("scribe")
CLERK = Durable("clerk", "evt.cursor.>")

pytestmark = pytest.mark.usefixtures("each_broker")


@pytest.fixture
def knobs(tmp_path: Path) -> Settings:
    return settings(tmp_path)


@pytest.fixture
async def running(knobs: Settings) -> AsyncIterator[Running]:
    """A broker with two consumers: of everything, and of cursors."""
    async with fresh_broker(knobs, SCRIBE, CLERK) as one:
        yield one


@pytest.fixture
async def bus(running: Running, knobs: Settings) -> AsyncIterator[Bus]:
    async with bus_on(running.endpoint, knobs) as one:
        yield one


async def delivered(bus: Bus, count: int, name: str = "scribe", *, done: bool = True) -> list[int]:
    """The positions of the next *count* deliveries, in the order in which they come."""
    seqs: list[int] = []
    async with asyncio.timeout(DEADLINE_S), aclosing(bus.deliveries(name)) as deliveries:
        async for delivery in deliveries:
            seqs.append(delivery.commit.seq)
            if done:
                await delivery.done()
            if len(seqs) == count:
                break
    return seqs


async def test_everything_is_delivered_in_order(bus: Bus) -> None:
    """Also more than one pull asks for."""
    most = PULL_MAX * 2 + 1
    for nth in range(most):
        await told(bus.log, HI, f"general.M{nth}")

    assert await delivered(bus, most) == list(range(1, most + 1))


async def test_news_is_delivered_when_it_comes(bus: Bus) -> None:
    """Not when a pull is full, or at its end."""
    waiting = asyncio.create_task(delivered(bus, 2))
    await told(bus.log, HI, "general.M1")
    await told(bus.log, HI, "general.M2")

    assert await waiting == [1, 2]


async def test_a_consumer_hears_what_it_asked_for(bus: Bus) -> None:
    """And knows the true positions."""
    await told(bus.log, HI, "general.M1")
    await told(bus.log, HI, "general.ann", noun="cursor")

    assert await delivered(bus, 1, "clerk") == [2]


async def test_what_is_done_is_not_delivered_again(
    bus: Bus, running: Running, knobs: Settings
) -> None:
    """The place is the broker's: another process goes on where this one stopped."""
    for nth in range(4):
        await told(bus.log, HI, f"general.M{nth}")
    assert await delivered(bus, 2) == [1, 2]

    async with bus_on(running.endpoint, knobs) as other:
        assert sorted(await delivered(other, 2)) == [3, 4]


async def test_what_is_put_off_comes_again(bus: Bus) -> None:
    """As often as it takes: nothing is dropped."""
    await told(bus.log, HI)
    times = 0
    async with asyncio.timeout(DEADLINE_S), aclosing(bus.deliveries("scribe")) as deliveries:
        async for delivery in deliveries:
            assert delivery.commit.seq == 1
            times += 1
            if times == 5:
                await delivery.done()
                break
            await delivery.again(0.001)


async def test_whoever_is_told_to_stop_stops(bus: Bus) -> None:
    """Also while more is being handed over than can be worked on."""
    for nth in range(100):
        await told(bus.log, HI, f"general.M{nth}")
    for _ in range(20):
        working = asyncio.create_task(delivered(bus, 100, done=False))
        await bus.log.head()
        working.cancel()
        ended, _ = await asyncio.wait([working], timeout=DEADLINE_S)

        assert working in ended
        assert working.cancelled()


async def test_a_poisoned_commit_is_named(bus: Bus) -> None:
    """The position is in the error; the commit waits for who can read it."""
    await bus.wire.ask("evt.message.general.M1", b"hello", DEADLINE_S)

    with pytest.raises(Undecodable, match="position 1"):
        await delivered(bus, 1)


async def test_a_consumer_that_is_not_there_is_an_error(bus: Bus) -> None:
    """Asking it again and again would be answered again and again, at once."""
    with pytest.raises(ConsumerLost, match="nobody is gone: 503"):
        await delivered(bus, 1, "nobody")


async def test_a_consumer_that_is_deleted_is_an_error(
    bus: Bus, running: Running, knobs: Settings
) -> None:
    """For whoever waits on it, and for whoever has still to acknowledge."""
    await told(bus.log, HI, "general.M1")
    await told(bus.log, HI, "general.M2")
    async with asyncio.timeout(DEADLINE_S), aclosing(bus.deliveries("scribe")) as deliveries:
        await (await anext(deliveries)).done()
        second = await anext(deliveries)
        async with connected(running.endpoint, "supervisor", knobs) as supervisor:
            await supervisor.client.request("$JS.API.CONSUMER.DELETE.EVT.scribe")

        with pytest.raises(ConsumerLost, match="nobody takes its acknowledgement"):
            await second.done()
        with pytest.raises(ConsumerLost, match="409 Consumer Deleted"):
            await anext(deliveries)


async def test_a_broker_that_ends_politely_is_lost_too(bus: Bus, running: Running) -> None:
    """It says so to whoever waits for news."""
    waiting = asyncio.create_task(delivered(bus, 2))
    await told(bus.log, HI)
    await running.stop(DEADLINE_S)

    with pytest.raises(BrokerLost):
        await waiting


async def test_a_lost_broker_is_an_error(bus: Bus, running: Running) -> None:
    """Of the kind that makes the root attach anew."""
    await told(bus.log, HI)
    async with asyncio.timeout(DEADLINE_S), aclosing(bus.deliveries("scribe")) as deliveries:
        first: Delivery = await anext(deliveries)
        await running.stop(DEADLINE_S)
        with pytest.raises(BrokerLost):
            await bus.connection.watch()

        with pytest.raises(BrokerLost):
            await first.done()
        with pytest.raises(BrokerLost):
            await first.again(0.1)
        with pytest.raises(BrokerLost):
            await anext(deliveries)
    assert first.commit.seq == 1

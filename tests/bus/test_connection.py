"""A lost connection is an exception, never a silence."""

from __future__ import annotations

import asyncio
import gc
import os
import signal

import pytest
from nats.aio.client import Client

from bus.client import heeding
from bus.connection import _heard_out, connected, located, wired
from bus.roles import Endpoint
from bus.server import Broker, broker
from bus.wire import BrokerLost
from schemas.settings import Settings
from tests.bus.conftest import settled

DEADLINE_S = 10.0


async def test_what_one_role_says_another_hears(running: Broker, settings: Settings) -> None:
    async with (
        connected(running.endpoint, "actors", settings) as actors,
        connected(running.endpoint, "gateway", settings) as gateway,
    ):
        heard = await gateway.client.subscribe("eph.typing.*")
        await settled(gateway.client)
        await actors.client.publish("eph.typing.general", b"ann")
        message = await heard.next_msg(timeout=5)

    assert message.data == b"ann"


async def test_how_a_reader_ended_is_no_surprise_later(caplog: pytest.LogCaptureFixture) -> None:
    """nats-py writes to a connection that is gone, and asks nobody what came of it."""

    async def end() -> None:
        raise RuntimeError("the handler is closed")

    client = Client()
    client._reading_task = asyncio.create_task(end())
    await asyncio.sleep(0)
    _heard_out(client)
    del client
    gc.collect()

    assert "never retrieved" not in caplog.text


async def test_a_broker_that_dies_is_raised(running: Broker, settings: Settings) -> None:
    async with connected(running.endpoint, "gateway", settings) as connection:
        os.kill(running.pid, signal.SIGKILL)

        async with asyncio.timeout(5):
            with pytest.raises(BrokerLost):
                await connection.watch()


async def test_a_thing_refused_is_raised(running: Broker, settings: Settings) -> None:
    async with connected(running.endpoint, "gateway", settings) as connection:
        await connection.client.publish("evt.message.general.M1", b"forged")

        async with asyncio.timeout(5):
            with pytest.raises(BrokerLost, match=r"(?i)permissions violation"):
                await connection.watch()


async def test_closing_on_purpose_loses_nothing(running: Broker, settings: Settings) -> None:
    async with connected(running.endpoint, "gateway", settings) as connection:
        watching = asyncio.create_task(connection.watch())
        await asyncio.sleep(0)

    with pytest.raises(asyncio.CancelledError):
        await watching


async def test_what_was_published_last_still_arrives(running: Broker, settings: Settings) -> None:
    async with connected(running.endpoint, "gateway", settings) as gateway:
        heard = await gateway.client.subscribe("eph.typing.*")
        await settled(gateway.client)
        async with connected(running.endpoint, "actors", settings) as actors:
            for _ in range(100):
                await actors.client.publish("eph.typing.general", b"ann")

        assert [(await heard.next_msg(timeout=5)).data for _ in range(100)] == [b"ann"] * 100


async def test_a_role_waits_for_a_broker_that_is_starting(settings: Settings) -> None:
    async with broker(settings) as first:
        endpoint = first.endpoint

    async def connect() -> bool:
        async with connected(endpoint, "gateway", settings) as connection:
            return connection.client.is_connected

    connecting = asyncio.create_task(connect())
    async with broker(settings):
        assert await connecting


async def test_a_broker_that_never_comes_is_given_up(settings: Settings) -> None:
    hasty = settings.model_copy(update={"nats_silence_s": 0.2})

    with pytest.raises(BrokerLost, match="no broker at"):
        async with connected(Endpoint("nats://127.0.0.1:1", {}), "gateway", hasty):
            pass


async def test_who_is_told_to_stop_as_his_answer_comes_stops() -> None:
    """`asyncio.wait_for`, with which nats-py waits, would forget it in Python 3.11."""
    answer: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    waiting = asyncio.create_task(heeding(asyncio.wait_for(answer, DEADLINE_S)))
    await asyncio.sleep(0)
    answer.set_result(None)
    waiting.cancel()
    await asyncio.wait([waiting])

    assert waiting.cancelled()


async def test_a_wrong_password_is_not_tried_again(running: Broker, settings: Settings) -> None:
    endpoint = Endpoint(running.endpoint.url, {"gateway": "wrong"})

    with pytest.raises(BrokerLost, match="refused gateway"):
        async with connected(endpoint, "gateway", settings):
            pass


async def test_the_fast_connection_signs_in_too(furnished: Broker, settings: Settings) -> None:
    async with wired(furnished.endpoint, "gateway", settings) as wire:
        answer = await wire.ask("$JS.API.STREAM.INFO.EVT", b"", 5.0)

    assert b'"name":"EVT"' in answer


async def test_a_broker_is_located_by_its_data_directory(settings: Settings) -> None:
    async with broker(settings) as running:
        assert await located(settings) == running.endpoint


async def test_a_foreign_broker_is_located_by_its_url(settings: Settings) -> None:
    foreign = settings.model_copy(update={"nats_url": "nats://nats.example:4222"})

    assert (await located(foreign)).url == "nats://nats.example:4222"


async def test_a_directory_without_a_broker_is_told(settings: Settings) -> None:
    hasty = settings.model_copy(update={"nats_silence_s": 0.1})

    with pytest.raises(BrokerLost, match="canopy run nats"):
        await located(hasty)


async def lost_while_connected(broker: Broker, settings: Settings) -> None:
    """The broker goes, and the client finds its transport closed."""
    async with connected(broker.endpoint, "gateway", settings) as connection:
        client, close = connection.client, connection.client.close

        async def closed() -> None:
            raise RuntimeError("unable to perform operation: the handler is closed")

        client.close = closed  # type: ignore[method-assign]
        await close()
        raise BrokerLost("gone")


async def test_a_transport_that_is_closed_under_the_client_hides_no_loss(
    furnished: Broker, settings: Settings
) -> None:
    """Closing it once more is an error to uvloop; what is told is that the broker has gone."""
    with pytest.raises(BrokerLost, match="gone"):
        await lost_while_connected(furnished, settings)

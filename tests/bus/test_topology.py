"""The streams are what they must be, or Canopy does not start."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import AsyncIterator
from typing import Any

import nats
import pytest
from nats.aio.client import Client

from bus.connection import connected
from bus.roles import Endpoint
from bus.server import HEADERS_BYTES, Broker
from bus.servers import Servers
from bus.topology import (
    Durable,
    TopologyRefused,
    Unfit,
    check,
    check_payload,
    check_server,
    check_stream,
    ensure,
    event_stream,
    state_of,
)
from bus.wire import BrokerLost
from schemas.settings import MIB, Settings

SERVER: dict[str, Any] = {"version": "2.15.1", "jetstream": {"config": {"sync_always": True}}}
INFO: dict[str, Any] = {
    "created": "2026-11-21T05:29:37Z",
    "state": {"messages": 3, "first_seq": 1, "last_seq": 3, "bytes": 100},
}


@pytest.fixture
async def supervisor(running: Broker, settings: Settings) -> AsyncIterator[Client]:
    async with connected(running.endpoint, "supervisor", settings) as connection:
        yield connection.client


@pytest.fixture
async def actors(running: Broker, settings: Settings, supervisor: Client) -> AsyncIterator[Client]:
    """The role that writes, on a broker with its streams."""
    await ensure(supervisor, running.endpoint, settings)
    async with connected(running.endpoint, "actors", settings) as connection:
        yield connection.client


async def asked(client: Client, verb: str, request: dict[str, Any] | None = None) -> dict[str, Any]:
    body = json.dumps(request).encode() if request else b""
    answer: dict[str, Any] = json.loads((await client.request(f"$JS.API.{verb}", body)).data)
    return answer


async def test_a_fresh_log_is_fit(running: Broker, settings: Settings, supervisor: Client) -> None:
    await ensure(supervisor, running.endpoint, settings)
    state = await check(supervisor, running.endpoint, settings)

    assert (state.last_seq, state.bytes) == (0, 0)


async def test_ensuring_twice_changes_nothing(
    running: Broker, settings: Settings, supervisor: Client
) -> None:
    durables = (Durable("inbox"), Durable("scheduler", "evt.task.>"))
    await ensure(supervisor, running.endpoint, settings, durables)
    before = (
        await asked(supervisor, "STREAM.INFO.EVT"),
        await asked(supervisor, "CONSUMER.INFO.EVT.scheduler"),
    )
    await ensure(supervisor, running.endpoint, settings, durables)
    after = (
        await asked(supervisor, "STREAM.INFO.EVT"),
        await asked(supervisor, "CONSUMER.INFO.EVT.scheduler"),
    )

    assert [a["config"] for a in before] == [a["config"] for a in after]
    assert [a["created"] for a in before] == [a["created"] for a in after]
    assert after[1]["config"]["filter_subject"] == "evt.task.>"


async def test_a_larger_log_is_made_larger(
    running: Broker, settings: Settings, supervisor: Client
) -> None:
    await ensure(supervisor, running.endpoint, settings)
    larger = Endpoint(running.endpoint.url, running.endpoint.passwords, 128 * MIB)
    await ensure(supervisor, larger, settings)
    config = (await asked(supervisor, "STREAM.INFO.EVT"))["config"]

    assert config["max_bytes"] == 128 * MIB


async def test_what_the_broker_will_not_have_is_an_error(
    running: Broker, settings: Settings, supervisor: Client
) -> None:
    huge = Endpoint(running.endpoint.url, running.endpoint.passwords, 1 << 50)

    with pytest.raises(TopologyRefused, match=r"STREAM\.CREATE"):
        await ensure(supervisor, huge, settings)


async def test_commits_are_counted(
    running: Broker, settings: Settings, supervisor: Client, actors: Client
) -> None:
    for n in range(3):
        await actors.jetstream().publish(f"evt.message.general.M{n}", b"x")

    assert (await check(supervisor, running.endpoint, settings)).last_seq == 3


async def test_nobody_can_take_anything_out_of_the_log(
    running: Broker, settings: Settings, supervisor: Client, actors: Client
) -> None:
    """Even a user whom we had granted everything would be refused by the stream itself."""
    await actors.jetstream().publish("evt.message.general.M1", b"x")
    info = await asked(supervisor, "STREAM.INFO.EVT")
    rollup = await actors.request(
        "evt.message.general.M1", b"y", headers={"Nats-Rollup": "sub"}, timeout=5
    )
    undone = await asked(supervisor, "STREAM.UPDATE.EVT", info["config"] | {"deny_delete": False})

    assert "error" in json.loads(rollup.data)
    assert "error" in undone
    assert (await check(supervisor, running.endpoint, settings)).last_seq == 1


async def test_a_log_that_is_full_refuses(
    running: Broker, settings: Settings, supervisor: Client
) -> None:
    tiny = Endpoint(running.endpoint.url, running.endpoint.passwords, 10_000)
    await ensure(supervisor, tiny, settings)
    async with connected(running.endpoint, "actors", settings) as actors:
        log = actors.client.jetstream()
        await log.publish("evt.message.general.M1", b"x" * 9_000)
        with pytest.raises(nats.js.errors.APIError, match="maximum bytes"):
            await log.publish("evt.message.general.M2", b"x" * 9_000)

    assert (await check(supervisor, running.endpoint, settings)).first_seq == 1


async def test_a_log_that_is_absent_is_unfit(
    running: Broker, settings: Settings, supervisor: Client
) -> None:
    with pytest.raises(Unfit, match="log_absent"):
        await check(supervisor, running.endpoint, settings)


async def test_a_broker_that_hides_how_it_stores_is_unfit(
    running: Broker, settings: Settings, supervisor: Client
) -> None:
    blind = Endpoint(running.endpoint.url, {}, servers=Servers([running.endpoint.url]))

    with pytest.raises(Unfit, match="CANOPY_NATS_SYSTEM_URL"):
        await check(supervisor, blind, settings)


async def test_our_own_broker_that_falls_silent_is_lost(
    running: Broker, settings: Settings, supervisor: Client
) -> None:
    """Not unfit: a new one will answer."""
    hasty = settings.model_copy(update={"nats_connect_timeout_s": 0.1})
    os.kill(running.pid, signal.SIGSTOP)
    try:
        with pytest.raises(BrokerLost):
            await ensure(supervisor, running.endpoint, hasty)
        with pytest.raises(BrokerLost):
            await check(supervisor, running.endpoint, hasty)
    finally:
        os.kill(running.pid, signal.SIGCONT)


@pytest.mark.parametrize("version", ["2.15.0", "2.14.9", "1.99.99", "2.9.25-beta.1"])
def test_an_old_server_is_unfit(version: str) -> None:
    with pytest.raises(Unfit, match="server_old"):
        check_server(SERVER | {"version": version})


@pytest.mark.parametrize("version", ["2.15.1", "2.16.0-RC.1", "3.0.0"])
def test_a_newer_server_is_fit(version: str) -> None:
    check_server(SERVER | {"version": version})


def test_a_server_that_takes_less_than_a_commit_is_unfit() -> None:
    """It would end the connection, and with it everybody's."""
    knobs = Settings(payload_bytes_max=MIB)
    check_payload({"max_payload": MIB + HEADERS_BYTES}, knobs)

    with pytest.raises(Unfit, match="payload_small"):
        check_payload({"max_payload": MIB}, knobs)


@pytest.mark.parametrize("jetstream", [{}, {"config": None}, {"config": {"sync_interval": 120}}])
def test_a_server_that_syncs_later_is_unfit(jetstream: dict[str, Any]) -> None:
    with pytest.raises(Unfit, match="sync_lazy"):
        check_server(SERVER | {"jetstream": jetstream})


@pytest.mark.parametrize(
    "change",
    [
        {"deny_delete": False},
        {"deny_purge": False},
        {"allow_rollup_hdrs": True},
        {"allow_msg_ttl": True},
        {"persist_mode": "async"},
        {"storage": "memory"},
        {"retention": "workqueue"},
        {"discard": "old"},
        {"max_age": 1},
        {"max_msgs": 10},
        {"max_msgs_per_subject": 1},
        {"allow_atomic": False},
        {"subjects": ["evt.>", "other"]},
        {"subject_transform": {"src": "evt.>", "dest": "x.>"}},
    ],
)
def test_a_stream_that_could_lose_something_is_unfit(change: dict[str, Any]) -> None:
    config = event_stream(Settings(), 64 * MIB)
    check_stream(config)

    with pytest.raises(Unfit, match=next(iter(change))):
        check_stream(config | change)


@pytest.mark.parametrize(
    ("change", "first"),
    [
        ({"lost": {"msgs": [2], "bytes": 10}}, 2),
        ({"lost": {"msgs": None, "bytes": 10}}, 4),
        ({"messages": 2}, 1),
        ({"messages": 2, "num_deleted": 1, "deleted": [3]}, 3),
        ({"messages": 2, "first_seq": 2}, 1),
    ],
)
def test_a_log_with_something_missing_is_known_by_its_state(
    change: dict[str, Any], first: int
) -> None:
    assert state_of(INFO).missing == 0
    assert state_of(INFO | {"state": INFO["state"] | change}).missing == first

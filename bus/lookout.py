"""On which side of a cluster this process stands: it looks out, and moves to a better server.

A server that is cut off from its cluster still talks to us and knows nothing: the log has no leader
there. One that has died without a word leaves a connection on which nothing comes. In both cases
the process must attach elsewhere, and it may only leave for a server that does better: while
no majority is left anywhere, it stays, and its tables can be read.
"""

from __future__ import annotations

import asyncio
from typing import Never

import structlog

from bus.client import place
from bus.connection import RETRY_S, dialled, put_off, wired
from bus.jetstream import JetStreamLog
from bus.leading import led
from bus.log import Leaderless
from bus.roles import Endpoint, Role
from bus.topology import UNSEEN, Unfit, check_servers
from bus.wire import BrokerLost, Wire
from schemas.settings import Settings

journal = structlog.get_logger()


async def settle(endpoint: Endpoint, role: Role, settings: Settings) -> None:
    """The first server to be tried is one that knows the log's leader, or that there is no log yet.

    Raises `BrokerLost` when none does in `nats_silence_s`; the text says why for each.
    """
    servers = endpoint.servers_of(role)
    faults: dict[str, str] = {}
    try:
        async with asyncio.timeout(settings.nats_silence_s):
            while servers is not None:
                for address in servers.in_turn:
                    fault = await _fault(endpoint, role, address, settings)
                    if not fault:
                        return servers.prefer(address)
                    faults[place(address)] = fault
                await asyncio.sleep(RETRY_S)
    except TimeoutError as error:
        told = "; ".join(f"{where}: {fault}" for where, fault in faults.items())
        raise BrokerLost(
            f"no server of {endpoint.url} can lead {role} to the log in "
            f"{settings.nats_silence_s} s ({told})"
        ) from error


async def look_out(wire: Wire, endpoint: Endpoint, role: Role, settings: Settings) -> Never:
    """Raises `BrokerLost` when our server says nothing any more, or another one does better."""
    failures = 0
    while True:
        await asyncio.sleep(settings.nats_look_every_s)
        try:
            await wire.ping(settings.nats_look_timeout_s)
        except TimeoutError as error:
            put_off(endpoint, role, wire.address)
            raise BrokerLost(
                f"the server said nothing for {settings.nats_look_timeout_s} s"
            ) from error
        failures = 0 if await _leads(wire, settings) else failures + 1
        if failures >= settings.nats_look_failures_max:
            failures = 0
            better = await _better(endpoint, role, wire.address, settings)
            if better:
                raise BrokerLost(f"our server knows no leader of the log, {better} does")
            journal.warning("log_leaderless", remedy="bring back a majority of the servers")


async def begun(endpoint: Endpoint, settings: Settings) -> bool:
    """Whether there is a log at *endpoint*, with something in it. Raises `BrokerLost`."""
    await settle(endpoint, "gateway", settings)
    async with wired(endpoint, "gateway", settings) as wire:
        try:
            return bool((await JetStreamLog.info(wire, settings))["state"]["last_seq"])
        except Leaderless as error:
            raise BrokerLost(str(error)) from error
        except BrokerLost:
            if wire.lost.done():
                raise
            return False


async def keep_checking(endpoint: Endpoint, settings: Settings) -> Never:
    """Raises `bus.topology.Unfit` as soon as a server of the cluster is there that would not keep
    what it acknowledges: one may have been started anew, with another configuration."""
    while True:
        await asyncio.sleep(settings.nats_health_every_s)
        try:
            await check_servers(endpoint, settings)
        except Unfit as unfit:
            if unfit.fault not in UNSEEN:
                raise
            journal.warning("servers_unseen", reason=str(unfit))


async def _better(endpoint: Endpoint, role: Role, ours: str, settings: Settings) -> str:
    """A server other than *ours* that knows the log's leader, and is tried first from now on."""
    servers = endpoint.servers_of(role)
    for address in endpoint.addresses(role):
        if address == ours or servers is None:
            continue
        if not await _fault(endpoint, role, address, settings):
            servers.prefer(address)
            return place(address)
    return ""


async def _fault(endpoint: Endpoint, role: Role, address: str, settings: Settings) -> str:
    """Why the server at *address* is of no use; empty when it is."""
    try:
        wire = await dialled(endpoint, role, address, settings)
    except (OSError, TimeoutError) as error:
        return str(error) or f"silent for {settings.nats_dial_timeout_s} s"
    try:
        return "" if await _leads(wire, settings) else "knows no leader of the log"
    finally:
        wire.close()


async def _leads(wire: Wire, settings: Settings) -> bool:
    """Whether somebody who may decide answers behind *wire*, and be it that there is no log."""
    try:
        async with asyncio.timeout(settings.nats_look_timeout_s):
            info = await JetStreamLog.info(wire, settings)
    except (Leaderless, TimeoutError):
        return False
    except BrokerLost:
        return not wire.lost.done()
    return led(info)

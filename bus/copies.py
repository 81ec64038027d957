"""In how many copies a cluster keeps the log, and what is said of fewer than it could.

A log that was begun while one server was to be seen keeps one copy when the others come; a log that
was put there by somebody else may have one, too. Nothing tells until that server is lost.
"""

from __future__ import annotations

from bus.connection import wired
from bus.jetstream import JetStreamLog
from bus.log import Leaderless
from bus.roles import Endpoint
from bus.topology import Unfit, check_servers
from bus.wire import BrokerLost, Wire
from schemas.settings import Settings

COPIES = 3
"""Of the log, where a cluster has the servers for it: one of them may go."""
REMEDY = "set CANOPY_NATS_REPLICAS=3 and start the node again; 1 says that one copy is meant"


def thin(servers: int, copies: int, settings: Settings) -> str:
    """What is said of *copies* of the log on so many *servers*; empty when they are enough, or as
    many as the settings ask for."""
    if servers < COPIES or copies >= COPIES or settings.nats_replicas == copies:
        return ""
    kept = "one copy" if copies == 1 else f"{copies} copies"
    return f"{servers} servers keep the log in {kept}, and it goes with one of them: {REMEDY}"


async def counted(endpoint: Endpoint, wire: Wire, settings: Settings) -> str:
    """What `thin` says of the log behind *wire*; of servers that are not to be seen, the reason."""
    if not endpoint.external:
        return ""
    try:
        servers = await check_servers(endpoint, settings)
        if servers < COPIES:
            return ""
        config = (await JetStreamLog.info(wire, settings))["config"]
    except (Unfit, BrokerLost, Leaderless, TimeoutError) as error:
        return f"the copies of the log cannot be counted: {error}"
    return thin(servers, int(config.get("num_replicas", 1)), settings)


async def counted_anew(endpoint: Endpoint, settings: Settings) -> str:
    """The same, over a connection of its own."""
    try:
        async with wired(endpoint, "notary", settings) as wire:
            return await counted(endpoint, wire, settings)
    except BrokerLost as error:
        return f"the copies of the log cannot be counted: {error}"

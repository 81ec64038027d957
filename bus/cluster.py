"""What the servers of a cluster have to be told, so that Canopy can run on them.

`canopy nats config` prints it. The users are those of the embedded broker, each with its exact
subjects (`bus.roles`); their passwords lie in one file, which the processes of the node read too.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from secrets import token_urlsafe
from typing import Any

from bus.files import written
from bus.roles import SYSTEM_ACCOUNT, accounts, passwords
from bus.server import HEADERS_BYTES
from schemas.servers import PORT
from schemas.settings import Settings

ROUTE_PORT = 6222
ROUTES = "cluster"
"""By which name the servers sign in to each other."""
PING_S = 2
PINGS_MAX = 2
"""A server that is gone without a word is noticed after so many pings."""


@dataclass(frozen=True, slots=True)
class Member:
    """One server: its name, the address at which it is reached, and where it keeps its copy."""

    name: str
    address: str
    store: str
    port: int = PORT
    route_port: int = ROUTE_PORT


def member_configuration(
    member: Member, peers: Sequence[str], secrets: Path, settings: Settings
) -> dict[str, Any]:
    """The whole configuration of *member* (nats-server's language contains JSON).

    *peers* are the addresses (host or host:port) of all members; the passwords in *secrets* are
    made at first use.
    """
    kept = _secrets(secrets)
    routes = [f"nats://{ROUTES}:{kept[ROUTES]}@{_routed(peer)}" for peer in peers]
    return {
        "server_name": member.name,
        "listen": f"{member.address}:{member.port}",
        "jetstream": {"store_dir": member.store, "sync_interval": "always"},
        "max_payload": settings.payload_bytes_max + HEADERS_BYTES,
        "write_deadline": f"{settings.nats_write_deadline_s}s",
        "ping_interval": f"{PING_S}s",
        "ping_max": PINGS_MAX,
        "cluster": {
            "name": "canopy",
            "listen": f"{member.address}:{member.route_port}",
            "authorization": {"user": ROUTES, "password": kept[ROUTES]},
            "routes": routes,
            "ping_interval": f"{PING_S}s",
            "ping_max": PINGS_MAX,
        },
        "accounts": accounts(kept, -1),
        "system_account": SYSTEM_ACCOUNT,
    }


def _routed(peer: str) -> str:
    bare = ":" in peer and peer.count(":") == 1
    return peer if bare else f"{peer}:{ROUTE_PORT}"


def _secrets(path: Path) -> dict[str, str]:
    """The passwords of all roles, and that of the routes, which no client has."""
    kept = passwords(path)
    if ROUTES not in kept:
        kept[ROUTES] = token_urlsafe(32)
        written(path, json.dumps(kept, indent=1))
    return kept

"""Whether who says that it leads the log may be believed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

SILENCE_NS_MAX = 3_500_000_000
"""Since a leader last heard from a copy: it beats once a second, and nobody is elected in its place
within 4 s of a beat (`minElectionTimeout` of nats-server)."""


def led(info: Mapping[str, Any]) -> bool:
    """Whether the stream of *info* (JetStream's STREAM.INFO) has a leader whom a majority follows.

    One that is cut off goes on for some 20 s in the belief that it leads; by how long it has heard
    nothing from the others it tells on itself. A server that stands alone leads.
    """
    cluster = info.get("cluster")
    if cluster is None:
        return True
    copies = cluster.get("replicas") or []
    heard = [
        one for one in copies if not one.get("offline") and one.get("active", 0) < SILENCE_NS_MAX
    ]
    return bool(cluster.get("leader")) and 2 * (len(heard) + 1) > len(copies) + 1

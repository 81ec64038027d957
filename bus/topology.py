"""What must exist in the broker, declared: the log, the bucket of snapshots, durable consumers.

`ensure` makes it so, as often as you like; `check` refuses to run on a log that would not keep its
promises. The broker is asked in its own JSON, so that nothing a client library does not know yet
gets lost.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from nats.aio.client import Client
from nats.errors import Error as NatsError

from bus.client import heeding
from bus.health import Sick, asked, surveyed
from bus.log import LEADERLESS, REMEDY
from bus.program import VERSION_MIN, dotted, numbered
from bus.roles import BUCKET_STREAM, Endpoint
from bus.server import BUCKET_BYTES_MAX, HEADERS_BYTES
from bus.subjects import EVENTS, STREAM
from bus.wire import BrokerLost
from schemas.settings import Settings

STREAM_ABSENT = 10059
CONSUMER_ABSENT = 10014
UNSEEN = frozenset({"system_unseen", "majority_unseen"})
"""Faults that say of no server that it is unfit, only that too few were looked at."""
NANOSECONDS = 1_000_000_000
ACK_WAIT_S = 60

Json = dict[str, Any]
DETAILS: Json = {"deleted_details": True}


class TopologyRefused(Exception):
    """The broker refuses what must exist, and says why."""


class Unfit(Exception):
    """The log would not keep its promises. `fault` is stable; the text says what to do."""

    def __init__(self, fault: str, remedy: str) -> None:
        super().__init__(f"{fault}: {remedy}")
        self.fault = fault


@dataclass(frozen=True, slots=True)
class Durable:
    """A reactor's place in the log: the name of its room, and which commits it wants."""

    name: str
    subjects: str = EVENTS


@dataclass(frozen=True, slots=True)
class LogState:
    """The log as it was found. `created` (the broker's timestamp) is what makes its epoch;
    `missing` is the first position that the broker knows it has lost, or 0."""

    created: str
    first_seq: int
    last_seq: int
    bytes: int
    missing: int = 0


def event_stream(settings: Settings, log_bytes_max: int) -> Json:
    """The log. Nothing in it can be deleted, replaced, or expire; when it is full it refuses."""
    return {
        "name": STREAM,
        "subjects": [EVENTS],
        "storage": "file",
        "retention": "limits",
        "discard": "new",
        "max_bytes": log_bytes_max or -1,
        "max_msg_size": settings.payload_bytes_max + HEADERS_BYTES,
        "duplicate_window": settings.duplicate_window_s * NANOSECONDS,
        "deny_delete": True,
        "deny_purge": True,
        "allow_atomic": True,
        "allow_direct": True,
    }


def snapshot_bucket() -> Json:
    """Snapshots of aggregates: a cache, the last one of each."""
    return {
        "name": BUCKET_STREAM,
        "subjects": ["$KV.SNAPSHOT.>"],
        "storage": "file",
        "retention": "limits",
        "discard": "new",
        "max_msgs_per_subject": 1,
        "max_bytes": BUCKET_BYTES_MAX,
        "duplicate_window": 2 * NANOSECONDS,
        "deny_delete": True,
        "allow_rollup_hdrs": True,
        "allow_direct": True,
    }


def consumer(durable: Durable) -> Json:
    """A durable pull consumer that gets everything from the start, and drops nothing."""
    return {
        "durable_name": durable.name,
        "deliver_policy": "all",
        "ack_policy": "explicit",
        "ack_wait": ACK_WAIT_S * NANOSECONDS,
        "max_deliver": -1,
        "max_ack_pending": 1000,
        "replay_policy": "instant",
        "filter_subject": durable.subjects,
    }


async def ensure(
    supervisor: Client,
    endpoint: Endpoint,
    settings: Settings,
    durables: Iterable[Durable] = (),
    replicas: int = 1,
) -> None:
    """The streams and consumers exist as declared, with *replicas* copies unless the settings say
    how many. Raises `TopologyRefused`, or `BrokerLost`."""
    for config in (event_stream(settings, endpoint.log_bytes_max), snapshot_bucket()):
        await _ensure_stream(supervisor, config, replicas, settings)
    for durable in durables:
        config = consumer(durable)
        name = f"{STREAM}.{durable.name}"
        found = await _api(
            supervisor, f"CONSUMER.INFO.{name}", None, settings, absent=CONSUMER_ABSENT
        )
        if found is None or _differs(config, found["config"]):
            request = {"stream_name": STREAM, "config": config}
            await _api(supervisor, f"CONSUMER.DURABLE.CREATE.{name}", request, settings)


async def present(supervisor: Client, settings: Settings) -> bool:
    """Whether the broker has the log. Raises `BrokerLost`, or `TopologyRefused`."""
    name = f"STREAM.INFO.{STREAM}"
    return await _api(supervisor, name, None, settings, absent=STREAM_ABSENT) is not None


async def _ensure_stream(
    supervisor: Client, config: Json, replicas: int, settings: Settings
) -> None:
    """A stream that is there keeps its copies unless the settings name another number: how many
    servers can be seen at this moment is no reason to have fewer."""
    name = config["name"]
    found = await _api(supervisor, f"STREAM.INFO.{name}", None, settings, absent=STREAM_ABSENT)
    if found is None:
        config["num_replicas"] = settings.nats_replicas or replicas
        await _api(supervisor, f"STREAM.CREATE.{name}", config, settings)
        return
    config["num_replicas"] = settings.nats_replicas or found["config"]["num_replicas"]
    if _differs(config, found["config"]):
        await _api(supervisor, f"STREAM.UPDATE.{name}", config, settings)


def _differs(wanted: Json, found: Json) -> bool:
    return any(found.get(key) != value for key, value in wanted.items())


async def check(supervisor: Client, endpoint: Endpoint, settings: Settings) -> LogState:
    """The log's state, when it can be trusted to keep what it acknowledges. Raises `Unfit`.

    What cannot be seen is not believed: a broker that hides its configuration is unfit. Our own
    hides nothing: when it is silent it has gone, which is `BrokerLost`.
    """
    await check_servers(endpoint, settings)
    info = await _api(supervisor, f"STREAM.INFO.{STREAM}", DETAILS, settings, absent=STREAM_ABSENT)
    if info is None:
        raise Unfit("log_absent", f"there is no stream {STREAM}: start Canopy once with its rights")
    check_stream(info["config"])
    return state_of(info)


async def check_servers(endpoint: Endpoint, settings: Settings) -> int:
    """How many servers the broker has, each of which keeps what it acknowledges.

    In a cluster, any of them may be told to lead: all that are there are looked at, and that must
    be more than half, so that nothing is acknowledged by those we have not seen. Raises `Unfit`,
    or `BrokerLost` when our own is silent.
    """
    try:
        if endpoint.external:
            servers = await surveyed(endpoint, "VARZ", settings.nats_connect_timeout_s)
        else:
            servers = [await asked(endpoint, "VARZ", settings.nats_connect_timeout_s)]
    except Sick as error:
        if not endpoint.external:
            raise BrokerLost(f"the broker went while it was looked at: {error}") from error
        raise Unfit(
            "system_unseen",
            f"{error}. Let Canopy see how the servers store: name a user of their system account "
            "in CANOPY_NATS_SYSTEM_URL, or `system` in CANOPY_NATS_CREDENTIALS.",
        ) from error
    keepers = [server for server in servers if (server.get("jetstream") or {}).get("config")]
    for server in keepers or servers:
        check_server(server)
        check_payload(server, settings)
    size = max((_cluster_size(server) for server in servers), default=1)
    if 2 * len(keepers) <= size:
        raise Unfit(
            "majority_unseen",
            f"{len(keepers)} of {size} servers of the cluster say how they store: start the others",
        )
    return size


def _cluster_size(server: Mapping[str, Any]) -> int:
    """How many servers keep streams in the cluster of *server*, by its own account."""
    return int((server["jetstream"].get("meta") or {}).get("cluster_size", 1))


def check_server(server: Mapping[str, Any]) -> None:
    """Raises `Unfit` unless the server is new enough and syncs before it acknowledges."""
    if numbered(str(server["version"])) < VERSION_MIN:
        what = f"nats-server{_named(server)} is {server['version']}"
        raise Unfit("server_old", f"{what}: upgrade it to {dotted(VERSION_MIN)}")
    stored = server.get("jetstream", {}).get("config") or {}
    if not stored.get("sync_always"):
        raise Unfit(
            "sync_lazy",
            f"the broker{_named(server)} acknowledges before it syncs, and a power cut would take "
            "what it acknowledged: set `sync_interval: always` in its jetstream block",
        )


def _named(server: Mapping[str, Any]) -> str:
    """Which of several servers it is; nothing where there is one."""
    return f" {server['server_name']}" if server.get("cluster", {}).get("name") else ""


def check_payload(server: Mapping[str, Any], settings: Settings) -> None:
    """Raises `Unfit` when the broker would cut us off for a commit that we may write."""
    wanted = settings.payload_bytes_max + HEADERS_BYTES
    if server["max_payload"] < wanted:
        raise Unfit(
            "payload_small",
            f"the broker takes {server['max_payload']} bytes at once and a commit may have "
            f"{wanted}: raise its max_payload, or lower payload_bytes_max",
        )


def check_stream(config: Mapping[str, Any]) -> None:
    """Raises `Unfit` when the log could lose, forget or replace something by itself."""
    wanted = {
        "subjects": [EVENTS],
        "storage": "file",
        "retention": "limits",
        "discard": "new",
        "deny_delete": True,
        "deny_purge": True,
        "allow_atomic": True,
        "allow_direct": True,
    }
    unwanted = (
        "allow_rollup_hdrs", "allow_msg_ttl", "allow_msg_counter", "allow_msg_schedules",
        "max_age", "mirror", "sources", "no_ack", "sealed", "subject_transform",
    )  # fmt: skip
    wrong = [key for key, value in wanted.items() if config.get(key) != value]
    wrong += [key for key in unwanted if config.get(key)]
    wrong += ["persist_mode"] if config.get("persist_mode") not in (None, "", "default") else []
    wrong += [k for k in ("max_msgs", "max_msgs_per_subject") if config.get(k, -1) > 0]
    if wrong:
        raise Unfit(
            "log_unsafe",
            f"stream {STREAM} is not configured as a log ({', '.join(wrong)}): {REMEDY}",
        )


def state_of(info: Mapping[str, Any]) -> LogState:
    """The log's state, in what the broker says of its stream (with `deleted_details`)."""
    state = info["state"]
    holes = state["last_seq"] - state["messages"]  # Also counts what is missing before the first.
    lost = state.get("lost") or {}
    missing = 0
    if lost or holes or (state["messages"] and state.get("num_deleted")):
        first = [1] if state["first_seq"] > 1 else []
        gaps = [*first, *(state.get("deleted") or ()), *(lost.get("msgs") or ())]
        missing = min(gaps, default=1 if holes else state["last_seq"] + 1)
    return LogState(info["created"], state["first_seq"], state["last_seq"], state["bytes"], missing)


async def _api(
    client: Client, verb: str, request: Json | None, settings: Settings, absent: int = 0
) -> Json | None:
    """The broker's answer, or None when it says that there is no such thing (code *absent*).

    Raises `BrokerLost` when it says nothing, `TopologyRefused` when it refuses.
    """
    body = b"" if request is None else json.dumps(request).encode()
    try:
        asking = client.request(f"$JS.API.{verb}", body, timeout=settings.nats_connect_timeout_s)
        reply = await heeding(asking)
    except (NatsError, TimeoutError) as error:
        raise BrokerLost(f"{verb}: no answer ({error})") from error
    answer: Json = json.loads(reply.data)
    fault = answer.get("error")
    if fault is None:
        return answer
    if fault.get("err_code") in LEADERLESS:
        raise BrokerLost(f"{verb}: {fault.get('description')}")
    if absent and fault.get("err_code") == absent:
        return None
    raise TopologyRefused(f"{verb}: {fault.get('description')} ({fault.get('err_code')})")

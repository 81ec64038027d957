"""What a broker is asked about itself: JetStream's API and the system account, in its own JSON."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Iterable
from datetime import UTC, datetime
from itertools import islice
from typing import TYPE_CHECKING, Any

from gateway.bench.simulation.consumer import Place
from gateway.bench.simulation.session import VERSION
from gateway.bench.simulation.stream import Kept, Stream

if TYPE_CHECKING:
    from gateway.bench.simulation.broker import Broker

Json = dict[str, Any]
API = "$JS.API."
SYSTEM = "$SYS.REQ.SERVER.PING."
NOT_FOUND = b"NATS/1.0 404 Message Not Found\r\n\r\n"
STREAM_ABSENT = {"code": 404, "err_code": 10059, "description": "stream not found"}
CONSUMER_ABSENT = {"code": 404, "err_code": 10014, "description": "consumer not found"}


def answered(broker: Broker, subject: str, reply: str, payload: bytes) -> bool:
    """Whether *subject* is a question that a broker answers; it is answered then."""
    if subject.startswith(SYSTEM):
        _reply(broker, reply, {"data": _system(broker, subject[len(SYSTEM) :])})
        return True
    if not subject.startswith(API):
        return False
    words = subject[len(API) :].split(".")
    match words:
        case ["STREAM", verb, name]:
            _reply(broker, reply, _stream(broker, verb, name, payload))
        case ["CONSUMER", "MSG", "NEXT", stream, name]:
            consumer = broker.consumers.get(f"{stream}.{name}")
            if consumer is None:
                return False
            consumer.pull(reply, payload)
        case ["CONSUMER", *verbs, stream, name]:
            _reply(broker, reply, _consumer(broker, ".".join(verbs), f"{stream}.{name}", payload))
        case ["DIRECT", "GET", name, *subjects]:
            _got(broker, broker.disk.streams[name], ".".join(subjects), reply, payload)
        case _:
            return False
    return True


def instant(time_s: float) -> str:
    """A moment as nats-server writes it."""
    return datetime.fromtimestamp(time_s, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _reply(broker: Broker, reply: str, answer: Json) -> None:
    if reply:
        broker.say(reply, reply, "", b"", json.dumps(answer).encode())


def _system(broker: Broker, about: str) -> Json:
    match about:
        case "HEALTHZ":
            return {"status": "unavailable" if broker.frozen else "ok"}
        case "VARZ":
            always = {"config": {"sync_always": True}}  # What a lazy one would say too, if it lied.
            payload = broker.behaviour.max_payload
            return {"version": VERSION, "max_payload": payload, "jetstream": always}
    return {}


def _stream(broker: Broker, verb: str, name: str, payload: bytes) -> Json:
    streams = broker.disk.streams
    if verb == "CREATE" and name not in streams:
        created = instant(broker.behaviour.wall_s())
        streams[name] = Stream(json.loads(payload), created)
    if name not in streams:
        return {"error": STREAM_ABSENT}
    stream = streams[name]
    if verb == "UPDATE":
        stream.config = json.loads(payload)
    messages = sum(one is not None for one in stream.kept)
    state = {
        "messages": messages,
        "bytes": stream.bytes,
        "first_seq": 1 if messages else 0,
        "last_seq": stream.head,
        "consumer_count": len(broker.consumers),
    }
    return {"config": stream.config, "created": stream.created, "state": state}


def _consumer(broker: Broker, verb: str, name: str, payload: bytes) -> Json:
    if verb == "DURABLE.CREATE":
        broker.consume(name, json.loads(payload)["config"], deque([Place()]))
    consumer = broker.consumers.get(name)
    if consumer is None:
        return {"error": CONSUMER_ABSENT}
    if verb == "DELETE":
        del broker.consumers[name], broker.disk.places[name]
        consumer.close(b"NATS/1.0 409 Consumer Deleted\r\n\r\n")
        return {"success": True}
    floor = {"stream_seq": consumer.place.floor}
    return {"name": consumer.name, "config": consumer.config, "ack_floor": floor}


def _got(broker: Broker, stream: Stream, subject: str, reply: str, payload: bytes) -> None:
    """Direct Get (ADR-31 of NATS): the last of one subject, or a page."""
    if subject:
        last = stream.at(stream.last.get(subject, 0))
        block = NOT_FOUND if last is None else _block(stream, last, "")
        broker.say(reply, reply, "", block, last.payload if last else b"")
        return
    query: Json = json.loads(payload)
    wanted, most = query.get("next_by_subj", ""), query.get("batch", 1)
    found = stream.following(query.get("seq", 1), wanted)
    page = list(_within(islice(found, most), query.get("max_bytes", 0)))
    before = 0
    pending = stream.pending(query.get("seq", 1), wanted)
    for one in page:
        pending -= 1
        more = f"Nats-Num-Pending: {pending}\r\nNats-Last-Sequence: {before}\r\n"
        broker.say(reply, reply, "", _block(stream, one, more), one.payload)
        before = one.seq
    last_word = f"NATS/1.0 204 EOB\r\nNats-Num-Pending: {pending}\r\nNats-Last-Sequence: {before}"
    end = f"{last_word}\r\n\r\n".encode() if page else NOT_FOUND
    broker.say(reply, reply, "", end, b"")


def _within(found: Iterable[Kept], bytes_max: int) -> Iterable[Kept]:
    """As many as *bytes_max* allows, and one at least; 0 allows everything."""
    size = 0
    for one in found:
        yield one
        size += len(one.payload)
        if 0 < bytes_max <= size:
            return


def _block(stream: Stream, one: Kept, more: str) -> bytes:
    """The message's own headers, and what the server tells of it."""
    told = (
        f"Nats-Stream: {stream.config['name']}\r\nNats-Subject: {one.subject}\r\n"
        f"Nats-Sequence: {one.seq}\r\nNats-Time-Stamp: {instant(one.time_s)}\r\n{more}\r\n"
    )
    own = one.block[:-2] if one.block else b"NATS/1.0\r\n"
    return own + told.encode()

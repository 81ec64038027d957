"""How a commit is written: a signed header, its events, and CloudEvents attributes around them.

    {"header":{"v":1,"id":…,"noun":…,…,"digest":…},"events":[{"kind":…,"data":{…}}]}

The header's exact bytes are what a signature covers (ADR 0004); its `digest` covers the exact bytes
of the events. Both are cut out of the stored payload, never written anew. NATS headers repeat what
a consumer of CloudEvents 1.0 wants to know without opening the payload.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from hashlib import blake2b
from typing import Any

import msgspec
import orjson

from bus.clock import iso
from schemas.envelope import Commit, Event, Header, Sealable
from schemas.upcasters import UPCASTERS, FutureVersion, Upcasters, version
from schemas.vocabulary import EVENTS

OPENING = b'{"header":'
MIDDLE = b',"events":'
HEADER_VERSION = 1
HEADERS = msgspec.json.Decoder(Header)
MISMATCH = "the events do not have the digest in the header"
TRACEPARENT = re.compile("[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")


class Unsealed(Exception):
    """A private event was about to be written in clear."""


class Undecodable(ValueError):
    """The bytes at one position of the log are not a commit that this program can read."""


def digest(events: bytes) -> str:
    """BLAKE2b-256 of the exact bytes of a commit's events, in hex."""
    return blake2b(events, digest_size=32).hexdigest()


def encode(
    header: Header, events: Sequence[Event], upcasters: Upcasters = UPCASTERS
) -> tuple[bytes, bytes]:
    """The NATS header block, still open at its end, and the payload of a commit; fills in the
    header's digest."""
    body = b"[%b]" % b",".join([_fact(event, upcasters) for event in events])
    head = msgspec.json.encode(msgspec.structs.replace(header, digest=digest(body)))
    return attributes(header), b"".join((OPENING, head, MIDDLE, body, b"}"))


def attributes(header: Header) -> bytes:
    """The NATS header block of a commit, still open at its end."""
    told = (
        f"NATS/1.0\r\nce-specversion: 1.0\r\nce-id: {header.id}\r\n"
        f"ce-type: canopy.{header.noun}.committed\r\nce-source: /nodes/{header.origin}\r\n"
        f"ce-subject: {header.noun}/{header.key}\r\nce-time: {iso(header.clock)}\r\n"
        "content-type: application/json\r\n"
    )
    if TRACEPARENT.fullmatch(header.traceparent):  # Callers send what they like; see also CR LF.
        told += f"traceparent: {header.traceparent}\r\n"
    return told.encode()


def _fact(event: Event, upcasters: Upcasters) -> bytes:
    kind, present = event.kind.encode(), version(event.kind, upcasters)
    without = _left_out(event)
    data = event.__pydantic_serializer__.to_json(event, exclude=without, exclude_defaults=True)
    if present == 1:
        return b'{"kind":"%b","data":%b}' % (kind, data)
    return b'{"kind":"%b","v":%d,"data":%b}' % (kind, present, data)


def _left_out(event: Event) -> set[str]:
    """The fields that are not written: of a private event, what it hides.

    Raises `Unsealed` when nothing has sealed that.
    """
    if not isinstance(event, Sealable) or not event.private:
        return {"kind"}
    if event.sealed is None:
        raise Unsealed(f"{event.kind} is private, and nothing has sealed it")
    return {"kind", *event.HIDES}


def parse(payload: bytes, upcasters: Upcasters = UPCASTERS) -> dict[str, Any]:
    """The JSON of a commit, its events in today's shapes, checked against its digest: no models.

    Raises `Undecodable`. For readers that only move facts about; whoever decides uses `decode`.
    """
    try:
        _, body = split(payload)
        commit: dict[str, Any] = orjson.loads(payload)
        header = commit["header"]
        if (v := header["v"]) != HEADER_VERSION:
            raise FutureVersion(f"header version {v} is not the {HEADER_VERSION} known here")
        if header["digest"] != digest(body):
            raise Undecodable(MISMATCH)
        for fact in commit["events"]:
            if "v" in fact or fact["kind"] in upcasters.versions:
                fact["data"] = upcasters.upcast(fact["kind"], fact.pop("v", 1), fact["data"])
        return commit
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise Undecodable(f"not a commit: {error}") from error


def decode(payload: bytes, seq: int = 0, upcasters: Upcasters = UPCASTERS) -> Commit:
    """The commit in *payload*, checked against its digest and its models, in today's shapes.

    Raises `Undecodable` with the position and the reason.
    """
    try:
        header = HEADERS.decode(split(payload)[0])
        facts = parse(payload, upcasters)["events"]
        return Commit(header, tuple(revive(fact) for fact in facts), seq)
    except (ValueError, KeyError, TypeError, RecursionError, msgspec.MsgspecError) as error:
        raise Undecodable(f"position {seq}: {error}") from error


def revive(fact: dict[str, Any]) -> Event:
    """The event that a fact tells of. Raises KeyError for an unknown kind."""
    return EVENTS[fact["kind"]].model_validate({"kind": fact["kind"], **fact["data"]})


def prove(payload: bytes) -> Header:
    """The header in *payload*, whose events have the digest that it tells; they are not looked
    into. Raises `Undecodable`.
    """
    head, body = split(payload)
    try:
        header = HEADERS.decode(head)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise Undecodable(f"its header cannot be read: {error}") from error
    if header.digest != digest(body):
        raise Undecodable(MISMATCH)
    return header


def split(payload: bytes) -> tuple[bytes, bytes]:
    """The exact bytes of the header and of the events, cut out of *payload*.

    Raises `Undecodable`, also for what only has bytes before or after a commit: the broker's
    checksum does not tell where its own headers end and the payload begins.
    """
    # A quote within a text is written \\", so the first of these bytes end the header; and a header
    # with a field of that name is none of ours.
    end = payload.find(MIDDLE)
    if not payload.startswith(OPENING) or not payload.endswith(b"}") or end < 0:
        raise Undecodable("does not begin with a header that events follow")
    return payload[len(OPENING) : end], payload[end + len(MIDDLE) : -1]

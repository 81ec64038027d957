"""One client's connection, as the broker sees it: the NATS protocol in bytes."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from gateway.bench.simulation.broker import Broker

CRLF = b"\r\n"
VERSION = "2.15.1"


@dataclass(frozen=True, slots=True, eq=False)
class Subscription:
    """What a client listens to; `queue` is empty for who wants everything."""

    session: Session
    sid: str
    pattern: str
    queue: str


def matches(pattern: str, subject: str) -> bool:
    """Whether *subject* is one of *pattern* (`*` one token, `>` the rest)."""
    wanted, told = pattern.split("."), subject.split(".")
    for place, word in enumerate(wanted):
        if word == ">":
            return len(told) > place
        if place >= len(told) or word not in ("*", told[place]):
            return False
    return len(told) == len(wanted)


class Audience:
    """All subscriptions of one broker, by what they listen to."""

    def __init__(self) -> None:
        self._exact: dict[str, list[Subscription]] = {}
        self._patterns: list[Subscription] = []

    def add(self, one: Subscription) -> None:
        self._place(one).append(one)

    def remove(self, one: Subscription) -> None:
        self._place(one).remove(one)

    def of(self, subject: str) -> list[Subscription]:
        """Who hears *subject*, in the order in which they came."""
        heard = [*self._exact.get(subject, ())]
        heard += self._exact.get(subject.rpartition(".")[0] + ".*", ())
        if not subject.startswith("_INBOX."):  # Nobody listens to all inboxes.
            heard += [one for one in self._patterns if matches(one.pattern, subject)]
        return heard

    def _place(self, one: Subscription) -> list[Subscription]:
        plain = one.pattern.removesuffix(".*")
        if "*" in plain or ">" in plain:
            return self._patterns
        return self._exact.setdefault(one.pattern, [])


class Session(asyncio.Protocol):
    """One connection: bytes in, messages out."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self._transport: asyncio.Transport | None = None
        self._rest = b""
        self._role = ""
        self._subscriptions: dict[str, Subscription] = {}

    def deliver(self, sid: str, subject: str, reply: str, block: bytes, payload: bytes) -> None:
        """One message to the client."""
        words = f"{subject} {sid} {reply} " if reply else f"{subject} {sid} "
        if block:
            size = len(block)
            line = f"HMSG {words}{size} {size + len(payload)}\r\n"
        else:
            line = f"MSG {words}{len(payload)}\r\n"
        self._send(b"".join((line.encode(), block, payload, CRLF)))

    def close(self) -> None:
        """The connection is over."""
        self._gone()
        if self._transport is not None:
            self._transport.close()

    # What asyncio calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._broker.sessions.append(self)
        info = {
            "server_id": "SIMULATED",
            "server_name": "simulated",
            "version": VERSION,
            "proto": 1,
            "headers": True,
            "jetstream": True,
            "auth_required": bool(self._broker.behaviour.passwords),
            "max_payload": self._broker.behaviour.max_payload,
        }
        self._send(b"INFO %b\r\n" % json.dumps(info).encode())

    def connection_lost(self, exc: Exception | None) -> None:
        self._gone()

    def data_received(self, data: bytes) -> None:
        buffer = self._rest + data
        position = 0
        while (end := buffer.find(CRLF, position)) >= 0:
            words = buffer[position:end].split()
            verb, start = words[0].upper() if words else b"", end + 2
            if verb in (b"PUB", b"HPUB"):
                stop = start + int(words[-1])
                if len(buffer) < stop + 2:
                    break
                body = start + int(words[-2]) if verb == b"HPUB" else start
                reply = words[2] if len(words) == 4 + (verb == b"HPUB") else b""
                self._published(words[1], reply, buffer[start:body], buffer[body:stop])
                start = stop + 2
            else:
                self._control(verb, words, buffer[position:end])
            position = start
        self._rest = buffer[position:]

    def _published(self, subject: bytes, reply: bytes, block: bytes, payload: bytes) -> None:
        told = subject.decode()
        if self._broker.allows(self._role, told):
            self._broker.take(told, reply.decode(), block, payload)
        else:
            self._send(f"-ERR 'Permissions Violation for Publish to \"{told}\"'\r\n".encode())

    def _control(self, verb: bytes, words: list[bytes], line: bytes) -> None:
        match verb:
            case b"PING":
                self._send(b"PONG\r\n")
            case b"SUB":
                self._subscribed(words)
            case b"UNSUB":
                self._unsubscribed(words[1].decode())
            case b"CONNECT":
                self._admitted(json.loads(line[8:]))

    def _admitted(self, options: dict[str, object]) -> None:
        passwords = self._broker.behaviour.passwords
        self._role = str(options.get("user", ""))
        if passwords and passwords.get(self._role) != options.get("pass"):
            self._send(b"-ERR 'Authorization Violation'\r\n")
            self.close()

    def _subscribed(self, words: list[bytes]) -> None:
        pattern, sid = words[1].decode(), words[-1].decode()
        queue = words[2].decode() if len(words) == 4 else ""
        one = self._subscriptions[sid] = Subscription(self, sid, pattern, queue)
        self._broker.audience.add(one)

    def _unsubscribed(self, sid: str) -> None:
        one = self._subscriptions.pop(sid, None)
        if one is not None:
            self._broker.audience.remove(one)

    def _gone(self) -> None:
        if self in self._broker.sessions:
            self._broker.sessions.remove(self)
            for sid in list(self._subscriptions):
                self._unsubscribed(sid)

    def _send(self, data: bytes) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(data)

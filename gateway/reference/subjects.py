"""The page of subjects: what travels where, and who of the broker's users may say it."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import get_args

from actors.rooms import REACTORS
from bus import codec, roles, subjects, topology
from bus.jetstream import APPENDED
from bus.recall import ASKED, TOLD
from bus.rivals import TURNS
from bus.signs import Kind
from gateway.reference.markdown import code, codes, page, table
from schemas.envelope import SYSTEM, Header
from schemas.settings import Settings
from schemas.vocabulary import NOUNS

SIGNS: Mapping[Kind, str] = {
    "typing": "an account types in a channel; the payload is the account's id",
    "presence": "the accounts connected to one gateway: `{gateway, accounts}`",
}
STREAM = {
    "max_bytes": "decided at the first start, see `log_bytes_max`",
    "max_msg_size": "bytes: `payload_bytes_max`, and 64 KiB for headers",
    "duplicate_window": "nanoseconds; Canopy writes no message ids and does not rely on it",
}
HEADERS = {
    "ce-specversion": "`1.0`",
    "ce-id": "the id of the commit",
    "ce-type": "`canopy.<noun>.committed`",
    "ce-source": "`/nodes/<origin>`",
    "ce-subject": "`<noun>/<key>`",
    "ce-time": "wall time of the commit's clock, UTC, ISO 8601",
    "content-type": "`application/json`",
    "traceparent": "W3C trace context of the decision, when there is one",
    "Nats-Expected-Last-Subject-Sequence": "the guard of the append: the position of the "
    "aggregate's last commit, 0 for none",
    "Nats-Batch-*": "the atomic batch in which the commit was written, when it was one of many",
}
EXAMPLE = Header(
    id="i", noun="n", key="k", author=SYSTEM, origin="o", clock="0" * 16, cause="c",
    correlation="c", traceparent="t",
)  # fmt: skip
"""A header with everything that can be in one."""


def text() -> str:
    """The page."""
    return page(
        "Subjects",
        "Everything that travels inside a node travels over NATS, under subjects of three planes. "
        "What is said on them is in [events.md](events.md).",
        _planes(),
        "A token is 1 to 100 of `A-Z a-z 0-9 _ -`. A key is one token, or two joined by a dot.",
        "## Nouns",
        _nouns(),
        "## Passing signs",
        _signs(),
        "## The log",
        "Every commit lies in one stream. It is created by the node, and checked at each start: a "
        "log that could forget or replace something is refused.",
        _stream(),
        "Positions (`seq`) start at 1 and have no holes. A reactor keeps its place in the log with "
        "a durable consumer named for it:",
        _durables(),
        "## Headers of a commit",
        "CloudEvents 1.0 attributes and the guard of the append; the payload repeats whatever "
        "matters, so headers may be ignored.",
        _headers(),
        "## Who may say what",
        "The broker listens on the loopback interface and knows one user for each role, with "
        "exactly these subjects. The user `system` belongs to the system account and asks how the "
        "broker is.",
        *_roles(),
    )


def place(write: Callable[[str, str], str], noun: str, key: str) -> str:
    """The subject that *write* gives, with the names of its tokens in place of tokens."""
    tokens = re.sub("[<>]", "", key)
    return write(noun, tokens).removesuffix(tokens) + key


def _planes() -> str:
    rows = (
        (
            place(subjects.command, "<noun>", "<key>"),
            f"a command, answered by one actor (queue group `{subjects.QUEUE}`)",
            "no",
        ),
        (place(subjects.event, "<noun>", "<key>"), "the commits of one aggregate", "for ever"),
        (subjects.ephemeral("<kind>", "<place>"), "passing signs, between processes", "no"),
    )
    return table(
        ("subject", "what", "stored"), ((code(name), what, kept) for name, what, kept in rows)
    )


def _nouns() -> str:
    return table(
        ("noun", "commands go to", "commits lie in"),
        (
            (
                f"[{noun.name}](events.md#{noun.name})",
                code(place(subjects.command, noun.name, noun.key)),
                code(place(subjects.event, noun.name, noun.key)),
            )
            for noun in NOUNS.values()
        ),
    )


def _signs() -> str:
    kinds: tuple[Kind, ...] = get_args(Kind)
    rows = [(subjects.ephemeral(kind, "*"), SIGNS[kind]) for kind in kinds]
    rows += [
        (APPENDED, "the log has grown; the payload is its last position"),
        (TURNS, "an actor waits for its turn at an aggregate, or has ended to wait"),
        (ASKED, "what processes remember of some commands, for `canopy why` and `canopy trace`"),
        (subjects.ephemeral(TOLD, "*"), "what one of them remembers"),
    ]
    return table(("subject", "what"), ((code(name), what) for name, what in rows))


def _stream() -> str:
    declared = topology.event_stream(Settings(), 0)
    return table(
        ("field", "value", ""),
        (
            (code(name), code(json.dumps(value)), STREAM.get(name, ""))
            for name, value in declared.items()
        ),
    )


def _durables() -> str:
    return table(("durable", "hears"), ((code(one.name), code(one.subjects)) for one in REACTORS))


def _headers() -> str:
    written, _ = codec.encode(EXAMPLE, ())
    lines = written.decode().splitlines()[1:]
    names = (
        *(line.partition(":")[0] for line in lines),
        "Nats-Expected-Last-Subject-Sequence",
        "Nats-Batch-*",
    )
    return table(("header", "value"), ((code(name), HEADERS[name]) for name in names))


def _roles() -> list[str]:
    parts = []
    for role in roles.PUBLISH:
        parts += [
            f"### {role}",
            f"Publishes {codes(roles.PUBLISH[role])}.",
            f"Subscribes to {codes(roles.SUBSCRIBE[role])}.",
        ]
    return parts

"""The envelope: what every command, event and commit has in common.

A message class is its own fields and nothing more; identity, time, author and cause belong to the
envelope, so no event repeats them. One decision is one `Commit`: the events that one command
caused, stored as one message of the log (ADR 0002).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar

import msgspec
from msgspec import Meta, Struct
from pydantic import BaseModel, ConfigDict, StringConstraints

TOKEN = r"^[A-Za-z0-9_-]{1,100}$"  # noqa: S105  # a subject token
TOKENS = r"^[A-Za-z0-9_-]{1,100}(\.[A-Za-z0-9_-]{1,100})?$"
END = r"(?!\n)"
"""In msgspec, which takes Python's patterns, `$` also matches before a last line break."""

Id = Annotated[str, StringConstraints(pattern=TOKEN), Meta(pattern=TOKEN + END)]
"""One subject token: an entity, a command, a commit."""

Key = Annotated[str, StringConstraints(pattern=TOKENS), Meta(pattern=TOKENS + END)]
"""One aggregate within its noun: one token, or two joined by a dot (`<channel>.<message>`)."""

SYSTEM: Id = "system"
"""The author of what the node does by itself."""


class Message(BaseModel):
    """Base of everything that is said: frozen, and closed against unknown fields."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Command(Message):
    """A wish. Its `kind` is an imperative (`post_message`)."""

    kind: str


class Timed(Command):
    """A wish whose answer depends on the time: `now` (ISO 8601 in UTC, with milliseconds).

    Whoever decides does not take its word for it: no later time counts than he himself believes.
    """

    now: str


class Event(Message):
    """A fact. Its `kind` is a past participle (`message_posted`)."""

    kind: str


class Envelope(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Base of what travels around commands and events.

    Each of them is made and read for every command, which a `msgspec.Struct` does in a tenth of
    the time of a model; values are checked when they are read, not when they are made.
    """


class Sealed(Message):
    """What a private fact says, as it lies in the log: ciphertext, the name of its key in the vault
    and a commitment to that key. Without the key it says nothing, for ever."""

    alg: str
    key: str
    nonce: str
    ct: str
    commit: str


class Sealable(Event):
    """A fact that may be private: the fields it `HIDES` then lie in the log within `sealed` only.

    In memory they may be filled in beside it; those of a fact whose key was destroyed are empty.
    """

    HIDES: ClassVar[tuple[str, ...]] = ()
    private: bool = False
    sealed: Sealed | None = None

    @property
    def empty(self) -> bool:
        """Whether nothing is filled in of what it hides."""
        return not any(getattr(self, name) for name in self.HIDES)


class Request(Envelope, frozen=True, kw_only=True, omit_defaults=True):
    """A command on its way: who wishes what of which aggregate, and why.

    `id` is the identity of the wish: the same id twice has one effect and the same answer. `parent`
    is the id of the commit that called for it, empty for a wish that came from outside.
    `fingerprint` tells two wishes under one id apart; `expected` is the position that the author
    saw last (`If-Match`), or None when it does not matter.
    """

    id: Id
    noun: Id
    key: Key
    author: Id
    correlation: Id
    parent: str = ""
    fingerprint: str = ""
    expected: int | None = None
    traceparent: str = ""
    command: Command


class Header(Envelope, frozen=True, kw_only=True, omit_defaults=True):
    """The signed part of a commit.

    `clock` is a hybrid logical clock reading (16 hex digits: 12 of milliseconds since 1970, 4 of
    counter) whose order is the order of last-writer-wins registers, ties broken by `origin`.
    `digest` is the BLAKE2b-256 of the exact bytes of the events, in hex, so that events can be
    detached and still be proven. `cause` is the id of the command, `correlation` that of the chain,
    `parent` that of the commit whose reactor sent the command (empty: it came from outside).
    """

    v: int = msgspec.field(default_factory=lambda: 1)  # A factory: it is written all the same.
    id: Id
    noun: Id
    key: Key
    author: Id
    origin: Id
    clock: str
    cause: Id
    correlation: Id
    parent: str = ""
    fingerprint: str = ""
    traceparent: str = ""
    digest: str = ""

    @property
    def stamp(self) -> tuple[str, str]:
        """Order of last-writer-wins: the greater stamp wins, whatever the order of arrival."""
        return (self.clock, self.origin)


class Commit(Struct, frozen=True):
    """One decision in the log: `seq` is its position there (from 1), 0 while it is not stored."""

    header: Header
    events: tuple[Event, ...]
    seq: int = 0


class Fact(Envelope, frozen=True, kw_only=True, omit_defaults=True):
    """An event as it is written: `{"kind": …, "data": {…}}`, with `v` once its shape changed."""

    kind: str
    v: int = 1
    data: dict[str, Any] = msgspec.field(default_factory=dict)


class Refusal(Envelope, frozen=True, kw_only=True, omit_defaults=True):
    """Why a command may not be, as it travels: the wire form of `Refused`."""

    code: str
    message: str
    detail: dict[str, Any] = msgspec.field(default_factory=dict)


class Answer(Envelope, frozen=True, kw_only=True, omit_defaults=True):
    """What came of a command: the position and time of its commit and the facts in it.

    A command that found everything as wished causes no commit; `facts` is then empty and `seq` is
    the position of the aggregate. `replayed` tells that an earlier delivery did the work.
    """

    seq: int
    clock: str = ""
    author: Id = SYSTEM
    facts: tuple[Fact, ...] = ()
    replayed: bool = False
    refused: Refusal | None = None


@dataclass(unsafe_hash=True)  # Not frozen: contextlib sets an exception's traceback.
class Refused(Exception):
    """An answer, no fault: the command may not be. `code` is stable, `message` says what to do."""

    code: str
    message: str
    detail: dict[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"{self.code}: {self.message}"

"""Examples, made by hand and made by chance: what tests say about whom.

By hand: `header`, `request`, `commit` with everything that does not matter filled in. By chance:
Hypothesis strategies read from the vocabulary itself, so that a new command or event takes part in
every property test from its first day. Ids come from a few names, so that they meet.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from annotated_types import Ge, Le, Lt
from hypothesis import strategies as st
from pydantic import BaseModel, StringConstraints
from pydantic.fields import FieldInfo

from bus import codec
from bus.clock import new_id
from bus.log import Stored
from schemas.envelope import Command, Event, Header, Id, Key, Message, Request
from schemas.vocabulary import NOUNS

WHEN_MS = 1_800_000_000_000
"""Where the clocks of examples begin: 2027-01-15, milliseconds since 1970."""

NAMES = ("ann", "bob", "cyd")
ORIGINS = ("n1", "n2", "n3")
SET_BY_HAND = frozenset({"kind", "private", "sealed"})
"""What is private is sealed by a vault, which examples have none of."""
TEXTS = ("", "Hi.", "Hæ?\n✓ 🐝", "'; --", "a\u0000b", "null")
"""Chosen, not drawn: Hypothesis spends most of its time on drawing texts."""


def header(
    noun: str = "message",
    key: Key = "general.M1",
    author: Id = "ann",
    origin: Id = "n1",
    clock: str = f"{WHEN_MS:012x}0000",
    cause: Id = "",
    **fields: Any,
) -> Header:
    """A header; its ids are fresh unless told."""
    cause = cause or new_id()
    return Header(
        id=fields.pop("id", new_id()),
        noun=noun,
        key=key,
        author=author,
        origin=origin,
        clock=clock,
        cause=cause,
        correlation=fields.pop("correlation", cause),
        **fields,
    )


def request(noun: str, key: Key, command: Command, author: Id = "ann", **fields: Any) -> Request:
    """A command on its way; its id is fresh unless told."""
    wish: Id = fields.pop("id", new_id())
    return Request(
        id=wish,
        noun=noun,
        key=key,
        author=author,
        correlation=fields.pop("correlation", wish),
        command=command,
        **fields,
    )


@dataclass(frozen=True)
class Said:
    """One commit before it is stored: what an origin says about an aggregate, and when."""

    header: Header
    events: tuple[Event, ...]

    def stored(self, seq: int) -> Stored:
        """The commit as it lies in a log at the position *seq*."""
        _, payload = codec.encode(self.header, self.events)
        return Stored(seq, self.header.noun, self.header.key, payload)


def stored(commits: Sequence[Said]) -> list[Stored]:
    """A log of *commits*, from position 1."""
    return [commit.stored(seq) for seq, commit in enumerate(commits, 1)]


def commands(noun: str) -> st.SearchStrategy[Command]:
    """Any valid command of *noun*."""
    return st.one_of([_messages(kind) for kind in NOUNS[noun].commands])


def events(noun: str) -> st.SearchStrategy[Event]:
    """Any valid event of *noun*."""
    return st.one_of([_messages(kind) for kind in NOUNS[noun].events])


@st.composite
def histories(draw: st.DrawFn, noun: str, keys: Sequence[Key] = ("k",), size: int = 12) -> History:
    """What two or three origins say about aggregates of *noun*, each in its own order.

    Origins hear of each other or not: their clocks are their own, and may be far apart.
    """
    clocks = dict.fromkeys(ORIGINS[: draw(st.integers(2, 3))], 0)
    said: list[Said] = []
    for _ in range(draw(st.integers(0, size))):
        origin = draw(st.sampled_from(sorted(clocks)))
        clocks[origin] += draw(st.integers(1, 3))
        one = header(
            noun,
            draw(st.sampled_from(keys)),
            author=draw(st.sampled_from(NAMES)),
            origin=origin,
            clock=f"{WHEN_MS + clocks[origin]:012x}0000",
        )
        said.append(Said(one, (draw(events(noun)),)))
    return History(tuple(said), tuple(draw(st.permutations(said))))


@dataclass(frozen=True)
class History:
    """Commits of several origins in two orders of arrival, as two nodes might have heard them."""

    here: tuple[Said, ...]
    mixed: tuple[Said, ...]

    @property
    def there(self) -> tuple[Said, ...]:
        """The other order: origins take turns as in `mixed`, each in its own order."""
        waiting = {o: [c for c in self.here if c.header.origin == o] for o in ORIGINS}
        return tuple(waiting[commit.header.origin].pop(0) for commit in self.mixed)


def _messages(kind: type[Message]) -> st.SearchStrategy[Any]:
    fields = {
        name: _field(field)
        for name, field in kind.model_fields.items()
        if name not in SET_BY_HAND or field.is_required()
    }
    required = {n: s for n, s in fields.items() if kind.model_fields[n].is_required()}
    optional = {n: s for n, s in fields.items() if n not in required}
    return st.fixed_dictionaries(required, optional=optional).map(lambda given: kind(**given))


def _field(field: FieldInfo) -> st.SearchStrategy[Any]:
    return _values(field.annotation, tuple(field.metadata))


def _values(annotation: Any, constraints: tuple[Any, ...] = ()) -> st.SearchStrategy[Any]:
    """Values of one annotation, as far as the vocabulary uses the type system."""
    origin, args = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        inner = (c.metadata if isinstance(c, FieldInfo) else [c] for c in args[1:])
        return _values(args[0], tuple(chain.from_iterable(inner)))
    if origin is Literal:
        return st.sampled_from(args)
    if origin in (Union, UnionType):
        return st.one_of([_values(arg) for arg in args])
    if origin is tuple:
        return st.lists(_values(args[0]), max_size=3).map(tuple)
    if origin is dict:
        return st.dictionaries(st.sampled_from(NAMES), st.booleans() | st.sampled_from(TEXTS))
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return _messages(annotation)  # type: ignore[arg-type]  # all models here are Messages
    return _plain(annotation, constraints)


def _plain(annotation: Any, constraints: tuple[Any, ...]) -> st.SearchStrategy[Any]:
    if annotation is NoneType:
        return st.none()
    if annotation is bool:
        return st.booleans()
    if annotation is int:
        bounds = {type(c): getattr(c, type(c).__name__.lower()) for c in constraints}
        return st.integers(bounds.get(Ge, 0), bounds.get(Le, bounds.get(Lt, 1000) - 1))
    text = next((c for c in constraints if isinstance(c, StringConstraints)), None)
    if text is not None and text.pattern:
        return st.sampled_from(NAMES)
    short = (text and text.min_length) or 0
    return st.sampled_from([one for one in TEXTS if len(one) >= short])

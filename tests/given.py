"""`given(CHANNEL, *facts).when(command, by="ann")`: what an aggregate decides, without a log.

assert given(MESSAGE).when(PostMessage(content="Hi.")) == (MessagePosted(content="Hi."),)
given(MESSAGE).when(DeleteMessage()).refuses("message_absent")
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, TypeVar

from actors.aggregate import Aggregate
from schemas.envelope import Command, Event, Id, Refused
from tests.examples import header

State = TypeVar("State")
ANN: Id = "ann"


@dataclass(frozen=True)
class By:
    """A fact with an author of its own: `By("bob", ReactionAdded(reaction="like"))`."""

    author: Id
    event: Event


@dataclass(frozen=True)
class Decided:
    """What came of a command: equal to the tuple of events it causes."""

    events: tuple[Event, ...]
    refused: Refused | None

    def __eq__(self, other: object) -> bool:
        if self.refused is not None:
            raise self.refused
        return self.events == other

    __hash__ = None  # type: ignore[assignment]  # only compared

    def refuses(self, code: str) -> None:
        """Fails unless the command was refused with *code*."""
        assert self.refused is not None, f"not refused: {self.events}"
        assert self.refused.code == code


@dataclass(frozen=True)
class Given(Generic[State]):
    """An aggregate with a past."""

    aggregate: Aggregate[State]
    state: State

    def when(self, command: Command, by: Id = ANN) -> Decided:
        """What the aggregate decides when *by* wishes *command*."""
        try:
            return Decided(self.aggregate.decide(command, self.state, by), None)
        except Refused as refused:
            return Decided((), refused)


def given(aggregate: Aggregate[State], *facts: Event | By) -> Given[State]:
    """*aggregate* after *facts*, each a tick later than the one before, ann's unless told."""
    state = aggregate.initial
    for nth, fact in enumerate(facts, 1):
        author, event = (fact.author, fact.event) if isinstance(fact, By) else (ANN, fact)
        state = aggregate.evolve(state, event, header(author=author, clock=f"{nth:016x}"))
    return Given(aggregate, state)

"""What an aggregate is: a room's two functions, its commands, and how its state is written down.

`decide` is pure: it is given the command, the state and the author, and returns the events that the
command causes, none if it is so already, or raises `Refused`. `evolve` is total: an event is
history, and history is never refused. `actors.host` is the loop around them.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from hashlib import blake2b
from typing import Any, Generic, TypeVar

from pydantic import TypeAdapter

from schemas.envelope import Command, Event, Header, Id
from schemas.upcasters import UPCASTERS

State = TypeVar("State")


@dataclass(frozen=True)
class Aggregate(Generic[State]):
    """One room's aggregate: its noun, its empty state, its two functions and its commands.

    `opens` names the command that begins an aggregate nobody has heard of, so that the host need
    not look whether it exists: the guard of the append will tell.
    """

    noun: str
    initial: State
    decide: Callable[[Any, State, Id], tuple[Event, ...]]
    evolve: Callable[[State, Any, Header], State]
    commands: tuple[type[Command], ...]
    opens: str = ""

    @cached_property
    def version(self) -> str:
        """Identifies the fold, so that snapshots of another are not mistaken for ours: the shape of
        the state, the text of the room that evolves it, and how old events are read.
        """
        room = inspect.getsource(sys.modules[self.evolve.__module__])
        fold = (self.states.json_schema(), room, UPCASTERS.marks)
        return blake2b(repr(fold).encode(), digest_size=8).hexdigest()

    @cached_property
    def states(self) -> TypeAdapter[State]:
        """How a state is written in a snapshot."""
        return TypeAdapter(type(self.initial))

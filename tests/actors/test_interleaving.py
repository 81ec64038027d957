"""However the origins interleave: every noun folds to the same state, whoever is heard first.

And whatever is said: `decide` answers with events or `Refused`, `evolve` takes any history.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import reduce
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actors.aggregate import Aggregate
from actors.register import Register, Stamp
from actors.rooms import AGGREGATES
from tests.examples import NAMES, Said, commands, header, histories
from tests.given import Given

quick = settings(max_examples=40, deadline=None)
every_aggregate = pytest.mark.parametrize("aggregate", AGGREGATES, ids=lambda one: one.noun)


def fold(aggregate: Aggregate[Any], commits: Sequence[Said]) -> Any:
    """The state after *commits*."""
    told = [(event, commit.header) for commit in commits for event in commit.events]
    return reduce(lambda state, one: aggregate.evolve(state, *one), told, aggregate.initial)


@every_aggregate
@quick
@given(data=st.data())
def test_any_interleaving_of_origins_gives_the_same_state(
    aggregate: Aggregate[Any], data: st.DataObject
) -> None:
    """Decision 11: what each origin said stays in its order; how they mix does not matter."""
    history = data.draw(histories(aggregate.noun))

    assert fold(aggregate, history.here) == fold(aggregate, history.there)


@every_aggregate
@quick
@given(data=st.data())
def test_a_decision_is_events_or_a_refusal(aggregate: Aggregate[Any], data: st.DataObject) -> None:
    """Any valid command in any state: nothing else is ever raised, and the events can be folded."""
    history = data.draw(histories(aggregate.noun))
    state = fold(aggregate, history.here)
    command = data.draw(commands(aggregate.noun))
    author = data.draw(st.sampled_from(NAMES))
    decided = Given(aggregate, state).when(command, by=author)

    assert decided.refused is None or decided.refused.message.endswith(".")
    for event in decided.events:
        state = aggregate.evolve(state, event, header(author=author))


@every_aggregate
@quick
@given(data=st.data())
def test_a_state_survives_its_snapshot(aggregate: Aggregate[Any], data: st.DataObject) -> None:
    """Written as JSON and read again, a state is the same."""
    state = fold(aggregate, data.draw(histories(aggregate.noun)).here)
    written = aggregate.states.dump_json(state)

    assert aggregate.states.validate_json(written) == state


@pytest.mark.parametrize("step", [Register.written, Register.claimed])
@given(values=st.lists(st.tuples(st.integers(), st.integers(0, 5), st.sampled_from("ab"))))
def test_registers_do_not_care_who_is_heard_first(
    step: Callable[[Register[int], int, Stamp], Register[int]],
    values: list[tuple[int, int, str]],
) -> None:
    """The last value written, and the first one claimed, are the same from either end."""
    by_stamp = {(f"{clock}", origin): value for value, clock, origin in values}
    writes = [(value, stamp) for stamp, value in by_stamp.items()]
    forward = backward = Register(0)
    for write in writes:
        forward = step(forward, *write)
    for write in reversed(writes):
        backward = step(backward, *write)

    assert forward == backward

"""However the log is cut: the tables of every room are the same."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.vocabulary import NOUNS
from tests.actors.tables import Tables
from tests.examples import histories

KEYS = {
    "account": ("ann", "bob"),
    "channel": ("general", "C1"),
    "cursor": ("general.ann", "C1.bob"),
    "message": ("general.M1", "C1.M2"),
    "receipt": ("c1", "c2"),
    "workspace": ("main",),
}


@pytest.mark.parametrize("noun", NOUNS)
@settings(max_examples=12, deadline=None)
@given(data=st.data(), cut=st.sampled_from([1, 2, 3]))
def test_the_tables_are_the_same_however_the_log_is_cut(
    noun: str, data: st.DataObject, cut: int
) -> None:
    history = data.draw(histories(noun, KEYS[noun]))

    with Tables(history.here, cut) as live, Tables(history.here) as rebuilt:
        assert live.hashes() == rebuilt.hashes()


@pytest.mark.parametrize("noun", NOUNS)
@settings(max_examples=12, deadline=None)
@given(data=st.data())
def test_every_event_leaves_a_fact(noun: str, data: st.DataObject) -> None:
    """Nothing that was said is dropped on the way into the tables."""
    history = data.draw(histories(noun, KEYS[noun]))

    with Tables(history.here) as tables:
        facts = sum(rows for rows, _ in tables.hashes().values())
        assert facts >= sum(len(commit.events) for commit in history.here)

"""The grammar of subjects: built from keys that are keys, and taken apart again."""

from __future__ import annotations

import pytest

from bus import subjects
from schemas.vocabulary import NOUNS


@pytest.mark.parametrize("noun", NOUNS)
@pytest.mark.parametrize("key", ["main", "general.M1", "a-b_c.9"])
def test_a_subject_is_built_and_taken_apart(noun: str, key: str) -> None:
    assert subjects.aggregate(subjects.command(noun, key)) == (noun, key)
    assert subjects.aggregate(subjects.event(noun, key)) == (noun, key)


@pytest.mark.parametrize("key", ["", ".", "a.", "a.b.c", "a b", "a\r\nb", "a\n", "*", "a.>", "å"])
def test_what_is_no_key_makes_no_subject(key: str) -> None:
    """A line break in it would be a line of the protocol, a wildcard somebody else's commits."""
    with pytest.raises(ValueError, match="is not a key"):
        subjects.command("message", key)
    with pytest.raises(ValueError, match="is not a key"):
        subjects.event("message", key)


@pytest.mark.parametrize("subject", ["", "evt", "evt.message", "evt.martian.x", "eph.typing.a"])
def test_what_is_outside_the_grammar_is_said_with_the_grammar(subject: str) -> None:
    with pytest.raises(ValueError, match=r"cmd\|evt\.<noun>\.<key>"):
        subjects.aggregate(subject)


def test_all_commits_of_a_noun_can_be_asked_for() -> None:
    assert subjects.event("account", subjects.EVERY) == "evt.account.>"


def test_a_passing_sign_is_shown_in_its_channel() -> None:
    assert subjects.ephemeral("typing", "general") == "eph.typing.general"

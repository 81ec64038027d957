"""Text that can be seen: what a name may hold, and what says nothing."""

from __future__ import annotations

import re
from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from schemas.account import AccountRegistered, NewKey
from schemas.channel import OpenChannel
from schemas.text import NAME, SEEN, LegibleLabel, LegibleName, says_something

NAMES: TypeAdapter[str] = TypeAdapter(LegibleName)
LABELS: TypeAdapter[str] = TypeAdapter(LegibleLabel)

GOOD = (
    "Ann", "a", "Ann B.", "Zoë", "李小龍", "نرگس", "می\u200cخواهم", "👩\u200d🚀", "❤\ufe0f", "🇫🇷",
    "🏴\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f", "#1",
)  # fmt: skip
STEERED = (
    "a\nb", "a\tb", "\x00", "a\x7f", "a\x85b", "a\u200bb", "\u202eexe.nna", "a\u2066b\u2069",
    "a\u200fb", "a\u2028b", "\ufeffann", "soft\u00adly",
)  # fmt: skip
FARTHER = ("den\U000e0041", "den\U000e0001", "a\U0001d173b", "a\U0001bca0b")
"""Beyond the first plane: refused, though the patterns of the document cannot spell it."""
BLANK = (" ", "\u00a0", "\u200d", "\u200c\u200d", "\ufe0f", "\u3164", "\u2800 ", "\U000e0067")


@pytest.mark.parametrize("name", GOOD)
def test_a_name_is_what_can_be_read(name: str) -> None:
    assert NAMES.validate_python(name) == LABELS.validate_python(name) == name


@pytest.mark.parametrize("name", [*STEERED, *FARTHER, *BLANK])
@pytest.mark.parametrize("kind", [NAMES, LABELS])
def test_a_name_that_could_pass_for_another_is_none(kind: TypeAdapter[str], name: str) -> None:
    with pytest.raises(ValidationError) as refused:
        kind.validate_python(name)

    assert [error["type"] for error in refused.value.errors()] == ["illegible"]


def test_the_fault_says_which_character_to_leave_out() -> None:
    with pytest.raises(ValidationError, match=r"Leave out U\+202E"):
        NAMES.validate_python("\u202eann")


def test_a_label_may_be_empty_and_a_name_may_not() -> None:
    assert LABELS.validate_python("") == ""
    with pytest.raises(ValidationError, match="at least 1 character"):
        NAMES.validate_python("")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        *((name, True) for name in GOOD),
        *((name, False) for name in BLANK),
        ("", False), ("\n\t", False), ("\u200b\u2060", False), ("\n.", True),
    ],
)  # fmt: skip
def test_a_text_says_something_when_something_can_be_seen(text: str, says: bool) -> None:  # noqa: FBT001
    assert says_something(text) is says


@pytest.mark.parametrize("name", [*GOOD, *STEERED, *BLANK[:-1]])
def test_the_patterns_of_the_document_say_the_same(name: str) -> None:
    """In Python's dialect as in that of the validators."""
    assert (re.search(NAME, name) is not None) == (name in GOOD)
    assert (re.search(SEEN, name) is not None) == says_something(name)


@pytest.mark.parametrize(
    ("command", "fields"),
    [
        (OpenChannel, {"name": "a\u202eb"}),
        (NewKey, {"key_id": "K1", "secret_hash": "x", "label": "a\u202eb"}),
    ],
)
def test_commands_hold_to_it_too(command: Any, fields: dict[str, str]) -> None:
    with pytest.raises(ValidationError, match=r"U\+202E"):
        command(**fields)


def test_what_was_stored_before_can_still_be_read() -> None:
    stored = {
        "username": "ann", "display_name": "\u202eann", "account_type": "human",
        "status": "active", "password_sealed": "", "public_key": "",
    }  # fmt: skip

    assert AccountRegistered.model_validate(stored).display_name == "\u202eann"

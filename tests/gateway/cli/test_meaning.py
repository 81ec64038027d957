"""What words mean: filters, points in the log, and the node's refusals."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from gateway.cli.client import refused
from gateway.cli.exits import Exit, Failure
from gateway.cli.filters import Filter
from gateway.cli.points import Point, point
from gateway.cli.secrets import made_up
from gateway.cli.sentences import Names
from tests.gateway.cli.test_words import commit

NAMES = Names({"user_a": "ann", "user_b": "bob"}, {"C1": "ops", "general": "general"})
NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("words", "passes"),
    [
        ([], True),
        (["message"], True),
        (["channel"], False),
        (["message_posted"], True),
        (["message_edited"], False),
        (["message_edited", "message_posted"], True),
        (["@ann"], True),
        (["@ANN"], True),
        (["@bob"], False),
        (["ops"], True),
        (["#ops"], True),
        (["C1"], True),
        (["general"], False),
        (["message", "@ann", "ops"], True),
        (["message", "@bob", "ops"], False),
    ],
)
def test_words_of_one_sort_widen_and_sorts_narrow(words: list[str], *, passes: bool) -> None:
    assert Filter.of(words, NAMES).lets(commit("message_posted")) is passes


def test_the_node_is_told_what_it_can_leave_out() -> None:
    wanted = Filter.of(["message", "ops"], NAMES)

    assert (wanted.noun, wanted.channel) == ("message", "C1")


def test_a_meaningless_word_gets_a_suggestion() -> None:
    with pytest.raises(Failure) as failure:
        Filter.of(["mesage"], NAMES)

    assert failure.value.exit_code is Exit.USAGE
    assert "'message'" in failure.value.remedy


def test_a_hopeless_word_gets_the_choices() -> None:
    with pytest.raises(Failure) as failure:
        Filter.of(["xyzzy"], NAMES)

    assert "Nouns are account, channel" in failure.value.remedy


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("0", Point(seq=0)),
        ("42", Point(seq=42)),
        ("30s", Point(time=datetime(2026, 11, 21, 11, 59, 30, tzinfo=UTC))),
        ("10m", Point(time=datetime(2026, 11, 21, 11, 50, tzinfo=UTC))),
        ("1.5 h", Point(time=datetime(2026, 11, 21, 10, 30, tzinfo=UTC))),
        ("2d", Point(time=datetime(2026, 11, 19, 12, 0, tzinfo=UTC))),
        ("2026-11-20T10:00Z", Point(time=datetime(2026, 11, 20, 10, 0, tzinfo=UTC))),
    ],
)
def test_a_point_is_a_position_a_time_or_how_long_ago(text: str, meant: Point) -> None:
    assert point(text, NOW) == meant


@pytest.mark.parametrize("text", ["yesterday", "-5", "4 2", ""])
def test_anything_else_is_no_point(text: str) -> None:
    with pytest.raises(Failure, match="no point in the log"):
        point(text, NOW)


@pytest.mark.parametrize(
    ("status", "code", "ends"),
    [
        (403, "not_owner", Exit.REFUSED),
        (404, "channel_absent", Exit.REFUSED),
        (429, "rate_limited", Exit.UNAVAILABLE),
        (503, "behind", Exit.UNAVAILABLE),
        (500, "internal_error", Exit.UNAVAILABLE),
    ],
)
def test_a_refusal_of_the_node_becomes_an_exit_code(status: int, code: str, ends: Exit) -> None:
    failure = refused(status, {"code": code, "detail": "No.", "correlation_id": "x"})

    assert failure.exit_code is ends
    assert failure.as_json()["error"] == code
    assert failure.as_json()["correlation_id"] == "x"
    assert failure.remedy


def test_a_made_up_password_has_what_passwords_need() -> None:
    password = made_up()

    assert len(password) == 24
    assert any(sign.isupper() for sign in password)
    assert any(sign.islower() for sign in password)
    assert any(sign.isdigit() for sign in password)
    assert any(not sign.isalnum() for sign in password)

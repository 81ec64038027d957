"""Every event that was ever written can be read today, and means what it has meant."""

from __future__ import annotations

import json

import pytest

from actors.projection_file import Poison
from bus import codec
from bus.log import Stored
from schemas.message import MessagePosted
from tests.examples import Said, header
from tests.golden import STATE, golden, state, versions, wanted

REMEDY = "run `python -m tests.golden`, and look at the difference"


def test_every_version_of_every_event_is_in_the_golden_log() -> None:
    assert wanted() - versions(golden()) == set(), REMEDY


def test_the_golden_log_is_read_to_the_last_commit() -> None:
    read = [codec.decode(one.payload, one.seq) for one in golden()]

    assert [commit.seq for commit in read] == list(range(1, len(read) + 1))


def test_the_golden_log_makes_the_tables_that_it_has_always_made() -> None:
    assert state(golden()) == json.loads(STATE.read_text("utf-8")), REMEDY


def test_another_history_makes_other_tables() -> None:
    """The proof that the test before this one can fail: one word of one message is another."""
    log = golden()
    forged = Said(header(id="g0", cause="w0"), (MessagePosted(content="Ho."),)).stored(len(log) + 1)

    assert state([*log, forged]) != json.loads(STATE.read_text("utf-8"))


def test_a_log_of_a_later_program_is_refused_with_a_message() -> None:
    """It says what to do, and nothing behind it is passed over."""
    last = golden()[-1]
    commit = json.loads(last.payload)
    commit["events"][0]["v"] = 99
    facts = json.dumps(commit["events"]).encode()
    signed = json.dumps(commit["header"] | {"digest": codec.digest(facts)}).encode()
    later = codec.OPENING + signed + codec.MIDDLE + facts + b"}"

    with pytest.raises(Poison, match="version 99 is newer"):
        state([*golden()[:-1], Stored(last.seq, last.noun, last.key, later)])

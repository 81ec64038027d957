"""Every event that was ever written can be read today, and means what it has meant."""

from __future__ import annotations

import json
from typing import Any

import pytest

from actors.projection_file import Poison
from bus import codec
from bus.log import Stored
from schemas.message import MessagePosted
from schemas.upcasters import UPCASTERS, Upcasters
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


def stored(one: Stored, fact: dict[str, Any]) -> Stored:
    """*one*, which says *fact* and nothing else."""
    facts = json.dumps([fact]).encode()
    told = json.loads(one.payload)["header"] | {"digest": codec.digest(facts)}
    payload = codec.OPENING + json.dumps(told).encode() + codec.MIDDLE + facts + b"}"
    return Stored(one.seq, one.noun, one.key, payload)


def renamed(data: dict[str, Any]) -> dict[str, Any]:
    """As if version 1 had called a display name a nickname."""
    return {"display_name": data.pop("nickname"), **data}


def test_without_its_upcaster_an_old_shape_makes_other_tables(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The proof that the test before this one sees an upcaster that is gone: the same history, its
    first event in a shape that it never had."""
    first, *rest = golden()
    (fact,) = json.loads(first.payload)["events"]
    data = {"nickname": fact["data"].pop("display_name"), **fact["data"]}
    aged = [stored(first, {"kind": fact["kind"], "data": data}), *rest]
    without = state(aged)
    for name, value in vars(Upcasters({("account_registered", 1): renamed})).items():
        monkeypatch.setattr(UPCASTERS, name, value)

    assert state(aged) == json.loads(STATE.read_text("utf-8"))
    assert without != json.loads(STATE.read_text("utf-8"))


def test_another_history_makes_other_tables() -> None:
    """One word of one message is another."""
    log = golden()
    forged = Said(header(id="g0", cause="w0"), (MessagePosted(content="Ho."),)).stored(len(log) + 1)

    assert state([*log, forged]) != json.loads(STATE.read_text("utf-8"))


def test_a_log_of_a_later_program_is_refused_with_a_message() -> None:
    """It says what to do, and nothing behind it is passed over."""
    last = golden()[-1]
    (fact,) = json.loads(last.payload)["events"]

    with pytest.raises(Poison, match="version 99 is newer"):
        state([*golden()[:-1], stored(last, fact | {"v": 99})])

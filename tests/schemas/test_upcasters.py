"""Old shapes of events are read in today's: an example chain, and what is no chain.

No shape of ours has changed yet. When one does, its step goes into `schemas.upcasters.UPCASTERS`
and its old JSON stays here, as FIRST and SECOND do for a message that used to have a `text`.
"""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from bus import codec
from schemas.message import MessagePosted
from schemas.upcasters import UPCASTERS, FutureVersion, Upcasters, version
from schemas.vocabulary import EVENTS
from tests.examples import header

FIRST: dict[str, Any] = {"text": "Hi."}
SECOND: dict[str, Any] = {"content": "Hi.", "root": "M0"}
THIRD: dict[str, Any] = {"content": "Hi.", "thread_id": "M0", "message_type": "thread_reply"}


def named(data: dict[str, Any]) -> dict[str, Any]:
    """Version 1 called the content a text, and knew no threads."""
    return {"content": data["text"], "root": None}


def threaded(data: dict[str, Any]) -> dict[str, Any]:
    """Version 2 did not say that a reply is one."""
    kind = "thread_reply" if data["root"] else "text"
    return {"content": data["content"], "thread_id": data["root"], "message_type": kind}


CHAIN = Upcasters({("message_posted", 1): named, ("message_posted", 2): threaded})


def commit(*facts: dict[str, Any], **fields: Any) -> bytes:
    """A stored commit with *facts*, as they lie in the log."""
    events = json.dumps(facts).encode()
    signed = msgspec.to_builtins(header(digest=codec.digest(events))) | fields
    return codec.OPENING + json.dumps(signed).encode() + codec.MIDDLE + events + b"}"


@pytest.mark.parametrize(
    ("fact", "event"),
    [
        ({"data": FIRST}, MessagePosted(content="Hi.")),
        ({"v": 1, "data": FIRST}, MessagePosted(content="Hi.")),
        (
            {"v": 2, "data": SECOND},
            MessagePosted(content="Hi.", thread_id="M0", message_type="thread_reply"),
        ),
        (
            {"v": 3, "data": THIRD},
            MessagePosted(content="Hi.", thread_id="M0", message_type="thread_reply"),
        ),
    ],
)
def test_every_old_shape_is_read_in_todays(fact: dict[str, Any], event: MessagePosted) -> None:
    """By those who decide, and by those who only move facts about."""
    payload = commit({"kind": "message_posted", **fact})
    (moved,) = codec.parse(payload, CHAIN)["events"]

    assert codec.decode(payload, 1, CHAIN).events == (event,)
    assert codec.revive(moved) == event


def test_what_is_written_today_says_its_version() -> None:
    """From the second version on; the first needs no word."""
    _, old = codec.encode(header(), [MessagePosted(content="Hi.")])
    _, new = codec.encode(header(), [MessagePosted(content="Hi.")], CHAIN)

    assert "v" not in json.loads(old)["events"][0]
    assert json.loads(new)["events"][0]["v"] == 3
    assert codec.decode(new, 1, CHAIN).events == (MessagePosted(content="Hi."),)


def test_other_kinds_are_left_alone() -> None:
    """A chain of one kind concerns no other."""
    assert CHAIN.upcast("message_edited", 1, {"content": "Ho."}) == {"content": "Ho."}
    assert (version("message_edited", CHAIN), version("message_posted", CHAIN)) == (1, 3)


def test_an_event_of_the_future_is_not_guessed_at() -> None:
    """Nor is a header of the future: whoever wrote it knew more."""
    with pytest.raises(FutureVersion, match="message_posted version 4"):
        CHAIN.upcast("message_posted", 4, {})
    with pytest.raises(codec.Undecodable, match="message_posted version 2 is newer than the 1"):
        codec.decode(commit({"kind": "message_posted", "v": 2, "data": SECOND}), 7)
    with pytest.raises(codec.Undecodable, match=r"position 7: .*header version 2"):
        codec.decode(commit({"kind": "message_posted", "data": {"content": "Hi."}}, v=2), 7)


@pytest.mark.parametrize("v", [0, -1])
def test_a_version_that_never_was_is_an_error(v: int) -> None:
    """Versions count from 1."""
    with pytest.raises(ValueError, match="has never been"):
        CHAIN.upcast("message_posted", v, FIRST)


def test_an_old_event_that_does_not_fit_its_version_is_undecodable() -> None:
    """A step that stumbles over its data does not end the reader with an error of its own."""
    with pytest.raises(codec.Undecodable):
        codec.parse(commit({"kind": "message_posted", "v": 1, "data": SECOND}), CHAIN)
    with pytest.raises(codec.Undecodable):
        codec.parse(commit({"kind": "message_posted", "v": 1, "data": None}), CHAIN)


def test_a_chain_has_no_missing_step() -> None:
    """Found when the program starts, not by the first reader of an old log."""
    with pytest.raises(ValueError, match="nothing takes message_posted from version 1 to 2"):
        Upcasters({("message_posted", 2): threaded})


def test_our_own_steps_are_of_our_own_kinds() -> None:
    """A step for a kind that does not exist would never be taken."""
    assert UPCASTERS.versions.keys() <= EVENTS.keys()

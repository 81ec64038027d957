"""A commit is written once and read for ever: exact bytes, and nothing that is not a commit."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bus import codec
from schemas.envelope import Event
from schemas.message import Attachment, MessagePosted
from schemas.vocabulary import NOUNS
from tests.examples import events, header

HI = MessagePosted(content="Hi.")
SIGNED = header(
    id="c1",
    cause="r1",
    correlation="r0",
    fingerprint="f1",
    traceparent=f"00-{'a' * 32}-{'b' * 16}-01",
)
any_event = st.one_of([events(noun) for noun in NOUNS])


@settings(max_examples=60, deadline=None)
@given(said=st.lists(any_event, min_size=1, max_size=3))
def test_what_is_encoded_is_decoded(said: list[Event]) -> None:
    """Every event of the vocabulary, with its defaults left out and put back."""
    _, payload = codec.encode(SIGNED, said)
    commit = codec.decode(payload, 3)

    assert commit.events == tuple(said)
    assert commit.seq == 3
    assert commit.header == msgspec.structs.replace(SIGNED, digest=commit.header.digest)


@settings(max_examples=60, deadline=None)
@given(said=any_event)
def test_facts_that_are_moved_about_are_the_same_facts(said: Event) -> None:
    """`parse` gives what `decode` gives, without models."""
    _, payload = codec.encode(SIGNED, [said])

    assert [codec.revive(fact) for fact in codec.parse(payload)["events"]] == [said]


def test_a_payload_can_be_read_by_anybody() -> None:
    """`nats sub 'evt.>'` shows who said what, in plain JSON, without empty fields."""
    _, payload = codec.encode(header(id="c1", cause="r1"), [HI])

    assert json.loads(payload) == {
        "header": {
            "v": 1,
            "id": "c1",
            "noun": "message",
            "key": "general.M1",
            "author": "ann",
            "origin": "n1",
            "clock": "01a3185c50000000",
            "cause": "r1",
            "correlation": "r1",
            "digest": codec.digest(b'[{"kind":"message_posted","data":{"content":"Hi."}}]'),
        },
        "events": [{"kind": "message_posted", "data": {"content": "Hi."}}],
    }


def values(opening: bytes) -> dict[str, str]:
    """What a header block says, after its first line."""
    first, *lines = opening.decode().split("\r\n")[:-1]
    assert first == "NATS/1.0"
    return dict(line.split(": ", 1) for line in lines)


def test_the_headers_are_cloudevents() -> None:
    """Version 1.0, binary mode, and the trace it belongs to."""
    opening, _ = codec.encode(SIGNED, [HI])

    assert values(opening) == {
        "ce-specversion": "1.0",
        "ce-id": "c1",
        "ce-type": "canopy.message.committed",
        "ce-source": "/nodes/n1",
        "ce-subject": "message/general.M1",
        "ce-time": "2027-01-15T08:00:00.000Z",
        "content-type": "application/json",
        "traceparent": f"00-{'a' * 32}-{'b' * 16}-01",
    }


@pytest.mark.parametrize("traceparent", ["", "x", "x\r\nNats-Rollup: all", f"00-{'a' * 32}"])
def test_a_traceparent_that_is_none_is_no_header(traceparent: str) -> None:
    """It came from somebody's request; in the payload it can do no harm."""
    opening, payload = codec.encode(header(traceparent=traceparent), [HI])

    assert "traceparent" not in values(opening)
    assert codec.decode(payload).header.traceparent == traceparent


def test_the_exact_bytes_are_cut_out_and_not_written_anew() -> None:
    """What a signature covers stays what was signed, also in an order that we would not write."""
    facts = b'[ {"data": {"content": "\\u0048i."}, "kind": "message_posted"} ]'
    head = orjson.dumps({"digest": codec.digest(facts), **without_digest()})
    payload = codec.OPENING + head + codec.MIDDLE + facts + b"}"

    assert codec.split(payload) == (head, facts)
    assert codec.decode(payload).events == (HI,)


def test_a_header_may_hold_any_text() -> None:
    """The cut is counted in bytes, whatever the characters weigh."""
    odd = header(fingerprint='✓ 🐝 "},"events":[')
    _, payload = codec.encode(odd, [HI])

    assert codec.decode(payload).header.fingerprint == odd.fingerprint


def test_events_that_were_touched_do_not_have_the_digest() -> None:
    """One letter is enough."""
    _, payload = codec.encode(header(), [HI])

    with pytest.raises(codec.Undecodable, match=r"position 9: .*digest"):
        codec.decode(payload.replace(b"Hi.", b"Ho."), 9)


@pytest.mark.parametrize("beside", [(b"\r\n", b""), (b" ", b""), (b"", b"\n"), (b"", b" ")])
def test_what_has_bytes_beside_it_is_no_commit(beside: tuple[bytes, bytes]) -> None:
    """JSON would not mind them. The broker's checksum covers its headers and the payload as one."""
    _, payload = codec.encode(header(), [HI])
    before, after = beside

    for read in (codec.decode, codec.parse, codec.prove):
        with pytest.raises(codec.Undecodable):
            read(before + payload + after)


def test_facts_are_not_moved_about_that_were_touched() -> None:
    _, payload = codec.encode(header(), [HI])

    with pytest.raises(codec.Undecodable, match="digest"):
        codec.parse(payload.replace(b"Hi.", b"Ho."))


def without_digest() -> dict[str, Any]:
    """The fields of a header."""
    fields: dict[str, Any] = msgspec.to_builtins(header())
    fields.pop("digest", None)
    return fields


def sealed(facts: Any, **fields: Any) -> bytes:
    """A commit whose digest is right, whatever it says."""
    body = orjson.dumps(facts)
    head = without_digest() | {"digest": codec.digest(body)} | fields
    return codec.OPENING + orjson.dumps(head) + codec.MIDDLE + body + b"}"


NONSENSE = {
    "nothing": b"",
    "no JSON": b"hello",
    "no UTF-8": codec.OPENING + b'"\xff\xfe"}',
    "half a commit": sealed([])[:-30],
    "another object": b'{"a": 1}',
    "a list": b"[]",
    "null": b"null",
    "no events": codec.OPENING + b"{}}",
    "endless nesting": codec.OPENING + b"[" * 100_000 + b"}",
    "a header of nothing": codec.OPENING + b"{}" + codec.MIDDLE + b"[]}",
    "events that are none": sealed(["message_posted", 3, None]),
    "events that are text": sealed("v"),
    "an event without data": sealed([{"kind": "message_posted"}]),
    "data that is a list": sealed([{"kind": "message_posted", "data": [1, 2]}]),
    "data that does not fit": sealed([{"kind": "message_posted", "data": {"text": "Hi."}}]),
    "a version that is text": sealed([{"kind": "message_posted", "v": "x", "data": {}}]),
    "an unknown kind": sealed([{"kind": "martian_landed", "data": {}}]),
    "a kind that is no text": sealed([{"kind": ["message_posted"], "data": {}}]),
    "two kinds": sealed([{"kind": "message_posted", "data": {"kind": "message_edited"}}]),
    "a field too many": sealed([], mood="good"),
    "an id that is none": sealed([], id="a b"),
    "an id of two lines": sealed([], id="a\n"),
    "a key of two lines": sealed([], key="a.b\n"),
    "a header of the future": sealed([], v=2),
}


@pytest.mark.parametrize("payload", NONSENSE.values(), ids=NONSENSE)
def test_what_is_no_commit_is_undecodable(payload: bytes) -> None:
    """And nothing else is ever raised, so that whoever reads knows what to expect."""
    with pytest.raises(codec.Undecodable, match="position 5"):
        codec.decode(payload, 5)


@settings(max_examples=200, deadline=None)
@given(data=st.data())
def test_any_damage_is_found(data: st.DataObject) -> None:
    """Any byte replaced, dropped or doubled: undecodable, or the very same commit."""
    said = MessagePosted(content="Hi.", attachments=(Attachment(id="F1"),))
    _, payload = codec.encode(SIGNED, [said])
    place = data.draw(st.integers(0, len(payload) - 1))
    instead = data.draw(st.binary(max_size=2))
    damaged = payload[:place] + instead + payload[place + 1 :]

    try:
        commit = codec.decode(damaged, 5)
    except codec.Undecodable:
        return
    assert commit.events == (said,)


def test_an_empty_attachment_is_as_long_as_it_was() -> None:
    """Defaults are not stored, at any depth, and come back."""
    said = MessagePosted(content="", attachments=(Attachment(id="F1"),))
    _, payload = codec.encode(header(), [said])

    assert b'"attachments":[{"id":"F1"}]' in payload
    assert codec.decode(payload).events == (said,)

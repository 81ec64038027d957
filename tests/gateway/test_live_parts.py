"""The parts of live pages that need no socket: tickets, presence, frames."""

from __future__ import annotations

import json
from functools import partial

import pytest
from msgspec.structs import replace

from bus import codec
from bus.clock import Clock
from bus.log import Missing, Stored
from bus.memory import MemoryLog
from gateway.feed import Entry, Feed
from gateway.follower import SocketForm, StreamForm
from gateway.policy import Principal
from gateway.presence import Presence
from gateway.redaction import shown
from gateway.tickets import Tickets
from schemas.channel import ChannelOpened, MemberAdded
from schemas.envelope import Header, Refused
from schemas.settings import Settings
from tests.bus.vaults import empty_vault

NOBODY = Principal(None)


def said(seq: int) -> Stored:
    """A message, which changes nobody's rights."""
    return replace(stored(seq), noun="message", key="general.M1")


def stored(seq: int) -> Stored:
    """A commit of two events."""
    header = Header(
        id=f"c{seq}", noun="channel", key="C1", author="ann", origin="n0",
        clock=Clock().tick(), cause=f"q{seq}", correlation="r",
        traceparent="00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    )  # fmt: skip
    opened = ChannelOpened(name="den", type="private", privacy_mode="private")
    _, payload = codec.encode(header, (opened, MemberAdded(account_id="ann", role="admin")))
    return Stored(seq, "channel", "C1", payload)


class Time:
    """Seconds that pass when told to."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


def test_a_ticket_opens_once() -> None:
    tickets = Tickets(30.0, 10, Time())
    ticket = tickets.issue(NOBODY)

    assert tickets.redeem(ticket) is NOBODY
    with pytest.raises(Refused, match="credential_invalid"):
        tickets.redeem(ticket)


def test_a_ticket_does_not_keep() -> None:
    time = Time()
    tickets = Tickets(30.0, 1, time)
    ticket = tickets.issue(NOBODY)
    time.now_s = 30.0

    with pytest.raises(Refused, match="credential_invalid"):
        tickets.redeem(ticket)


def test_tickets_are_few_and_forgotten() -> None:
    time = Time()
    tickets = Tickets(30.0, 1, time)
    tickets.issue(NOBODY)

    with pytest.raises(Refused, match="unavailable"):
        tickets.issue(NOBODY)
    time.now_s = 31.0
    assert tickets.issue(NOBODY)


def test_presence_is_the_union_of_gateways() -> None:
    here, there = Presence("G1", 30.0), Presence("G2", 30.0)
    here.arrive("ann")
    there.arrive("ann")
    there.arrive("bob")

    told = [here.hear(one.roster(0.0) or b"", 0.0) for one in (here, there)]
    there.leave("ann")
    told.append(here.hear(there.roster(1.0) or b"", 1.0))
    there.leave("bob")
    told.append(here.hear(there.roster(2.0) or b"", 2.0))

    assert told == [[("ann", "online")], [("bob", "online")], [], [("bob", "offline")]]
    assert here.online() == {"ann"}


def test_a_gateway_that_is_not_heard_of_is_forgotten() -> None:
    here, there = Presence("G1", 30.0), Presence("G2", 30.0)
    there.arrive("bob")
    here.hear(there.roster(0.0) or b"", 0.0)

    assert here.hear(here.roster(91.0) or b"", 91.0) == [("bob", "offline")]


def test_a_roster_is_shown_when_it_changes_and_from_time_to_time() -> None:
    presence = Presence("G1", 30.0)
    shown = [presence.roster(0.0) is not None, presence.roster(1.0) is not None]
    presence.arrive("ann")
    presence.arrive("ann")
    shown += [presence.roster(2.0) is not None, presence.roster(31.0) is not None]
    presence.leave("ann")
    shown += [presence.roster(32.0) is not None, presence.roster(63.0) is not None]

    assert shown == [True, False, True, False, True, True]


@pytest.mark.parametrize("size", [0, 1, 125, 126, 65_535, 65_536])
def test_a_frame_tells_its_length(size: int) -> None:
    frame = SocketForm().passing(b"x" * size)

    lengths = {126: frame[2:4], 127: frame[2:10]}
    told = int.from_bytes(lengths.get(frame[1], frame[1:2]))
    assert (frame[0], told, frame[-size:] if size else b"") == (0x81, size, b"x" * size)


def test_a_frame_is_written_once_for_each_form_and_sight() -> None:
    entry = Entry(stored(7), partial(shown, empty_vault()))
    entry.open()
    whole = entry.frame(StreamForm("e"), 0b11)
    second = json.loads(entry.frame(StreamForm("e"), 0b10).split(b"data: ")[1])

    assert entry.frame(StreamForm("e"), 0b11) is whole
    assert whole.startswith(b"id: e.7\ndata: {")
    assert [event["kind"] for event in second["events"]] == ["member_added"]
    assert entry.traceparent.startswith("00-0af7")


async def test_the_feed_keeps_what_fits() -> None:
    size = len(stored(1).payload)
    feed = Feed(MemoryLog(), partial(shown, empty_vault()), Settings(live_buffer_bytes=1 << 20))
    count = 3 * (1 << 20) // size
    feed.publish(stored(seq) for seq in range(1, count + 1))

    page = await feed.page(count - 10)
    assert [entry.seq for entry in page] == list(range(count - 9, count + 1))
    with pytest.raises(Missing):  # The log in memory, from where it would be read, is empty.
        await feed.page(0)


async def test_a_gap_in_what_is_shown_is_read_from_the_log() -> None:
    feed = Feed(MemoryLog(), partial(shown, empty_vault()), Settings())
    feed.publish([stored(1), stored(1), stored(5)])

    assert ([entry.seq for entry in await feed.page(4)], feed.head) == ([5], 5)
    with pytest.raises(Missing):
        await feed.page(1)


async def test_what_changes_no_rights_is_shown_before_it_is_folded() -> None:
    feed = Feed(MemoryLog(), partial(shown, empty_vault()), Settings())
    feed.sight([said(1), said(2), stored(3), said(4)])
    early = feed.head, feed.folded
    feed.publish([said(1), said(2), stored(3), said(4)])

    assert early == (2, 0)
    assert (feed.head, feed.folded) == (4, 4)
    assert [entry.seq for entry in await feed.page(0)] == [1, 2, 3, 4]


async def test_who_follows_is_woken_once_for_what_is_sighted_and_folded() -> None:
    """Ten thousand followers are ten thousand turns, each time."""
    feed = Feed(MemoryLog(), partial(shown, empty_vault()), Settings())
    woken: list[int] = []
    feed.published = lambda: woken.append(feed.head)
    feed.sight([said(1)])
    feed.publish([said(1)])
    feed.publish([stored(2)])

    assert woken == [1, 2]


def test_what_does_not_follow_or_cannot_be_read_is_left_to_the_fold() -> None:
    feed = Feed(MemoryLog(), partial(shown, empty_vault()), Settings())
    feed.sight([said(2)])
    feed.sight([replace(said(1), payload=b"?")])

    assert feed.head == 0

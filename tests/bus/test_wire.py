"""The wire: what is asked is answered, what is cut is noticed, and bytes may come in any pieces."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bus.wire import BrokerLost, TooLarge, Wire, dial
from schemas.settings import Settings
from tests.logs import DEADLINE_S, bus_on, fresh_broker, settings
from tests.simulated import Running

HEADERS = (b"", b"NATS/1.0\r\n\r\n")
INFO = b'INFO {"max_payload": 1024}\r\n'

pytestmark = pytest.mark.usefixtures("each_broker")


@pytest.fixture
def knobs(tmp_path: Path) -> Settings:
    return settings(tmp_path)


@pytest.fixture
async def running(knobs: Settings) -> AsyncIterator[Running]:
    async with fresh_broker(knobs) as one:
        yield one


@pytest.fixture
async def wire(running: Running, knobs: Settings) -> AsyncIterator[Wire]:
    """A wire of the role that may say most."""
    async with bus_on(running.endpoint, knobs) as bus:
        yield bus.wire


async def heard(queue: asyncio.Queue[bytes]) -> bytes:
    """The next payload, soon."""
    async with asyncio.timeout(DEADLINE_S):
        return await queue.get()


async def test_a_question_is_answered(wire: Wire) -> None:
    """By whoever subscribes, with whatever bytes."""
    wire.subscribe("cmd.>", lambda reply, _, data: wire.publish(reply.decode(), data * 2), "actors")

    assert await wire.ask("cmd.message.x", b"\r\n\x00", DEADLINE_S) == b"\r\n\x00" * 2
    assert await wire.ask("cmd.message.x", b"", DEADLINE_S) == b""


async def test_nobody_listening_is_told_at_once(wire: Wire) -> None:
    """Not after the deadline."""
    with pytest.raises(LookupError):
        await wire.ask("cmd.message.x", b"", 60)


async def test_no_answer_in_time_is_a_timeout(wire: Wire) -> None:
    """And an answer that comes too late is nobody's."""
    replies: asyncio.Queue[bytes] = asyncio.Queue()
    wire.subscribe("cmd.>", lambda reply, _, __: replies.put_nowait(reply), "actors")
    with pytest.raises(TimeoutError):
        await wire.ask("cmd.message.x", b"", 0.01)
    wire.publish((await heard(replies)).decode(), b"late")
    next_question = asyncio.create_task(wire.ask("cmd.message.x", b"", DEADLINE_S))
    wire.publish((await heard(replies)).decode(), b"now")

    assert await next_question == b"now"


async def test_a_queue_shares_the_work(running: Running, knobs: Settings, wire: Wire) -> None:
    """One message, one of the subscribers, whatever process it is in."""
    answered: asyncio.Queue[bytes] = asyncio.Queue()
    async with bus_on(running.endpoint, knobs) as other:
        for one in (wire, other.wire):
            one.subscribe("cmd.>", lambda _, __, data: answered.put_nowait(data), "actors")
        await other.wire.ask("$JS.API.STREAM.INFO.EVT", b"", DEADLINE_S)
        for nth in range(50):
            wire.publish("cmd.message.x", str(nth).encode())
        numbers = [int(await heard(answered)) for _ in range(50)]

    assert sorted(numbers) == list(range(50))


async def test_what_is_unsubscribed_is_heard_no_more(wire: Wire) -> None:
    """The next subscriber of the queue gets everything."""
    first: asyncio.Queue[bytes] = asyncio.Queue()
    second: asyncio.Queue[bytes] = asyncio.Queue()
    wire.unsubscribe(wire.subscribe("cmd.>", lambda _, __, data: first.put_nowait(data), "actors"))
    wire.subscribe("cmd.>", lambda _, __, data: second.put_nowait(data), "actors")
    for nth in range(20):
        wire.publish("cmd.message.x", str(nth).encode())

    assert [int(await heard(second)) for _ in range(20)] == list(range(20))
    assert first.empty()


async def test_a_message_that_the_broker_would_not_take_is_not_sent(wire: Wire) -> None:
    """It would end the connection, and all that others have asked on it."""
    with pytest.raises(TooLarge):
        wire.publish("cmd.message.x", b"x" * 2_000_000)

    assert await wire.ask("$JS.API.STREAM.INFO.EVT", b"", DEADLINE_S)


async def test_what_a_role_may_not_say_ends_its_connection(wire: Wire) -> None:
    """A refusal of the broker is a fault of ours: everybody who waits learns it."""
    with pytest.raises(BrokerLost, match="Permissions Violation"):
        await wire.ask("$JS.API.STREAM.DELETE.EVT", b"", DEADLINE_S)
    with pytest.raises(BrokerLost, match="gone"):
        wire.publish("cmd.message.x", b"")
    with pytest.raises(BrokerLost):
        await wire.lost


async def test_a_wrong_password_is_refused(running: Running) -> None:
    """With the broker's own words."""
    with pytest.raises(BrokerLost, match="Authorization Violation"):
        await dial(running.endpoint.url, "actors", "wrong")


async def test_a_broker_that_is_not_there_is_an_os_error() -> None:
    """As for any other connection."""
    with pytest.raises(OSError, match=r"refused|Connect call failed"):
        await dial("nats://127.0.0.1:1")


async def test_the_end_of_the_broker_is_the_end_of_every_wait(running: Running, wire: Wire) -> None:
    """At once, not after the deadline."""
    wire.subscribe("cmd.>", lambda *_: None, "actors")
    asking = [asyncio.create_task(wire.ask("cmd.message.x", b"", 60)) for _ in range(3)]
    await asyncio.sleep(0)
    await running.stop(DEADLINE_S)
    async with asyncio.timeout(DEADLINE_S):
        errors = await asyncio.gather(*asking, return_exceptions=True)

    assert {type(error) for error in errors} == {BrokerLost}


async def test_closing_on_purpose_loses_nothing(running: Running) -> None:
    """`lost` is for what we did not wish."""
    user, password = running.endpoint.login("actors")
    wire = await dial(running.endpoint.url, user, password)
    wire.close()
    await running.stop(DEADLINE_S)

    assert not wire.lost.done()


class Transport(asyncio.Transport):
    """A transport that keeps what is written to it."""

    def __init__(self) -> None:
        super().__init__()
        self.written = bytearray()

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written += data

    def is_closing(self) -> bool:
        return False

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """Nothing is ever full here."""


@given(
    payloads=st.lists(
        st.tuples(st.binary(max_size=20), st.sampled_from([b"", b"NATS/1.0\r\n\r\n"]))
    ),
    cuts=st.lists(st.integers(1, 40)),
)
def test_bytes_may_come_in_any_pieces(payloads: list[tuple[bytes, bytes]], cuts: list[int]) -> None:
    """A message may be cut anywhere, also within its first line; CR LF may stand in its middle."""
    asyncio.run(_in_pieces(payloads, cuts))


async def _in_pieces(payloads: list[tuple[bytes, bytes]], cuts: list[int]) -> None:
    wire, transport = Wire(), Transport()
    received: list[tuple[bytes, bytes]] = []
    wire.connection_made(transport)
    wire.subscribe("x", lambda _, header, data: received.append((data, header)))
    sid = bytes(transport.written.split()[-1])
    stream = INFO + b"PING\r\n" + b"".join(_frame(sid, *one) for one in payloads)
    while stream:
        size = cuts.pop() if cuts else len(stream)
        wire.data_received(stream[:size])
        stream = stream[size:]

    assert received == payloads
    assert b"PONG\r\n" in transport.written


def _frame(sid: bytes, data: bytes, header: bytes) -> bytes:
    if header:
        return b"HMSG x %b %d %d\r\n%b%b\r\n" % (
            sid,
            len(header),
            len(header) + len(data),
            header,
            data,
        )
    return b"MSG x %b reply %d\r\n%b\r\n" % (sid, len(data), data)


async def test_a_message_for_nobody_is_dropped() -> None:
    """It was on its way when its subscriber left."""
    wire = Wire()
    wire.connection_made(cast(asyncio.BaseTransport, Transport()))
    wire.data_received(INFO + b"MSG x 99 2\r\nHi\r\nMSG _INBOX.a.77 1 2\r\nHo\r\n")

    assert not wire.lost.done()

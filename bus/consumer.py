"""A durable place in the log: a reactor's consumer, which survives every restart.

Delivered at least once and in order; a commit is acknowledged when its work is in the log. What
cannot be worked on is delivered again with back-off, for ever: nothing is dropped (`max_deliver`
would drop silently; docs/explanation/write-path.md).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing, suppress

import orjson
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription
from nats.errors import Error as NatsError
from nats.errors import NoRespondersError
from nats.errors import TimeoutError as NatsTimeout

from bus import codec, subjects
from bus.client import heeding
from bus.log import LEADERLESS
from bus.wire import BrokerLost
from schemas.envelope import Commit

PULL_MAX = 64
PULL_EXPIRES_S = 30
ACK_TIMEOUT_S = 5.0
PULL_OVER = ("404", "408")
"""What the broker says when nothing has come, or nothing has come in time."""
SHUTDOWN = "Server Shutdown"
LEADERLESS_S = 0.5
"""Until a consumer without a leader is asked again; an election takes seconds."""


class ConsumerLost(Exception):
    """The broker hands out nothing more to this consumer."""


class Delivery:
    """One commit, and the word that it is done."""

    def __init__(self, message: Msg) -> None:
        self._message = message
        self.commit: Commit = codec.decode(message.data, message.metadata.sequence.stream)

    async def done(self) -> None:
        """Acknowledged, and the acknowledgement stored.

        Raises `ConsumerLost`, `bus.wire.BrokerLost`, or TimeoutError: it will be delivered again.
        """
        try:
            await heeding(self._message.ack_sync(timeout=ACK_TIMEOUT_S))
        except NatsTimeout:
            raise
        except NoRespondersError as error:
            raise ConsumerLost("the consumer is gone: nobody takes its acknowledgement") from error
        except NatsError as error:
            raise BrokerLost(f"no connection to acknowledge over: {error}") from error

    async def again(self, delay_s: float) -> None:
        """Deliver it again after *delay_s*. Raises `bus.wire.BrokerLost`."""
        try:
            await self._message.nak(delay=delay_s)
        except NatsError as error:
            raise BrokerLost(f"no connection to put it off over: {error}") from error


async def deliveries(
    client: Client, durable: str, *, clustered: bool = False
) -> AsyncGenerator[Delivery]:
    """The commits that the consumer *durable* has not seen acknowledged, in order, for ever.

    A *clustered* consumer that nobody leads at this moment is waited for.

    Each pull stays open until it is used up or expires, so a commit arrives when it is stored;
    nats-py's `fetch` would wait for a full batch. Raises `ConsumerLost` when there is no such
    consumer, or none any more, and `bus.wire.BrokerLost` when the connection has gone.
    """
    try:
        async with aclosing(_pulled(client, durable, clustered=clustered)) as pulled:
            async for delivery in pulled:
                yield delivery
    except NatsError as error:
        raise BrokerLost(f"the consumer {durable} has no connection: {error}") from error


async def _pulled(client: Client, durable: str, *, clustered: bool) -> AsyncGenerator[Delivery]:
    inbox = client.new_inbox()
    subscription = await client.subscribe(inbox)
    pull = orjson.dumps({"batch": PULL_MAX, "expires": PULL_EXPIRES_S * 1_000_000_000})
    subject = f"$JS.API.CONSUMER.MSG.NEXT.{subjects.STREAM}.{durable}"
    message: Msg | None = None
    try:
        while True:
            await client.publish(subject, pull, reply=inbox)
            for _ in range(PULL_MAX):
                _end_if_cancelled()
                try:
                    message = await heeding(subscription.next_msg(timeout=PULL_EXPIRES_S + 5))
                except NatsTimeout:
                    break
                _end_if_cancelled()
                if message.headers and "Status" in message.headers:
                    if clustered and await _leaderless(client, durable, message.headers):
                        await asyncio.sleep(LEADERLESS_S)
                    else:
                        _expired(durable, message.headers)
                    break
                yield Delivery(message)
    finally:
        with suppress(NatsError):  # The connection ends the subscription as well.
            await _given_back(subscription, message)


def _end_if_cancelled() -> None:
    """Raises CancelledError when the task has been cancelled and did not hear of it.

    nats-py waits with `asyncio.wait_for`, which in Python 3.11 forgets a cancellation that comes
    together with what it waits for: a reactor at work would outlive its room.
    """
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError


async def _given_back(subscription: Subscription, last: Msg | None) -> None:
    """What was handed out and not worked on is free for the next who asks, not after `ack_wait`."""
    handed = [last] if last is not None else []
    while subscription.pending_msgs:
        handed.append(await subscription.next_msg())
    await subscription.unsubscribe()
    for message in handed:
        if message.reply and not message.is_acked:
            await message.nak()


async def _leaderless(client: Client, durable: str, headers: Mapping[str, str]) -> bool:
    """Whether a pull ended because nobody leads the consumer: it has to be there all the same."""
    if headers["Status"] in PULL_OVER:
        return False
    subject = f"$JS.API.CONSUMER.INFO.{subjects.STREAM}.{durable}"
    try:
        told = orjson.loads((await heeding(client.request(subject, timeout=ACK_TIMEOUT_S))).data)
    except (NatsTimeout, NoRespondersError):
        return True
    code = told.get("error", {}).get("err_code")
    return code is None or code in LEADERLESS


def _expired(durable: str, headers: Mapping[str, str]) -> None:
    """Returns when the broker says that a pull is over.

    Raises `BrokerLost` when it says that it ends itself, and `ConsumerLost` for anything else,
    because asking again at once would only be answered in the same way, at once.
    """
    status = headers["Status"]
    if status not in PULL_OVER:
        said = headers.get("Description", "nobody answers")
        if said == SHUTDOWN:
            raise BrokerLost(f"the consumer {durable} is going: {said}")
        raise ConsumerLost(f"the consumer {durable} is gone: {status} {said}")

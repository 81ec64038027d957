"""A durable place in the log: a reactor's consumer, which survives every restart.

Delivered at least once and in order; a commit is acknowledged when its work is in the log. What
cannot be worked on is delivered again with back-off, for ever: nothing is dropped (`max_deliver`
would drop silently; docs/explanation/write-path.md).
"""

from __future__ import annotations

from collections.abc import AsyncIterator

import orjson
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.errors import TimeoutError as NatsTimeout

from bus import codec, subjects
from schemas.envelope import Commit

PULL_MAX = 64
PULL_EXPIRES_S = 30


class Delivery:
    """One commit, and the word that it is done."""

    def __init__(self, message: Msg) -> None:
        self._message = message
        self.commit: Commit = codec.decode(message.data, message.metadata.sequence.stream)

    async def done(self) -> None:
        """Acknowledged, and the acknowledgement stored."""
        await self._message.ack_sync()

    async def again(self, delay_s: float) -> None:
        """Deliver it again after *delay_s*."""
        await self._message.nak(delay=delay_s)


async def deliveries(client: Client, durable: str) -> AsyncIterator[Delivery]:
    """The commits that the consumer *durable* has not seen acknowledged, in order, for ever.

    Each pull stays open until it is used up or expires, so a commit arrives when it is stored;
    nats-py's `fetch` would wait for a full batch.
    """
    inbox = client.new_inbox()
    subscription = await client.subscribe(inbox)
    pull = orjson.dumps({"batch": PULL_MAX, "expires": PULL_EXPIRES_S * 1_000_000_000})
    subject = f"$JS.API.CONSUMER.MSG.NEXT.{subjects.STREAM}.{durable}"
    try:
        while True:
            await client.publish(subject, pull, reply=inbox)
            for _ in range(PULL_MAX):
                try:
                    message = await subscription.next_msg(timeout=PULL_EXPIRES_S + 5)
                except NatsTimeout:
                    break
                if message.headers and "Status" in message.headers:
                    break
                yield Delivery(message)
    finally:
        await subscription.unsubscribe()

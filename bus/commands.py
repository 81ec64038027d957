"""How a command finds its aggregate: a request on `cmd.<noun>.<key>`, answered by any actor.

Nothing is stored on the way: a command that finds nobody fails, and its sender may send the same
command (the same id) again, as often as it likes, for one effect.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Protocol

import orjson
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.errors import Error as NatsError
from nats.errors import NoRespondersError

from bus import subjects
from schemas.envelope import Answer, Refused, Request

Handle = Callable[[Request], Awaitable[Answer]]


class Unavailable(Exception):
    """Nobody answered in time. The command may have had its effect: send the same id again."""


class Commands(Protocol):
    """Where commands are sent."""

    async def send(self, request: Request) -> Answer:
        """What came of it. Raises `Refused`, or `Unavailable`."""


class NatsCommands:
    """Commands over the broker."""

    def __init__(self, client: Client, timeout_s: float) -> None:
        self._client = client
        self._timeout_s = timeout_s

    async def send(self, request: Request) -> Answer:
        subject = subjects.command(request.noun, request.key)
        try:
            reply = await self._client.request(
                subject, request.model_dump_json().encode(), timeout=self._timeout_s
            )
        except NoRespondersError as error:
            raise Unavailable("no actor process is running") from error
        except (NatsError, TimeoutError) as error:
            raise Unavailable(f"no answer to the command: {error}") from error
        return accepted(Answer.model_validate_json(reply.data))


def accepted(answer: Answer) -> Answer:
    """The answer itself. Raises `Refused` when that is what it says."""
    if answer.refused is not None:
        raise Refused(answer.refused.code, answer.refused.message, answer.refused.detail)
    return answer


async def serve(client: Client, handle: Handle, in_flight_max: int) -> None:
    """Answer commands, for ever, at most *in_flight_max* at once; the queue group shares them."""
    places = asyncio.Semaphore(in_flight_max)
    subscription = await client.subscribe(subjects.COMMANDS, queue=subjects.QUEUE)
    async with asyncio.TaskGroup() as group:
        async for message in subscription.messages:
            await places.acquire()
            answering = group.create_task(_answer(message, handle))
            answering.add_done_callback(lambda _: places.release())


async def _answer(message: Msg, handle: Handle) -> None:
    answer = await handle(Request(**orjson.loads(message.data)))
    await message.respond(answer.model_dump_json(exclude_defaults=True).encode())

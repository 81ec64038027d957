"""How a command finds its aggregate: a request on `cmd.<noun>.<key>`, answered by any actor.

Nothing is stored on the way: a command that finds nobody fails, and its sender may send the same
command (the same id) again, as often as it likes, for one effect.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, Protocol

import msgspec
from pydantic import ValidationError

from bus import subjects
from bus.wire import BrokerLost, TooLarge, Wire
from schemas.envelope import Answer, Command, Refusal, Refused, Request
from schemas.vocabulary import COMMANDS


def _plain(command: Command) -> dict[str, Any]:
    """A command as it travels: its kind, and what differs from the defaults."""
    return {"kind": command.kind, **command.model_dump(mode="json", exclude_defaults=True)}


def revive(_: type, told: Any) -> Command:
    """The command that has travelled as *told*. Raises ValueError with the place and the fault."""
    kind = told.get("kind") if isinstance(told, dict) else None
    if kind not in COMMANDS:
        raise ValueError(f"kind: {kind!r} is none that is known here")
    try:
        return COMMANDS[kind].model_validate(told)
    except ValidationError as error:
        problem = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(str(step) for step in problem["loc"])
        raise ValueError(f"{place}: {problem['msg']}") from error


ANSWERS = msgspec.json.Decoder(Answer)
REQUESTS = msgspec.json.Decoder(Request, dec_hook=revive)
REQUEST = msgspec.json.Encoder(enc_hook=_plain)
Handle = Callable[[Request], Awaitable[Answer]]


class Unavailable(Exception):
    """Nobody answered in time. The command may have had its effect: send the same id again."""


class Commands(Protocol):
    """Where commands are sent."""

    async def send(self, request: Request) -> Answer:
        """What came of it. Raises `Refused`, or `Unavailable`."""


class WireCommands:
    """Commands over the broker."""

    def __init__(self, wire: Wire, timeout_s: float) -> None:
        self._wire = wire
        self._timeout_s = timeout_s

    async def send(self, request: Request) -> Answer:
        subject = subjects.command(request.noun, request.key)
        payload = REQUEST.encode(request)
        try:
            data = await self._wire.ask(subject, payload, self._timeout_s)
        except TooLarge as error:
            raise Refused("body_too_large", f"A command may not be so large: {error}.") from error
        except LookupError as error:
            raise Unavailable("no actor process is running") from error
        except TimeoutError as error:
            raise Unavailable(f"no answer to the command in {self._timeout_s} s") from error
        except BrokerLost as error:
            raise Unavailable(str(error)) from error
        return accepted(ANSWERS.decode(data))


class LocalCommands:
    """Commands to the actors of this very process, without a way between (ADR 0014).

    The same requests and answers, minus two trips over the broker and four turns into JSON. Until
    the actors `attend`, senders wait.
    """

    def __init__(self, timeout_s: float) -> None:
        self._timeout_s = timeout_s
        self._handle: Handle | None = None
        self._attended = asyncio.Event()

    def attend(self, handle: Handle) -> None:
        """From here on commands go to *handle*."""
        self._handle = handle
        self._attended.set()

    async def send(self, request: Request) -> Answer:
        if self._handle is None:
            await self._awaited()
        assert self._handle is not None  # noqa: S101  # What `attend` sets before it tells.
        return accepted(await self._handle(request))

    async def _awaited(self) -> None:
        try:
            async with asyncio.timeout(self._timeout_s):
                await self._attended.wait()
        except TimeoutError as error:
            raise Unavailable("the actors are not there yet") from error


def accepted(answer: Answer) -> Answer:
    """The answer itself. Raises `Refused` when that is what it says."""
    if answer.refused is not None:
        raise Refused(answer.refused.code, answer.refused.message, answer.refused.detail)
    return answer


async def serve(wire: Wire, handle: Handle, in_flight_max: int) -> None:
    """Answer commands, for ever; the queue group shares them among processes.

    At most *in_flight_max* are being answered at once; who comes in between is told to come again.
    """
    failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    answering: set[asyncio.Task[None]] = set()

    def receive(reply: bytes, _header: bytes, data: bytes) -> None:
        if len(answering) >= in_flight_max:
            return  # The sender's own timeout tells it; an answer would only add to the load.
        task = asyncio.get_running_loop().create_task(answer(reply, data))
        answering.add(task)
        task.add_done_callback(finished)

    async def answer(reply: bytes, data: bytes) -> None:
        done = await _answered(data, handle)
        if reply:  # Else whoever sent it does not want to know.
            with suppress(BrokerLost):  # No way back; whoever serves learns of that by itself.
                _tell(wire, reply.decode(), done)

    def finished(task: asyncio.Task[None]) -> None:
        answering.discard(task)
        error = None if task.cancelled() else task.exception()
        if error is not None and not failed.done():
            failed.set_exception(error)

    subscription = wire.subscribe(subjects.COMMANDS, receive, subjects.QUEUE)
    try:
        await asyncio.wait((failed, wire.lost), return_when=asyncio.FIRST_COMPLETED)
        for ended in (failed, wire.lost):
            if ended.done():
                ended.result()
    finally:
        wire.unsubscribe(subscription)
        for task in answering:
            task.cancel()
        await asyncio.gather(*answering, return_exceptions=True)
        if failed.done():
            failed.exception()  # Told by now, or overtaken by the loss of the broker.


def _tell(wire: Wire, reply: str, done: Answer) -> None:
    """Send *done* to whoever awaits it at *reply*. Raises `BrokerLost`."""
    try:
        wire.publish(reply, msgspec.json.encode(done))
    except TooLarge as error:
        problem = f"It was dealt with, but what came of it is too large to be told: {error}."
        refusal = Refusal(code="answer_too_large", message=problem)
        wire.publish(reply, msgspec.json.encode(Answer(seq=0, refused=refusal)))


async def _answered(data: bytes, handle: Handle) -> Answer:
    """What came of the command in *data*; bytes that are none are refused, and hurt nobody else."""
    try:
        request = REQUESTS.decode(data)
    except msgspec.MsgspecError as error:
        problem = f"This is no command: {error}."
        return Answer(seq=0, refused=Refusal(code="invalid_command", message=problem))
    return await handle(request)

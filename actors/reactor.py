"""How a reactor lives: commit → plan → perform → acknowledge.

`plan` is pure: the commands that a commit calls for. An effect has happened when the log says so:
the ids of the commands derive from the commit that called for them, so a commit that is delivered
again plans the same commands, and they change nothing the second time.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass

import structlog

from actors.host import PASSING
from bus.clock import derived_id
from bus.codec import Undecodable
from bus.commands import Commands, Unavailable
from bus.consumer import Delivery
from bus.subjects import EVENTS
from schemas.envelope import SYSTEM, Command, Commit, Id, Key, Refused, Request

RETRY_S = 0.5
log = structlog.get_logger()


@dataclass(frozen=True)
class Intent:
    """A command that a reactor wants sent."""

    noun: Id
    key: Key
    command: Command


@dataclass(frozen=True)
class Reactor:
    """One room's reactor: the name of its durable consumer, its pure half, and what it hears."""

    name: str
    plan: Callable[[Commit], Sequence[Intent]]
    subjects: str = EVENTS


async def react(reactor: Reactor, deliveries: AsyncGenerator[Delivery], commands: Commands) -> None:
    """Work on what is delivered, for ever, or until a commit cannot be read.

    That one stops this reactor and nothing else: it stays unacknowledged, and so does what follows
    it, until a start with a program or a log that can be read.
    """
    try:
        async with aclosing(deliveries):
            async for delivery in deliveries:
                await _work(reactor, delivery, commands)
    except Undecodable as poison:
        remedy = "upgrade Canopy, or put back a copy of the log; nothing is passed over"
        log.critical("reactor_stopped", reactor=reactor.name, reason=str(poison), remedy=remedy)


async def _work(reactor: Reactor, delivery: Delivery, commands: Commands) -> None:
    try:
        for nth, intent in enumerate(reactor.plan(delivery.commit)):
            await send(reactor.name, intent, delivery.commit, nth, commands)
    except Unavailable:
        await delivery.again(RETRY_S)
    else:
        await delivery.done()


async def send(reactor: str, intent: Intent, commit: Commit, nth: int, commands: Commands) -> None:
    """What *commit* called for has been asked for. Raises `Unavailable` when nobody could answer:
    then the same has to be sent again."""
    request = Request(
        id=derived_id("", reactor, commit.header.id, str(nth), digits=32),
        noun=intent.noun,
        key=intent.key,
        author=SYSTEM,
        correlation=commit.header.correlation,
        parent=commit.header.id,
        traceparent=commit.header.traceparent,
        command=intent.command,
    )
    try:
        await commands.send(request)
    except Refused as refused:
        if refused.code in PASSING:
            raise Unavailable(str(refused)) from refused
        # A refusal is an answer: the world has moved on, and sending again would change nothing.
        log.info("intent_refused", reactor=reactor, code=refused.code, cause=commit.header.id)

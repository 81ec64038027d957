"""A command finds its aggregate, and what came of it finds its sender."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest

from bus.attachment import Bus
from bus.commands import REQUEST, Handle, LocalCommands, Unavailable, WireCommands, serve
from schemas.envelope import Answer, Fact, Refusal, Refused, Request
from schemas.message import PostMessage
from schemas.settings import Settings
from tests.examples import request
from tests.logs import DEADLINE_S, bus_on, fresh_broker, line, settings
from tests.simulated import Running

SAY = request("message", "general.M1", PostMessage(content="Hi. ✓"), expected=7)


@pytest.fixture
def knobs(tmp_path: Path) -> Settings:
    return settings(tmp_path)


@pytest.fixture
async def running(knobs: Settings) -> AsyncIterator[Running]:
    async with fresh_broker(knobs) as one:
        yield one


@pytest.fixture
async def bus(running: Running, knobs: Settings) -> AsyncIterator[Bus]:
    async with bus_on(running.endpoint, knobs) as one:
        yield one


async def done(request: Request) -> Answer:
    """An answer that tells what was asked."""
    return Answer(
        seq=request.expected or 0,
        clock="c",
        author=request.author,
        facts=(Fact(kind="echo", data=request.command.model_dump(mode="json")),),
        replayed=True,
    )


@asynccontextmanager
async def serving(bus: Bus, handle: Handle = done, most: int = 100) -> AsyncIterator[None]:
    """Somebody answers commands, as long as the block lasts."""
    room = asyncio.create_task(serve(bus.wire, handle, most))
    await asyncio.sleep(0)
    try:
        yield
    finally:
        room.cancel()
        await asyncio.wait([room])


async def test_a_command_arrives_whole_and_so_does_its_answer(bus: Bus) -> None:
    """Every field of both."""
    async with serving(bus):
        assert await bus.commands.send(SAY) == await done(SAY)


async def test_a_refusal_is_raised_where_the_command_was_sent(bus: Bus) -> None:
    """With its code, its words and its details."""

    async def refuse(_: Request) -> Answer:
        refusal = Refusal(code="not_author", message="Only its author.", detail={"field": "x"})
        return Answer(seq=0, refused=refusal)

    async with serving(bus, refuse):
        with pytest.raises(Refused) as caught:
            await bus.commands.send(SAY)
    assert caught.value == Refused("not_author", "Only its author.", {"field": "x"})


async def test_nobody_there_is_unavailable_at_once(bus: Bus) -> None:
    """The command was not heard by anybody."""
    with pytest.raises(Unavailable, match="no actor process"):
        await bus.commands.send(SAY)


async def test_no_answer_in_time_is_unavailable(bus: Bus) -> None:
    """The command may have had its effect; that is for its id to tell."""
    commands = WireCommands(bus.wire, 0.05)

    async def silent(_: Request) -> Answer:
        await asyncio.Event().wait()
        raise AssertionError

    async with serving(bus, silent):
        with pytest.raises(Unavailable, match=r"no answer to the command in 0\.05 s"):
            await commands.send(SAY)


async def test_an_answer_lost_on_the_way_is_unavailable(running: Running, knobs: Settings) -> None:
    """Like any other that does not come."""
    async with (
        bus_on(running.endpoint, knobs) as bus,
        line(running.endpoint.url) as between,
        bus_on(replace(running.endpoint, url=between.url), knobs) as far,
        serving(bus),
    ):
        commands = WireCommands(far.wire, 0.05)
        between.cut = True
        with pytest.raises(Unavailable):
            await commands.send(SAY)
        between.cut = False

        assert await commands.send(SAY) == await done(SAY)


async def test_a_lost_broker_is_unavailable_at_once(bus: Bus, running: Running) -> None:
    """Whoever waits and whoever comes later."""
    await running.stop(DEADLINE_S)

    with pytest.raises(Unavailable):
        await bus.commands.send(SAY)


async def test_a_command_that_is_too_large_is_refused(bus: Bus) -> None:
    """Before it is sent; the connection stays."""
    post = PostMessage.model_construct(content="x" * 2_000_000)
    large = msgspec.structs.replace(SAY, command=post)
    async with serving(bus):
        with pytest.raises(Refused, match="body_too_large"):
            await bus.commands.send(large)

        assert await bus.commands.send(SAY) == await done(SAY)


async def test_an_answer_that_is_too_large_hurts_nobody_else(bus: Bus) -> None:
    """Its sender is told; the others are answered."""

    async def verbose(request: Request) -> Answer:
        answer = await done(request)
        large = Fact(kind="x", data={"content": "x" * 2_000_000})
        return msgspec.structs.replace(answer, facts=(large,)) if request.expected == 0 else answer

    async with serving(bus, verbose):
        with pytest.raises(Refused, match="answer_too_large"):
            await bus.commands.send(msgspec.structs.replace(SAY, expected=0))

        assert await bus.commands.send(SAY) == await done(SAY)


def sent(command: Any) -> bytes:
    """A request that anybody may have written."""
    told = {"id": "r1", "noun": "message", "key": "general.M1", "author": "ann", "correlation": "c"}
    return msgspec.json.encode(told | {"command": command})


@pytest.mark.parametrize(
    ("command", "place"),
    [
        ({"kind": "post_message", "content": 3}, "content"),
        ({"kind": "post_message", "mood": "good"}, "mood"),
        ({"kind": "whisper"}, "kind"),
        ({}, "kind"),
        ("Hi.", "kind"),
    ],
)
async def test_a_command_that_does_not_fit_is_refused_with_the_place(
    bus: Bus, command: Any, place: str
) -> None:
    """Nobody decides on it."""
    async with serving(bus):
        data = await bus.wire.ask("cmd.message.x", sent(command), DEADLINE_S)
        refused = msgspec.json.decode(data, type=Answer).refused

    assert refused is not None
    assert (refused.code, f"{place}: " in refused.message) == ("invalid_command", True)


@pytest.mark.parametrize("nonsense", [b"", b"hello", b"[]", b'{"id": "a b"}', b"\xff"])
async def test_what_is_no_command_is_refused_and_hurts_nobody(bus: Bus, nonsense: bytes) -> None:
    """The room goes on, and so do those whom it is answering."""
    async with serving(bus):
        data = await bus.wire.ask("cmd.message.x", nonsense, DEADLINE_S)
        refused = msgspec.json.decode(data, type=Answer).refused
        assert refused is not None
        assert refused.code == "invalid_command"

        assert await bus.commands.send(SAY) == await done(SAY)


async def test_a_command_that_wants_no_answer_gets_none(bus: Bus) -> None:
    """It is handled all the same."""
    handled: asyncio.Queue[Request] = asyncio.Queue()

    async def note(request: Request) -> Answer:
        handled.put_nowait(request)
        return Answer(seq=0)

    async with serving(bus, note):
        bus.wire.publish("cmd.message.general.M1", REQUEST.encode(SAY))
        async with asyncio.timeout(DEADLINE_S):
            assert await handled.get() == SAY
        assert await bus.commands.send(SAY) == Answer(seq=0)


async def test_at_most_so_many_are_answered_at_once(bus: Bus) -> None:
    """Who comes in between hears nothing and sends again."""
    commands = WireCommands(bus.wire, 0.05)
    going, busy = asyncio.Event(), asyncio.Barrier(3)

    async def slow(request: Request) -> Answer:
        if not going.is_set():
            await busy.wait()
            await going.wait()
        return await done(request)

    async with serving(bus, slow, most=2):
        first = [asyncio.create_task(bus.commands.send(SAY)) for _ in range(2)]
        await busy.wait()
        with pytest.raises(Unavailable):
            await commands.send(SAY)
        going.set()

        assert await asyncio.gather(*first) == [await done(SAY)] * 2
        assert await bus.commands.send(SAY) == await done(SAY)


async def test_a_fault_ends_the_room_and_leaves_no_deaf_ear(bus: Bus) -> None:
    """The room that takes its place hears every command: the old one has let go of the queue."""

    async def faulty(_: Request) -> Answer:
        raise ZeroDivisionError

    room = asyncio.create_task(serve(bus.wire, faulty, 100))
    await asyncio.sleep(0)
    with pytest.raises(Unavailable):
        await WireCommands(bus.wire, 0.05).send(SAY)
    with pytest.raises(ZeroDivisionError):
        await room

    async with serving(bus):
        answers = await asyncio.gather(*(bus.commands.send(SAY) for _ in range(50)))
    assert answers == [await done(SAY)] * 50


async def test_the_end_of_the_room_is_the_end_of_what_it_was_doing(bus: Bus) -> None:
    """Nothing goes on behind its back."""
    started, ended = asyncio.Event(), asyncio.Event()

    async def endless(_: Request) -> Answer:
        started.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()
        raise AssertionError

    async with serving(bus, endless):
        asking = asyncio.create_task(bus.commands.send(SAY))
        await started.wait()
    asking.cancel()

    assert ended.is_set()


async def test_actors_of_the_same_process_are_asked_without_a_way_between() -> None:
    """The same answers, and the same refusals."""
    here = LocalCommands(DEADLINE_S)
    here.attend(done)
    assert await here.send(SAY) == await done(SAY)

    async def refuse(_: Request) -> Answer:
        return Answer(seq=0, refused=Refusal(code="not_author", message="Only its author."))

    here.attend(refuse)
    with pytest.raises(Refused, match="not_author"):
        await here.send(SAY)


async def test_whoever_is_early_waits_for_the_actors_but_not_for_ever() -> None:
    """They are on their way when a process starts."""
    here = LocalCommands(0.05)
    with pytest.raises(Unavailable, match="not there yet"):
        await here.send(SAY)
    early = asyncio.create_task(here.send(SAY))
    await asyncio.sleep(0)
    here.attend(done)

    assert await early == await done(SAY)

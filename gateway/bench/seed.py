"""A long log, written fast: what a busy workspace says in months, straight through the log.

The owner and `general` are made by a node that runs for a moment, so the log can be read over the
API afterwards. The rest is appended in atomic batches: accounts, channels, messages, threads,
edits, reactions and read cursors, in proportions that resemble a workspace.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from random import Random
from time import perf_counter

from actors.__main__ import durables
from bus.attachment import Bus, attached, prepared
from bus.clock import new_id
from bus.holding import hold
from bus.identity_file import identify
from bus.server import broker
from bus.telemetry import Telemetry
from gateway.bench.node import node
from gateway.bench.report import Figure, Report
from schemas.account import AccountRegistered
from schemas.channel import GENERAL, ChannelOpened
from schemas.cursor import CursorAdvanced
from schemas.envelope import Event, Header
from schemas.message import MessageEdited, MessagePosted, ReactionAdded
from schemas.settings import Settings

EVENTS = 1_000_000
PEOPLE = 50
CHANNELS = 20
WRITERS = 4
PORTION = 1000
KNOWN_MAX = 20_000
MARKER = "seed.json"
PROSE = (
    "log node commit branch review merge channel agent session relay peer window cursor build test "
    "release plan note task finding decision question answer green red slow quick why because when "
    "after before with without the a an of to in on for and or but not is was will should could"
)
REACTIONS = ("like", "love", "celebrate", "laugh")


@dataclass
class Workspace:
    """What has been said so far, and chance to say more."""

    chance: Random
    people: list[str]
    channels: list[str]
    texts: list[str]
    known: list[tuple[str, int]] = field(default_factory=list)
    """Messages that may be edited, answered or reacted to: (key, position)."""
    cursors: list[tuple[str, int]] = field(default_factory=list)
    """Read cursors that nobody moves at the moment: (key, position)."""

    @classmethod
    def begin(cls, seed: int) -> Workspace:
        """Fifty people in twenty channels."""
        chance, words = Random(seed), PROSE.split()
        texts = [" ".join(chance.choices(words, k=chance.randint(3, 40))) for _ in range(2000)]
        people = [f"user_{chance.getrandbits(64):016x}" for _ in range(PEOPLE)]
        channels = [f"C{chance.getrandbits(64):016x}" for _ in range(CHANNELS)]
        cursors = [(f"{channel}.{person}", 0) for channel in channels for person in people]
        return cls(chance, people, channels, texts, cursors=cursors)


@dataclass(frozen=True, slots=True)
class Line:
    """One commit to come: who does what to which aggregate, last seen at `expected`."""

    noun: str
    key: str
    author: str
    event: Event
    expected: int = 0


def opening(workspace: Workspace) -> Iterator[Line]:
    """The people and the channels."""
    for nth, person in enumerate(workspace.people):
        registered = AccountRegistered(
            username=f"person{nth}",
            display_name=f"Person {nth}",
            account_type="agent" if nth % 3 == 0 else "human",
            status="active",
            password_sealed="",
            public_key="",
        )
        yield Line("account", person, person, registered)
    for nth, channel in enumerate(workspace.channels):
        opened = ChannelOpened(name=f"room {nth}", type="public", privacy_mode="open")
        yield Line("channel", channel, workspace.people[0], opened)


def talk(workspace: Workspace) -> Line:
    """The next thing that somebody does: 4 of 5 times a message, most of them in `general`."""
    chance = workspace.chance
    person, roll = chance.choice(workspace.people), chance.random()
    if roll < 0.8 or len(workspace.known) < PORTION:
        channel = GENERAL if roll < 0.6 else chance.choice(workspace.channels)
        return Line("message", f"{channel}.{new_id('M')}", person, _message(workspace, channel))
    if roll < 0.84 and workspace.cursors:
        key, seq = _taken(workspace, workspace.cursors)
        return Line("cursor", key, key.partition(".")[2], CursorAdvanced(seq=seq + 1), seq)
    key, seq = _taken(workspace, workspace.known)
    if roll < 0.9:
        return Line(
            "message", key, person, MessageEdited(content=chance.choice(workspace.texts)), seq
        )
    reaction = chance.choice(REACTIONS)
    return Line("message", key, person, ReactionAdded.model_validate({"reaction": reaction}), seq)


def _taken(workspace: Workspace, pool: list[tuple[str, int]]) -> tuple[str, int]:
    """One of *pool*, out of it until its next commit is stored: nothing is moved twice at once."""
    nth = workspace.chance.randrange(len(pool))
    pool[nth], pool[-1] = pool[-1], pool[nth]
    return pool.pop()


def _message(workspace: Workspace, channel: str) -> MessagePosted:
    chance = workspace.chance
    content = chance.choice(workspace.texts)
    if chance.random() < 0.85 or not workspace.known:
        return MessagePosted(content=content)
    where, _, root = chance.choice(workspace.known)[0].partition(".")
    if where != channel:
        return MessagePosted(content=content, mentions=(chance.choice(workspace.people),))
    return MessagePosted(content=content, thread_id=root, parent_message_id=root)


async def seeded(directory: Path, events: int = EVENTS) -> Report:
    """*directory* holds a log of at least *events* events; made once, then found."""
    marker = directory / MARKER
    if marker.exists() and json.loads(marker.read_text())["events"] >= events:
        return Report("seed", f"{directory} is there already", ())
    async with node(directory):
        pass  # It has an owner now, and a channel `general`.
    settings = Settings(data_directory=directory)
    began_s = perf_counter()
    with hold(directory, datetime.now(UTC).isoformat()):
        await _append(settings, events)
    took_s = perf_counter() - began_s
    marker.write_text(json.dumps({"events": events}))
    figure = Figure("appended", events / took_s, "events/s")
    return Report("seed", f"{events:,} events into {directory}", (figure,))


async def _append(settings: Settings, events: int) -> None:
    identity, telemetry = identify(settings.data_directory, None), Telemetry()
    async with broker(settings) as running:
        await prepared(running.endpoint, settings, durables())
        async with attached(running.endpoint, "actors", identity, settings, telemetry) as bus:
            workspace = Workspace.begin(7)
            flushing = asyncio.create_task(bus.log.flush())
            await _store(bus, workspace, list(opening(workspace)))
            left = iter(range(events // PORTION))
            async with asyncio.TaskGroup() as group:
                for _ in range(WRITERS):
                    group.create_task(_write(bus, workspace, left))
            flushing.cancel()


async def _write(bus: Bus, workspace: Workspace, left: Iterator[int]) -> None:
    for _ in left:
        await _store(bus, workspace, [talk(workspace) for _ in range(PORTION)])


async def _store(bus: Bus, workspace: Workspace, lines: list[Line]) -> None:
    seqs = await asyncio.gather(
        *(bus.log.append(_header(bus, line), (line.event,), line.expected) for line in lines)
    )
    for line, seq in zip(lines, seqs, strict=True):
        if line.noun == "message":
            workspace.known.append((line.key, seq))
        elif line.noun == "cursor":
            workspace.cursors.append((line.key, seq))
    del workspace.known[:-KNOWN_MAX]


def _header(bus: Bus, line: Line) -> Header:
    cause = new_id()
    return Header(
        id=new_id(),
        noun=line.noun,
        key=line.key,
        author=line.author,
        origin=bus.identity.node_id,
        clock=bus.clock.tick(),
        cause=cause,
        correlation=cause,
    )

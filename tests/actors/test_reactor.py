"""A reactor: what a commit calls for is done once, however often it is delivered."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from actors.__main__ import durables
from actors.host import PASSING, Host
from actors.reactor import Intent, Reactor, react
from actors.rooms import AGGREGATES
from actors.workspace.reactor import WELCOME
from bus.attachment import Bus
from bus.clock import Clock
from bus.commands import Commands, Unavailable, serve
from bus.consumer import Delivery
from bus.rivals import Rivals
from bus.snapshots import MemorySnapshots
from bus.telemetry import Telemetry
from schemas.account import AccountRegistered, StatusChanged
from schemas.envelope import SYSTEM, Answer, Commit, Event, Refused, Request
from schemas.workspace import ClaimWorkspace
from tests.bus.vaults import empty_vault
from tests.examples import header
from tests.logs import DEADLINE_S, fresh_bus, settings, told

REGISTERED = AccountRegistered(
    username="ann",
    display_name="Ann",
    account_type="human",
    status="active",
    password_sealed="sealed",
    public_key="pub",
)
PARENT = f"00-{'a' * 32}-{'b' * 16}-01"


def commit(*events: Event, key: str = "ann") -> Commit:
    """A commit of an account."""
    return Commit(header("account", key, correlation="chain", traceparent=PARENT), events, 1)


def test_every_account_is_offered_the_workspace() -> None:
    """The aggregate sees to it that only the first one gets it."""
    assert WELCOME.plan(commit(REGISTERED)) == [
        Intent("workspace", "main", ClaimWorkspace(account_id="ann"))
    ]


def test_other_news_of_accounts_calls_for_nothing() -> None:
    assert WELCOME.plan(commit(StatusChanged(status="suspended"))) == []


@dataclass
class Handed:
    """A commit that is handed over; remembers what was said of it."""

    commit: Commit
    said: list[str] = field(default_factory=list)

    async def done(self) -> None:
        self.said.append("done")

    async def again(self, delay_s: float) -> None:
        self.said.append(f"again in {delay_s} s")


@dataclass
class Clerk:
    """Takes commands, and may raise instead of answering."""

    trouble: list[Exception] = field(default_factory=list)
    taken: list[Request] = field(default_factory=list)

    async def send(self, request: Request) -> Answer:
        self.taken.append(request)
        if self.trouble:
            raise self.trouble.pop(0)
        return Answer(seq=1)


async def reacted(plan: Reactor, commands: Commands, *handed: Handed) -> None:
    """Work on what is *handed*."""

    async def deliveries() -> AsyncGenerator[Handed]:
        for one in handed:
            yield one

    await react(plan, deliveries(), commands)  # type: ignore[arg-type]  # a Delivery to the eye


TWICE = Reactor(
    "twice", lambda one: [Intent("workspace", nth, ClaimWorkspace(account_id="x")) for nth in "ab"]
)


async def test_what_is_planned_is_sent_and_then_acknowledged() -> None:
    """As the system, in the chain and the trace of the commit that called for it."""
    clerk, handed = Clerk(), Handed(commit(REGISTERED))
    await reacted(TWICE, clerk, handed)

    assert handed.said == ["done"]
    assert [request.key for request in clerk.taken] == ["a", "b"]
    assert {request.author for request in clerk.taken} == {SYSTEM}
    assert {request.correlation for request in clerk.taken} == {"chain"}
    assert {request.traceparent for request in clerk.taken} == {PARENT}
    assert clerk.taken[0].command == ClaimWorkspace(account_id="x")


async def test_a_commit_that_is_delivered_again_plans_the_same_commands() -> None:
    """Their ids derive from it; another commit's, another reactor's and each other's differ."""
    clerk, once = Clerk(), commit(REGISTERED)
    await reacted(TWICE, clerk, Handed(once), Handed(once), Handed(commit(REGISTERED)))
    await reacted(Reactor("other", TWICE.plan), clerk, Handed(once))
    ids = [request.id for request in clerk.taken]

    assert ids[:2] == ids[2:4]
    assert len(set(ids)) == 6


@pytest.mark.parametrize(
    "trouble", [Unavailable("away"), *(Refused(code, "Wait.") for code in sorted(PASSING))]
)
async def test_what_could_not_be_sent_is_delivered_again(trouble: Exception) -> None:
    """Nobody there, the log full, everybody at it: all that passes. Nothing is dropped."""
    clerk, handed = Clerk([trouble]), Handed(commit(REGISTERED))
    await reacted(TWICE, clerk, handed)

    assert handed.said == ["again in 0.5 s"]
    assert len(clerk.taken) == 1


async def test_a_refusal_is_an_answer() -> None:
    """The world has moved on; the rest of the plan is still to be done."""
    clerk, handed = Clerk([Refused("code_used", "Used.")]), Handed(commit(REGISTERED))
    with capture_logs() as logged:
        await reacted(TWICE, clerk, handed)

    assert handed.said == ["done"]
    assert len(clerk.taken) == 2
    assert [(line["event"], line["code"]) for line in logged] == [("intent_refused", "code_used")]


async def test_a_plan_that_fails_ends_the_room_and_acknowledges_nothing() -> None:
    """The supervisor starts it again, at the same commit."""

    def stumble(_: Commit) -> Sequence[Intent]:
        raise ZeroDivisionError

    handed = Handed(commit(REGISTERED))
    with pytest.raises(ZeroDivisionError):
        await reacted(Reactor("stumble", stumble), Clerk(), handed)

    assert handed.said == []


@pytest.fixture
async def bus(tmp_path: Path) -> AsyncIterator[Bus]:
    """A real broker with the places of our reactors, and somebody who decides."""
    async with fresh_bus(settings(tmp_path), *durables()) as one:
        host = Host(
            AGGREGATES,
            one.log,
            MemorySnapshots(),
            Clock(),
            "n1",
            one.settings,
            Telemetry(),
            empty_vault(),
            rivals=Rivals(),
        )
        room = asyncio.create_task(serve(one.wire, host.handle, 100))
        yield one
        room.cancel()
        await asyncio.wait([room])


async def owner(bus: Bus, claims: int) -> list[str]:
    """Who has claimed the workspace, once somebody has."""
    async with asyncio.timeout(DEADLINE_S):
        async for page in bus.log.tail(0):
            if sum(one.noun == "workspace" for one in page) >= claims:
                break
    commits = await bus.log.read("workspace", "main")
    return [event.model_dump()["account_id"] for one in commits for event in one.events]


async def test_the_first_account_owns_the_workspace(bus: Bus) -> None:
    """From its registration in the log to the claim in the log, over the real broker."""
    await told(bus.log, REGISTERED, "ann", noun="account")
    await told(bus.log, REGISTERED, "bob", noun="account")
    reacting = asyncio.create_task(react(WELCOME, bus.deliveries("welcome"), bus.commands))
    claimed = await owner(bus, 1)
    reacting.cancel()
    await asyncio.wait([reacting])

    assert claimed == ["ann"]


async def test_a_reactor_that_was_stopped_goes_on_at_once(bus: Bus) -> None:
    """Whatever it had been handed: nothing waits for a broker's patience to end."""
    for nth in range(10):
        await told(bus.log, REGISTERED, f"a{nth}", noun="account")
    seen: asyncio.Queue[int] = asyncio.Queue()

    def stumble(one: Commit) -> Sequence[Intent]:
        seen.put_nowait(one.seq)
        raise ZeroDivisionError

    for _ in range(2):
        with pytest.raises(ZeroDivisionError):
            await react(Reactor("welcome", stumble), bus.deliveries("welcome"), bus.commands)
    reacting = asyncio.create_task(react(WELCOME, bus.deliveries("welcome"), bus.commands))
    claimed = await owner(bus, 1)
    reacting.cancel()
    await asyncio.wait([reacting])

    assert len(claimed) == 1
    assert seen.qsize() == 2


async def test_a_commit_that_cannot_be_read_stops_its_reactor_and_no_other_room(bus: Bus) -> None:
    """Loudly, at every start, and nothing is passed over; the log goes on taking commits."""
    await bus.wire.ask("evt.account.bob", b"hello", DEADLINE_S)
    await told(bus.log, REGISTERED, "ann", noun="account")
    with capture_logs() as logged:
        async with asyncio.timeout(DEADLINE_S):
            for _ in range(2):
                await react(WELCOME, bus.deliveries("welcome"), bus.commands)
    after = await told(bus.log, REGISTERED, "cyd", noun="account")

    assert [line["event"] for line in logged] == ["reactor_stopped"] * 2
    assert all(line["reason"].startswith("position 1: ") for line in logged)
    assert {line["log_level"] for line in logged} == {"critical"}
    assert after == 3
    assert await bus.log.read("workspace", "main") == []


def test_a_delivery_is_what_a_reactor_is_handed() -> None:
    """The stand-in above says no more and no less."""
    assert {name for name in vars(Delivery) if not name.startswith("_")} == {"done", "again"}

"""How an aggregate lives: one effect for one command, for ever, whoever decides and wherever."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from actors.host import Host
from bus.log import Log
from bus.memory import MemoryLog
from bus.snapshots import MemorySnapshots
from schemas.envelope import Answer
from schemas.message import DeleteMessage, EditMessage, PostMessage
from tests.actors.hosts import KEY, POST, Listened, code, first, host, like, wish
from tests.examples import request
from tests.logs import DEADLINE_S, fresh_bus, settings


@pytest.fixture(params=["memory", "jetstream"])
async def log(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Log]:
    """An empty log of each kind."""
    if request.param == "memory":
        yield MemoryLog()
    else:
        async with fresh_bus(settings(tmp_path)) as bus:
            yield bus.log


async def test_a_command_is_answered_with_what_it_caused(log: Log) -> None:
    """Position, time, author and facts, as they are in the log."""
    answer = await host(log).handle(POST)
    (commit,) = await log.read("message", KEY)

    assert answer.facts[0].kind == "message_posted"
    assert answer.facts[0].data["content"] == "Hi."
    assert answer == Answer(seq=1, clock=commit.header.clock, author="ann", facts=answer.facts)
    assert (commit.header.cause, commit.header.fingerprint) == ("r1", "f1")
    assert (commit.header.origin, commit.header.correlation) == ("n1", POST.correlation)


async def test_a_refusal_is_an_answer_and_leaves_no_trace(log: Log) -> None:
    """Nothing is stored."""
    assert code(await host(log).handle(wish(DeleteMessage()))) == "message_absent"
    assert await log.head() == 0


async def test_what_is_so_already_causes_nothing(log: Log) -> None:
    """The answer names the position of the aggregate."""
    one = host(log)
    await one.handle(POST)
    answer = await one.handle(wish(EditMessage(content="Hi.")))

    assert (answer.seq, answer.facts, answer.refused) == (1, (), None)
    assert await log.head() == 1


async def test_the_same_id_twice_has_one_effect_and_one_answer(log: Log) -> None:
    """Also when much has happened since."""
    one = host(log)
    said = await one.handle(POST)
    liked = await one.handle(like(id="r2"))
    await one.handle(like(id="r3"))

    assert first(await one.handle(POST)) == said
    assert first(await one.handle(like(id="r2"))) == liked
    assert await log.head() == 3


async def test_an_id_is_known_to_a_host_that_has_just_been_started(log: Log) -> None:
    """It is in the commit, and not in anybody's memory."""
    said = await host(log).handle(POST)
    liked = await host(log).handle(like(id="r2"))

    assert first(await host(log).handle(POST)) == said
    assert first(await host(log).handle(like(id="r2"))) == liked
    assert await log.head() == 2


async def test_an_id_is_known_to_another_host(log: Log) -> None:
    """Whose memory is of a time before it."""
    one, other = host(log), host(log)
    await one.handle(POST)
    await other.handle(like(id="r2", author="bob"))
    liked = await one.handle(like(id="r3"))

    assert first(await other.handle(like(id="r3"))) == liked
    assert await log.head() == 3


async def test_an_id_is_known_across_a_snapshot(log: Log) -> None:
    """Its commit was folded long ago."""
    snapshots = MemorySnapshots()
    said = await host(log, snapshots, snapshot_every=2).handle(POST)
    one = host(log, snapshots, snapshot_every=2)
    liked = [await one.handle(like(id=f"r{nth}")) for nth in range(2, 7)]
    other = host(log, snapshots)

    assert first(await other.handle(POST)) == said
    assert first(await other.handle(like(id="r3"))) == liked[1]
    assert first(await other.handle(like(id="r6"))) == liked[4]
    assert await log.head() == 6


async def test_the_same_id_at_once_has_one_effect(log: Log) -> None:
    """At one host or at several."""
    hosts = [host(log) for _ in range(4)]
    answers = await asyncio.gather(*(one.handle(POST) for one in hosts for _ in range(5)))

    assert {answer.seq for answer in answers} == {1}
    assert [answer.replayed for answer in answers].count(False) == 1
    assert await log.head() == 1


async def test_an_id_used_for_another_wish_is_refused(log: Log) -> None:
    """The fingerprint of the request tells them apart."""
    one = host(log)
    await one.handle(POST)
    other = wish(PostMessage(content="Ho."), id="r1", fingerprint="f2")

    assert code(await one.handle(other)) == "idempotency_key_reused"
    assert code(await host(log).handle(other)) == "idempotency_key_reused"
    assert (await one.handle(POST)).replayed


async def test_a_precondition_holds_or_refuses(log: Log) -> None:
    """If-Match: the position that the author saw last."""
    one = host(log)
    await one.handle(POST)
    await one.handle(like(author="bob"))
    stale = await one.handle(wish(EditMessage(content="Ho."), expected=1))

    assert code(stale) == "precondition_failed"
    assert stale.refused is not None
    assert stale.refused.detail == {"seq": 2}
    assert (await one.handle(wish(EditMessage(content="Ho."), expected=2))).seq == 3


async def test_a_precondition_is_not_asked_of_what_has_happened(log: Log) -> None:
    """A retry finds its own effect in the way, and that is no change by others."""
    one = host(log)
    await one.handle(POST)
    edit = wish(EditMessage(content="Ho."), id="r2", expected=1)
    edited = await one.handle(edit)

    assert first(await one.handle(edit)) == edited
    assert first(await host(log).handle(edit)) == edited


async def test_a_precondition_on_something_new_is_position_zero(log: Log) -> None:
    """Nothing was there when the author looked."""
    post = PostMessage(content="Hi.")

    assert code(await host(log).handle(wish(post, expected=7))) == "precondition_failed"
    assert (await host(log).handle(wish(post, expected=0))).seq == 1


async def test_a_stale_memory_changes_nothing_that_it_does_not_see(log: Log) -> None:
    """What it takes for so already may be so no longer."""
    one, other = host(log), host(log)
    await one.handle(POST)
    await other.handle(like(author="bob"))
    await one.handle(wish(EditMessage(content="Ho.")))

    edited = await other.handle(wish(EditMessage(content="Hi.")))
    assert [fact.kind for fact in edited.facts] == ["message_edited"]
    unliked = await one.handle(like(author="bob"))
    assert [fact.kind for fact in unliked.facts] == ["reaction_removed"]


async def test_a_stale_memory_changes_nothing_that_is_gone(log: Log) -> None:
    """The append meets a conflict, and the decision is taken again."""
    one, other = host(log), host(log)
    await one.handle(POST)
    await other.handle(wish(DeleteMessage()))

    assert code(await one.handle(like())) == "message_absent"
    assert await log.head() == 2


async def test_who_was_overtaken_reads_what_is_new_and_no_more() -> None:
    """However long the history is: else who has lost once is late for the next turn as well."""
    log = Listened()
    one, other = host(log), host(log)
    await one.handle(POST)
    for nth in range(20):
        await one.handle(like(author=f"a{nth}"))
    await other.handle(like())
    read_before = log.read_commits
    answer = await one.handle(like(author="bob"))

    assert answer.seq == 23
    assert log.read_commits - read_before == 1


async def test_a_refusal_of_a_stale_memory_is_thought_over(log: Log) -> None:
    """What was not there when this host looked may be there by now."""
    one, other = host(log), host(log)
    assert code(await one.handle(like())) == "message_absent"
    await other.handle(POST)

    assert (await one.handle(like())).seq == 2


async def test_what_exists_is_not_opened_again(log: Log) -> None:
    """Though nobody looked before: the guard of the append tells."""
    await host(log).handle(POST)

    assert code(await host(log).handle(wish(PostMessage(content="Ho.")))) == "message_taken"


@pytest.mark.parametrize("rounds", [4])
async def test_every_win_of_many_writers_is_their_own(log: Log, rounds: int) -> None:
    """16 processes at one aggregate: who is told to come again does, and no effect is lost."""
    hosts = [host(log, conflict_retries_max=3) for _ in range(16)]
    await hosts[0].handle(POST)

    async def insist(one: Host, author: str, nth: int) -> Answer:
        mine = like(id=f"{author}-{nth}", author=author)
        while code(answer := await one.handle(mine)) == "contended":
            continue
        return answer

    async def write(one: Host, author: str) -> list[Answer]:
        return [await insist(one, author, nth) for nth in range(rounds)]

    async with asyncio.timeout(DEADLINE_S):
        wins = await asyncio.gather(*(write(one, f"a{nth}") for nth, one in enumerate(hosts)))

    assert sorted(answer.seq for own in wins for answer in own) == list(range(2, 2 + 16 * rounds))
    for own in wins:
        kinds = [answer.facts[0].kind for answer in own]
        assert kinds == ["reaction_added", "reaction_removed"] * (rounds // 2)


async def test_one_host_puts_the_commands_of_one_aggregate_in_a_row(log: Log) -> None:
    """So that they do not conflict among themselves."""
    one = host(log, conflict_retries_max=1)
    await one.handle(POST)
    answers = await asyncio.gather(*(one.handle(like(author=f"a{n}")) for n in range(50)))

    assert [answer.seq for answer in answers] == list(range(2, 52))


async def test_memory_is_bounded(log: Log) -> None:
    """What is forgotten is read again."""
    one = host(log, aggregates_cached_max=2)
    posts = [
        request("message", f"general.M{nth}", PostMessage(content="Hi."), id=f"r{nth}")
        for nth in range(5)
    ]
    said = [await one.handle(post) for post in posts]

    assert [first(await one.handle(post)) for post in posts] == said
    assert len(one._known) == 2

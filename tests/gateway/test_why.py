"""Why: chains of causes up and down, who may see them, and the rule behind a refusal."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from bus.clock import derived_id
from bus.recall import TOLD_MAX, Memory, Question, rule
from gateway.policy import NOBODY, admit
from schemas.envelope import Refused
from schemas.message import MessageEdited, MessagePosted
from tests.canopy import Caller, Canopy, running
from tests.gateway.two_gateways import BEGINNING, Line, Told, house, somebody


@pytest.fixture
async def ann(canopy: Canopy) -> Caller:
    """The owner of the workspace."""
    return await canopy.owner()


def flat(commits: list[dict[str, Any]]) -> list[int]:
    """The positions in a tree, from the top down."""
    return [seq for one in commits for seq in (one["seq"], *flat(one["caused"]))]


async def test_a_chain_is_told_from_every_link_of_it(canopy: Canopy, ann: Caller) -> None:
    """The first account is offered the workspace by a reactor: its commit tells who called."""
    account = await ann.get(f"/why/{ann.id}")
    (chain, *_) = account["chains"]
    (registered,) = chain["commits"]
    claimed = registered["caused"][0]

    assert registered["kinds"][0] == "account_registered"
    assert claimed["kinds"] == ["workspace_claimed"]
    assert claimed["parent"] == registered["commit"]
    assert registered["asked"]
    for name in (claimed["seq"], claimed["commit"], claimed["cause"], chain["correlation"]):
        told = await ann.get(f"/why/{name}")
        assert flat(told["chains"][0]["commits"]) == flat([registered])


async def test_what_became_of_a_message_is_told(ann: Caller) -> None:
    """With the command of each commit, while a process remembers its kind."""
    body = {"channel_id": "general", "content": "one"}
    message = (await ann.post("/channels/messages", body, Idempotency_Key="k1"))["message"]
    await ann.ok("PATCH", f"/channels/general/messages/{message['id']}", {"content": "two"})
    told = await ann.get(f"/why/{message['id']}")
    first, second = (chain["commits"] for chain in told["chains"])

    assert [one["kinds"] for one in first] == [["message_posted"], ["receipt_kept"]]
    assert [one["asked"] for one in first] == [True, False]
    assert [one["kinds"] for one in second] == [["message_edited"]]
    assert second[0]["author"] == ann.id
    assert told["hidden"] == 0


async def test_what_one_may_not_see_is_left_out_and_counted(tmp_path: Path) -> None:
    """Ann owns the house; without the key for it she sees what a member sees."""
    lines: tuple[Line, ...] = (
        ("message", "C1.M1", "bob", (MessagePosted(content="Hi, den."),)),
        ("message", "general.M2", "bob", (MessagePosted(content="Hi."),)),
        ("message", "C1.M3", "bob", (MessagePosted(content="Ho."),)),
    )
    log = Told()
    async with house(tmp_path, log, [0], somebody()) as one:
        for line in BEGINNING:
            await log.tell(line, correlation="beginning")
        seq = [await log.tell(line, correlation="talk") for line in lines][-1]
        await one.reads.reached(seq)
        all_of_it = (await one.ask("/why/talk"))[2]
        some = (await one.ask("/why/talk", "narrow"))[2]
        nothing = await one.ask("/why/M1", "narrow")
        unknown = await one.ask("/why/M99", "narrow")

    assert flat(all_of_it["chains"][0]["commits"]) == [seq - 2, seq - 1, seq]
    assert (flat(some["chains"][0]["commits"]), some["hidden"]) == ([seq - 1], 2)
    assert [(told[0], told[2]["code"]) for told in (nothing, unknown)] == [
        (404, "cause_absent")
    ] * 2


async def test_a_long_chain_says_that_there_is_more(tmp_path: Path) -> None:
    log = Told()
    async with house(tmp_path, log, [0], somebody()) as one:
        for line in BEGINNING:
            await log.tell(line)
        seq = await log.tell(("message", "general.M1", "bob", (MessagePosted(content="0"),)))
        for nth in range(60):
            edit = ("message", "general.M1", "bob", (MessageEdited(content=str(nth)),))
            seq = await log.tell(edit)
        await one.reads.reached(seq)
        told = (await one.ask("/why/M1"))[2]

    assert told["more"]
    assert len(told["chains"]) == 50


async def test_what_was_asked_for_is_in_the_longest_chain(tmp_path: Path) -> None:
    """With the nearest to it, wherever it stands; and `more` says that there are others."""
    log = Told()
    async with house(tmp_path, log, [0], somebody()) as one:
        for line in BEGINNING:
            await log.tell(line)
        posts: list[Line] = [
            ("message", f"general.M{nth}", "bob", (MessagePosted(content="x"),))
            for nth in range(230)
        ]
        first, *_, last = [await log.tell(post, correlation="long") for post in posts]
        await one.reads.reached(last)
        told = {seq: (await one.ask(f"/why/{seq}"))[2] for seq in (first, first + 110, last)}
        named = (await one.ask("/why/M229"))[2]
        status, _, trace = await one.ask(f"/trace/{last}")

    for seq, why in told.items():
        chain = flat(why["chains"][0]["commits"])
        begin = min(max(first, seq - 100), last - 199)
        assert set(chain) == set(range(begin, begin + 200))
        assert [one["seq"] for one in why["chains"][0]["commits"] if one["asked"]] == [seq]
        assert why["more"]
    assert named["chains"] == told[last]["chains"]
    assert (status, len(trace["steps"]), trace["whole"]) == (200, 200, False)
    assert trace["steps"][-1]["seq"] == last


async def test_a_refusal_names_the_rule(canopy: Canopy, ann: Caller) -> None:
    """That of the policy, and that of an aggregate; only to whom it was told, and to the owner."""
    bob, cyd = await canopy.register("bob"), await canopy.register("cyd")
    _, _, policy = await bob.call("PATCH", "/channels/general", {"topic": "x"})
    message = await ann.post("/channels/messages", {"channel_id": "general", "content": "one"})
    path = f"/channels/general/messages/{message['message']['id']}"
    _, _, aggregate = await bob.call("DELETE", path)
    by_policy = (await bob.get(f"/why/{policy['correlation_id']}"))["refusals"][0]
    by_aggregate = (await ann.get(f"/why/{aggregate['correlation_id']}"))["refusals"][0]
    status, _, strange = await cyd.call("GET", f"/why/{aggregate['correlation_id']}")

    assert by_policy["code"] == "not_admin"
    assert by_policy["rule"].startswith("gateway.policy._admin:")
    assert by_policy["means"].startswith("Admins of the channel")
    assert by_policy["request"] == "PATCH /api/v1/channels/general"
    assert by_aggregate["code"] == "not_author"
    assert by_aggregate["rule"].startswith("actors.message.aggregate.")
    assert (by_aggregate["command"], by_aggregate["status"]) == ("delete_message", 403)
    assert by_aggregate["request"] == f"DELETE /api/v1{path}"
    assert by_aggregate["author"] == bob.id
    assert (status, strange["code"]) == (404, "cause_absent")


async def test_no_past_tells_of_a_refusal_that_came_later(canopy: Canopy, ann: Caller) -> None:
    """One that has come by then is told."""
    body = {"channel_id": "general", "content": "one"}
    before = (await ann.post("/channels/messages", body))["message"]["seq"]
    await asyncio.sleep(0.01)  # Times are milliseconds apart.
    _, _, refused = await ann.call("POST", "/channels/messages", body | {"content": ""})
    await asyncio.sleep(0.01)
    after = (await ann.post("/channels/messages", body))["message"]["seq"]
    path = f"/why/{refused['correlation_id']}"
    status, _, told = await ann.call("GET", f"{path}?at={before}")
    later = await ann.get(f"{path}?at={after}")

    assert (status, told["code"]) == (404, "cause_absent")
    assert [one["code"] for one in later["refusals"]] == [refused["code"]]


async def test_a_receipt_remembers_a_refusal_when_no_process_does(tmp_path: Path) -> None:
    async with running(tmp_path, refusals_kept_max=0) as node:
        ann, bob = await node.owner(), await node.register("bob")
        key = {"Idempotency-Key": "k1"}
        _, _, refused = await bob.call("PATCH", "/channels/general", {"topic": "x"}, key)
        kept = await bob.get(f"/why/{refused['correlation_id']}")
        _, _, unkept = await bob.call("PATCH", "/channels/general", {"topic": "y"})
        status, _, told = await ann.call("GET", f"/why/{unkept['correlation_id']}")

    (refusal,) = kept["refusals"]
    assert (refusal["code"], refusal["process"]) == ("not_admin", "receipt")
    assert refusal["cause"] == derived_id("", bob.id, "k1", digits=32)
    assert refusal["rule"] == ""
    assert (status, told["code"]) == (404, "cause_absent")


def test_rings_forget_the_oldest() -> None:
    memory = Memory("p", spans_max=2, refusals_max=1)
    for nth in range(3):
        memory.step("decide x", 0.0, cause=f"c{nth}")
    memory.step("fold", 0.0, first=5, last=9)
    known = memory.recall(Question(("c0", "c1", "c2"), (7,)))

    assert [(one.name, one.cause) for one in known.spans] == [("decide x", "c2"), ("fold", "")]
    assert memory.recall(Question((), (10,))).spans == ()


def test_an_answer_that_is_cut_says_so() -> None:
    memory = Memory("p")
    for _ in range(TOLD_MAX):
        memory.step("decide x", 0.0, cause="c")
    full = memory.recall(Question(("c",)))
    memory.step("decide x", 0.0, cause="c")
    cut = memory.recall(Question(("c",)))

    assert (len(full.spans), full.more) == (TOLD_MAX, False)
    assert (len(cut.spans), cut.more) == (TOLD_MAX, True)


def test_a_rule_is_where_it_was_raised() -> None:
    with pytest.raises(Refused) as raised:
        admit(NOBODY, "list_channels")
    place, means = rule(raised.value)

    assert place.startswith("gateway.policy._require_account:")
    assert means == ""
    assert rule(Refused("x", "y")) == ("", "")

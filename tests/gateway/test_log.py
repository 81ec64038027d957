"""The owner's routes: where the node stands, the log by position, proof and renewal."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.canopy import Caller, Canopy
from tests.examples import WHEN_MS
from tests.gateway.two_gateways import BEGINNING, Told, house, somebody


async def all_of(caller: Caller, query: str, name: str, start: int | None = None) -> list[Any]:
    """Every commit that *query* wants, page by page; *name* is `after` or `before`."""
    found: list[Any] = []
    while True:
        at = "" if start is None else f"&{name}={start}"
        page = await caller.get(f"/log?{query}{at}")
        found += page["commits"]
        start = page["next"]
        if start is None:
            return found


async def test_the_log_reads_the_same_in_both_directions(canopy: Canopy) -> None:
    owner = await canopy.owner()
    for text in ("One.", "Two.", "Three."):
        await owner.post("/channels/messages", {"channel_id": "general", "content": text})
    head = (await owner.get("/node/status"))["head"]

    forward = await all_of(owner, "limit=2", "after", 0)
    backward = await all_of(owner, "limit=2", "before")

    assert [one["seq"] for one in forward] == list(range(1, head + 1))
    assert backward == forward[::-1]


async def test_the_log_is_narrowed_by_noun_key_author_and_cause(canopy: Canopy) -> None:
    owner = await canopy.owner()
    posted = await owner.post("/channels/messages", {"channel_id": "general", "content": "Hi."})
    commit = await owner.get(f"/log/{posted['seq']}")

    by_noun = await all_of(owner, "noun=message", "after", 0)
    by_key = await all_of(owner, f"key={commit['id']}", "before")
    by_author = await all_of(owner, f"author={owner.id}&noun=message", "after", 0)
    by_cause = await all_of(owner, f"cause={commit['cause']}", "before")
    by_chain = await all_of(owner, f"correlation={commit['correlation']}", "before")

    assert [one["seq"] for one in by_noun] == [posted["seq"]]
    assert by_noun == by_key == by_author == by_cause == by_chain


async def test_one_commit_is_whole_and_without_secrets(canopy: Canopy) -> None:
    owner = await canopy.owner()
    registered = (await all_of(owner, f"key={owner.id}", "after", 0))[0]

    commit = await owner.get(f"/log/{registered['seq']}")

    facts = {event["kind"]: event["data"] for event in commit["events"]}
    assert facts["account_registered"]["username"] == "ann"
    assert "password_sealed" not in facts["account_registered"]
    assert "secret_hash" not in facts["key_created"]
    assert len(commit["digest"]) == 64
    assert commit["payload_bytes"] > 0


@pytest.mark.parametrize("seq", ["0", "999999", "99999999999999999999", "x"])
async def test_a_position_that_is_not_there_is_not_found(canopy: Canopy, seq: str) -> None:
    owner = await canopy.owner()

    status, _, problem = await owner.call("GET", f"/log/{seq}")

    assert (status, problem["code"]) == (404, "not_found")


async def test_what_an_operator_may_needs_owner_and_scope(canopy: Canopy) -> None:
    owner = await canopy.owner()
    plain = await canopy.register("bob")
    routes = [("GET", "/node/status"), ("GET", "/log"), ("GET", "/log/1"),
              ("POST", "/node/rebuild"), ("POST", "/node/verify")]  # fmt: skip

    refusals = [(await plain.call(*route))[2]["code"] for route in routes]
    allowed = [(await owner.call(*route))[0] for route in routes]

    assert set(refusals) == {"scope_missing"}
    assert set(allowed) == {200}


async def test_the_node_tells_where_it_stands(canopy: Canopy) -> None:
    owner = await canopy.owner()

    status = await owner.get("/node/status")

    assert status["node"] == canopy.up.node
    assert status["position"] == status["head"]
    assert status["lag"] == 0
    assert status["counts"] == {"accounts": 1, "channels": 1, "messages": 0}


async def test_tables_made_anew_are_the_same(canopy: Canopy) -> None:
    owner = await canopy.owner()
    await owner.post("/channels/messages", {"channel_id": "general", "content": "Hi."})

    rebuilt = await owner.post("/node/rebuild")
    report = await owner.post("/node/verify")
    messages = await owner.get("/channels/general/messages")

    assert report["difference"] is None
    assert report["position"] >= rebuilt["position"]
    assert [one["content"] for one in messages["messages"]] == ["Hi."]


@pytest.mark.parametrize("lost", [1, 3], ids=["hole", "end"])
async def test_a_commit_that_the_log_has_lost_is_not_another(tmp_path: Path, lost: int) -> None:
    log = Told()
    async with house(tmp_path, log, [WHEN_MS], somebody()) as one:
        for line in BEGINNING:
            await one.reads.reached(await log.tell(line))
        log.lose(3, lost)
        kept = await one.ask("/log/2")
        status, _, told = await one.ask("/log/3")

    assert (kept[0], kept[2]["seq"]) == (200, 2)
    assert (status, told["code"]) == (503, "log_damaged")


async def test_a_commit_that_is_not_what_it_was_is_not_shown(tmp_path: Path) -> None:
    log = Told()
    async with house(tmp_path, log, [WHEN_MS], somebody()) as one:
        for line in BEGINNING:
            await one.reads.reached(await log.tell(line))
        log.shift(3)
        answers = [await one.ask(path) for path in ("/log/3", "/log?after=2")]

    for status, _, told in answers:
        assert (status, told["code"]) == (503, "log_damaged")
        assert "Position 3 " in told["detail"]

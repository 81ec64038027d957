"""Traces: the steps of a command, gathered from what processes remember, and who may see them."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from bus.connection import wired
from bus.recall import ASKED, Memory, Span, WireRecall, attend
from gateway.spans import tree
from tests.canopy import Caller, Canopy, running
from tests.logs import bus_on, fresh_broker, settings

DEADLINE_S = 10.0


@pytest.fixture
async def ann(canopy: Canopy) -> Caller:
    """The owner of the workspace."""
    return await canopy.owner()


def names(step: dict[str, Any]) -> Any:
    """A step and all within it, by their names."""
    return [step["name"], *(names(one) for one in step["steps"])]


async def followed(who: Caller, path: str) -> Any:
    """The trace at *path* once what comes after the answer has come."""
    async with asyncio.timeout(DEADLINE_S):
        while "push" not in str(told := await who.get(path)):
            await asyncio.sleep(0)
    return told


async def test_a_command_is_traced_from_the_request_to_the_listener(
    canopy: Canopy, ann: Caller
) -> None:
    headers = {"X-API-Key": ann.key}
    async with canopy.http.ws_connect(f"{canopy.up.url}/api/v1/live", headers=headers) as live:
        await live.receive_json(timeout=DEADLINE_S)
        body = {"channel_id": "general", "content": "one"}
        message = (await ann.post("/channels/messages", body))["message"]
        await live.receive_json(timeout=DEADLINE_S)
        told = await followed(ann, f"/trace/{message['id']}")
    (request,) = told["steps"]
    append = request["steps"][0]["steps"][0]["steps"][0]

    assert names(request)[0] == "POST /channels/messages"
    assert names(request["steps"][0])[:2] == [
        "command",
        ["decide post_message", ["append", *[[one["name"]] for one in append["steps"]]]],
    ]
    assert {one["name"] for one in append["steps"]} == {"fold", "push"}
    assert (append["seq"], append["cause"]) == (message["seq"], request["cause"])
    assert request["took_ms"] >= request["steps"][0]["took_ms"] >= append["took_ms"] > 0
    assert (request["note"], told["whole"]) == ("201", True)


async def test_what_a_commit_has_called_for_hangs_on_it(ann: Caller) -> None:
    told = await ann.get(f"/trace/{ann.id}")
    register = next(one for one in told["steps"] if one["name"] == "POST /register")

    assert "decide claim_workspace" in str(names(register["steps"][0]))


async def test_what_is_forgotten_is_told_by_the_log(tmp_path: Path) -> None:
    """After a restart nobody remembers; the log tells the commit and its time."""
    async with running(tmp_path) as node:
        ann = await node.owner()
        body = {"channel_id": "general", "content": "one"}
        message = (await ann.post("/channels/messages", body))["message"]
    async with running(tmp_path) as node:
        again = Caller(node.http, node.up.url, ann.id, ann.key)
        told = await again.get(f"/trace/{message['id']}")

    assert not told["whole"]
    assert names(told["steps"][0]) == ["commit"]
    assert (told["steps"][0]["seq"], told["steps"][0]["took_ms"]) == (message["seq"], None)
    assert told["steps"][0]["began"] == message["created_at"]


async def test_one_sees_the_steps_of_ones_own_and_of_what_one_may_see(
    canopy: Canopy, ann: Caller
) -> None:
    bob = await canopy.register("bob")
    den = (await ann.post("/channels", {"name": "den", "type": "private"}))["channel"]["id"]
    message = (await ann.post("/channels/messages", {"channel_id": den, "content": "x"}))["message"]
    _, _, refused = await bob.call("PATCH", "/channels/general", {"topic": "x"})
    own = await bob.get(f"/trace/{refused['correlation_id']}")
    by_ann = await ann.get(f"/trace/{refused['correlation_id']}")
    _, _, foreign = await bob.call("GET", f"/trace/{message['id']}")
    _, _, unknown = await bob.call("GET", "/trace/nothing")

    assert own["steps"][0]["note"] == by_ann["steps"][0]["note"] == "403"
    assert foreign["code"] == unknown["code"] == "cause_absent"


async def test_a_correlation_opens_nothing_of_what_others_did(canopy: Canopy, ann: Caller) -> None:
    """Clients choose it: Bob learns Ann's, and sends it too."""
    bob = await canopy.register("bob")
    den = (await ann.post("/channels", {"name": "den", "type": "private"}))["channel"]["id"]
    for nth, channel in enumerate(("general", den, den)):
        body = {"channel_id": channel, "content": "x"}
        task = {"X-Correlation-ID": "task-7" if nth < 2 else "task-8"}
        await ann.ok("POST", "/channels/messages", body, **task)
    key = {"label": "k", "permissions": ["read_feed"]}
    await ann.ok("POST", "/keys", key, X_Correlation_ID="task-7")
    shared = await bob.get("/trace/task-7")
    before, _, _ = await bob.call("GET", "/trace/task-8")
    await bob.ok("GET", "/channels", None, X_Correlation_ID="task-7")
    await bob.ok("GET", "/channels", None, X_Correlation_ID="task-8")
    joined, hijacked = await bob.get("/trace/task-7"), await bob.get("/trace/task-8")
    whole = await ann.get("/trace/task-7")

    assert [one["name"] for one in shared["steps"]] == ["command"]
    assert "create_key" not in str(shared)
    assert before == 404
    assert names(hijacked["steps"][0]) == ["GET /channels"]
    assert len(hijacked["steps"]) == 1
    assert [one["name"] for one in joined["steps"]] == ["command", "GET /channels"]
    assert joined["steps"][1]["steps"] == []
    assert [one["name"] for one in whole["steps"]] == [
        "POST /channels/messages",
        "POST /channels/messages",
        "POST /keys",
        "GET /channels",
    ]
    assert [len(one["steps"]) for one in whole["steps"]] == [1, 1, 1, 0]


async def test_every_process_says_what_it_remembers(tmp_path: Path) -> None:
    """Those that are connected to the broker; each is heard once."""
    knobs = settings(tmp_path)
    here, there = Memory("here"), Memory("there")
    here.step("command", 0.0, "c1", "k1")
    there.step("decide x", 0.0, "c1", "k1")
    async with (
        fresh_broker(knobs) as running_broker,
        bus_on(running_broker.endpoint, knobs) as one,
        bus_on(running_broker.endpoint, knobs) as other,
        asyncio.TaskGroup() as group,
    ):
        attending = [
            group.create_task(attend(wire, memory))
            for wire, memory in ((one.wire, here), (other.wire, there), (one.wire, there))
        ]
        await other.wire.ping(DEADLINE_S)
        await one.wire.ping(DEADLINE_S)
        known = await WireRecall(one.wire, here, 1.0).ask(["k1"])
        for task in attending:
            task.cancel()

    spans = [span for process in known for span in process.spans]
    assert sorted((span.process, span.name) for span in spans) == [
        ("here", "command"),
        ("there", "decide x"),
    ]


@pytest.mark.parametrize(
    "place",
    [
        "evt.message.general.M1",
        "",
        "*",
        "0123456789abcdef\n",
        "0123456789abcdef.x",
        "x 0\r\n\r\nPUB evt.message.general.M1 2\r\nhi\r\nPUB x",
    ],
)
async def test_no_question_borrows_the_rights_of_who_answers(tmp_path: Path, place: str) -> None:
    """The actors may write to the log; who asks them cannot make them do it."""
    knobs, memory = settings(tmp_path), Memory("actors")
    memory.step("command", 0.0, "c1", "k1")
    hostile = {"ids": ["k1"], "seqs": [], "reply": place, "token": place}
    heard: list[bytes] = []
    async with (
        fresh_broker(knobs) as running_broker,
        bus_on(running_broker.endpoint, knobs) as actors,
        wired(running_broker.endpoint, "gateway", knobs) as gateway,
    ):
        before = await actors.log.head()
        attending = asyncio.create_task(attend(actors.wire, memory))
        gateway.subscribe("eph.recalled.>", lambda _, __, data: heard.append(data))
        await gateway.ping(DEADLINE_S)
        await actors.wire.ping(DEADLINE_S)
        gateway.publish(ASKED, json.dumps(hostile).encode())
        known = await WireRecall(gateway, Memory("gateway"), 0.5).ask(["k1"])
        after = await actors.log.head()
        attending.cancel()

    assert [span.process for process in known for span in process.spans] == ["actors"]
    assert len(heard) == 1
    assert (before, after) == (0, 0)


def test_a_command_that_is_sent_twice_is_two_branches() -> None:
    """Of a retry the second decision finds what the first has done."""
    times = (("command", 0, 10), ("decide x", 1, 8), ("append", 2, 5),
             ("command", 20, 5), ("decide x", 21, 3))  # fmt: skip
    spans = [Span(name, began, took, "c1", "k1") for name, began, took in times]
    row = {"seq": 7, "id": "i1", "cause": "c1", "correlation": "k1", "parent": "",
           "time": "2026-11-21T00:00:00.000Z", "kinds": ["x"]}  # fmt: skip
    steps, whole = tree([*spans, Span("fold", 12, 1, first=7, last=9)], {7: row})

    assert [names(one) for one in steps] == [
        ["command", ["decide x", ["append", ["fold"]]]],
        ["command", ["decide x"]],
    ]
    assert whole


def test_requests_of_one_correlation_stay_apart() -> None:
    """Each has the commands that bear its id, and those steps of its own that bear another."""
    spans = [
        Span("POST /a", 0, 10, "c1", "k", author="ann"),
        Span("command", 1, 2, "c1", "k", author="ann"),
        Span("command", 5, 2, "s1", "k", author="ann"),
        Span("POST /b", 20, 10, "c2", "k", author="ann"),
        Span("command", 21, 2, "c2", "k", author="ann"),
        Span("GET /c", 30, 10, "c3", "k", author="bob"),
        Span("command", 32, 2, "s2", "k", author="ann"),
        Span("command", 33, 2, "s3", "k", author="cyd"),
    ]
    steps, _ = tree(spans, {})

    assert [(one["name"], [below["cause"] for below in one["steps"]]) for one in steps] == [
        ("POST /a", ["c1", "s1"]),
        ("POST /b", ["c2", "s2"]),
        ("GET /c", []),
        ("command", []),
    ]

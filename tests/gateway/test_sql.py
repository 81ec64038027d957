"""SQL over everything one may see: what is answered, and what it says."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from actors.rooms import VIEWS
from tests.canopy import Caller, Canopy, running

KEYS_OF_ANSWER = {"position", "columns", "rows", "truncated"}


async def rows(caller: Caller, query: str, *parameters: Any, after: int = 0) -> list[list[Any]]:
    """The rows of an answer to *query*."""
    question = {"query": query, "parameters": list(parameters), "after_seq": after}
    answer = await caller.post("/sql", question)
    return list(answer["rows"])


async def refused(caller: Caller, query: str, **more: Any) -> tuple[int, str, str]:
    """(status, code, detail) of a refusal."""
    status, _, problem = await caller.call("POST", "/sql", {"query": query, **more})
    return status, problem["code"], problem["detail"]


async def said(caller: Caller, channel_id: str, content: str, **more: Any) -> dict[str, Any]:
    posted = await caller.post(
        "/channels/messages", {"channel_id": channel_id, "content": content, **more}
    )
    return dict(posted["message"])


async def test_every_view_has_the_columns_that_are_documented(canopy: Canopy) -> None:
    ann = await canopy.owner()
    await said(ann, "general", "Hi.")

    for view in VIEWS:
        answer = await ann.post("/sql", {"query": f"SELECT * FROM {view.name}"})
        assert answer.keys() == KEYS_OF_ANSWER
        told = [(column["name"], column["type"]) for column in answer["columns"]]
        assert told == [(column.name, column.type) for column in view.columns]


async def test_messages_stand_as_rest_shows_them(canopy: Canopy) -> None:
    ann, bob = await canopy.owner(), await canopy.register("bob")
    first = await said(ann, "general", "One.")
    second = await said(ann, "general", "Two.", parent_message_id=first["id"])
    third = await said(bob, "general", "Three.")
    path = "/channels/general/messages"
    await ann.ok("PATCH", f"{path}/{first['id']}", {"content": "One, @bob."})
    await bob.post(f"{path}/{first['id']}/like", {"reaction": "like"})
    gone = await bob.ok("DELETE", f"{path}/{third['id']}")

    shown = (await ann.get(f"{path}?after_seq={gone['seq']}"))["messages"]
    names = ("id", "user_id", "content", "created_at", "edited_at", "thread_id", "mentions", "seq")
    asked = await rows(ann, f"SELECT {', '.join(names)} FROM messages ORDER BY seq")
    assert asked == [[one[name] for name in names] for one in shown]
    assert await rows(ann, "SELECT message_id, account_id, reaction FROM reactions") == [
        [first["id"], bob.id, "like"]
    ]
    assert await rows(ann, "SELECT id, replies, participants FROM threads") == [[first["id"], 1, 1]]
    versions = "SELECT content FROM message_versions WHERE message_id = $1 ORDER BY seq"
    assert await rows(ann, versions, first["id"]) == [["One."], ["One, @bob."]]
    assert await rows(ann, versions, third["id"]) == []
    assert second["id"] in {one["id"] for one in shown}


async def test_what_is_private_is_its_members(canopy: Canopy) -> None:
    ann, bob = await canopy.owner(), await canopy.register("bob")
    opened = await bob.post("/channels", {"name": "hive", "type": "private"})
    hive = opened["channel"]["id"]
    message = await said(bob, hive, "Honey.")
    everything = (
        "SELECT id FROM messages",
        "SELECT message_id FROM message_versions",
        "SELECT id FROM channels",
        "SELECT channel_id FROM members",
        "SELECT key FROM commits",
    )

    for query in everything:
        theirs = await rows(ann, query, after=message["seq"])
        assert not {hive, message["id"], "Honey.", f"{hive}.{message['id']}"} & {
            one for (one,) in theirs
        }
        ours = await rows(bob, query, after=message["seq"])
        assert {hive, message["id"], f"{hive}.{message['id']}"} & {one for (one,) in ours}


async def test_what_is_sealed_stays_sealed(canopy: Canopy) -> None:
    ann = await canopy.owner()
    hive = (await ann.post("/channels", {"name": "hive", "type": "private"}))["channel"]["id"]
    message = await said(ann, hive, "Honey.")
    await said(ann, "general", "Hello.")
    await ann.ok("PATCH", f"/channels/{hive}/messages/{message['id']}", {"content": "Wax."})

    sealed = "SELECT content, sealed FROM messages ORDER BY seq"
    assert await rows(ann, sealed) == [[None, True], ["Hello.", False]]
    sealed = "SELECT content, sealed FROM message_versions ORDER BY seq"
    assert await rows(ann, sealed) == [[None, True], ["Hello.", False], [None, True]]


async def test_who_may_not_read_may_not_ask(canopy: Canopy) -> None:
    ann = await canopy.owner()
    made = await ann.post("/keys", {"permissions": ["write_messages"]})
    writer = Caller(ann.http, ann.base, ann.id, made["api_key"])

    assert await refused(writer, "SELECT 1") == (
        403,
        "scope_missing",
        "The key must hold read_feed.",
    )
    assert (await refused(canopy.nobody, "SELECT 1"))[:2] == (401, "credential_required")


async def test_what_is_wrong_is_said(canopy: Canopy) -> None:
    ann = await canopy.owner()

    assert (await refused(ann, "SELEC 1"))[:2] == (400, "sql_invalid")
    status, code, detail = await refused(ann, "SELECT contents FROM messages")
    assert (status, code) == (400, "sql_invalid")
    assert '"contents" not found' in detail
    assert "messages (seq, id, channel_id, user_id" in detail
    status, code, detail = await refused(ann, "SELECT * FROM api_key")
    assert (status, code) == (403, "sql_forbidden")
    assert "There are: messages, message_versions" in detail
    assert (await refused(ann, "SELECT $1"))[:2] == (400, "sql_invalid")
    assert (await refused(ann, ""))[:2] == (400, "invalid_request")
    assert (await refused(ann, "SELECT 1", after_seq=10**9))[:2] == (409, "position_ahead")
    assert (await refused(ann, "SELECT 1", at=10**9))[:2] == (409, "position_ahead")
    assert (await refused(ann, "SELECT 1", at="soon"))[:2] == (400, "invalid_request")


async def test_values_keep_what_they_are(canopy: Canopy) -> None:
    ann = await canopy.owner()
    query = """
        SELECT 170141183460469231731687303715884105727, 1.50, 0.1::DOUBLE, 'ü', NULL, true,
               TIMESTAMP '2026-01-02 03:04:05.678901', DATE '2026-01-02', [1, NULL], {'a': 1},
               MAP {'k': 2}, '\\xAA'::BLOB, $1, $2
    """

    _, _, answer = await ann.call("POST", "/sql", {"query": query, "parameters": ["x'; --", None]})

    assert answer["rows"] == [
        [2**127 - 1, 1.5, 0.1, "ü", None, True, "2026-01-02T03:04:05.678901Z", "2026-01-02",
         [1, None], {"a": 1}, {"k": 2}, "aa", "x'; --", None]
    ]  # fmt: skip


async def test_limits_hold(tmp_path: Any) -> None:
    limits = {
        "sql_timeout_s": 3.0,
        "sql_memory_bytes_max": 128 << 20,
        "sql_rows_max": 10,
        "sql_bytes_max": 2048,
    }
    async with running(tmp_path / "node", **limits) as canopy:
        ann = await canopy.owner()

        many = await ann.post("/sql", {"query": "SELECT range FROM range(1000)"})
        assert (len(many["rows"]), many["truncated"]) == (10, True)
        wide = "SELECT string_agg(range::VARCHAR, '') FROM range(300) t, range(5) g GROUP BY g"
        assert (await ann.post("/sql", {"query": wide.replace(" g GROUP", " g(g) GROUP")}))[
            "truncated"
        ]
        endless = (
            "WITH RECURSIVE t(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM t) SELECT max(n) FROM t"
        )
        assert (await refused(ann, endless))[1] in ("sql_too_long", "sql_too_large")
        long = "SELECT count(*) FROM range(1000000) a, range(1000000) b"
        assert (await refused(ann, long))[:2] == (422, "sql_too_long")
        large = "SELECT 'aaaaaaaaaaaaaaaa' AS a"
        for _ in range(25):
            large = f"SELECT a || a AS a FROM ({large})"
        assert (await refused(ann, large))[:2] == (422, "sql_too_large")
        assert await rows(ann, "SELECT 1") == [[1]]


async def test_one_account_asks_one_thing_at_a_time(tmp_path: Any) -> None:
    async with running(tmp_path / "node", sql_timeout_s=2.0) as canopy:
        ann = await canopy.owner()
        long = {"query": "SELECT count(*) FROM range(1000000) a, range(1000000) b"}
        answers = await asyncio.gather(*(ann.call("POST", "/sql", long) for _ in range(2)))

    assert sorted(problem["code"] for _, _, problem in answers) == ["sql_busy", "sql_too_long"]


@pytest.mark.parametrize("page", ["/sql"])
async def test_the_views_are_told(canopy: Canopy, page: str) -> None:
    ann = await canopy.register("ann")

    told = await ann.get(page)

    assert [view["name"] for view in told["views"]] == [view.name for view in VIEWS]
    assert "count" in told["functions"]["aggregates"]
    assert told["limits"]["rows"] == 10_000


async def test_the_past_is_asked_as_it_was(canopy: Canopy) -> None:
    ann, bob = await canopy.owner(), await canopy.register("bob")
    first = await said(ann, "general", "One.")
    path = f"/channels/general/messages/{first['id']}"
    edited = await ann.ok("PATCH", path, {"content": "Two."})
    query = {"query": "SELECT content FROM messages", "after_seq": edited["seq"]}

    for at in (first["seq"], first["created_at"]):
        told = await bob.post("/sql", query | {"at": at})
        assert (told["position"], told["rows"]) == (first["seq"], [["One."]])
    assert (await bob.post("/sql", query))["rows"] == [["Two."]]
    before = await bob.call("POST", "/sql", query | {"at": 1})
    assert (before[0], before[2]["code"]) == (403, "before_account")
    await ann.ok("DELETE", path)
    assert (await ann.post("/sql", query | {"at": first["seq"]}))["rows"] == []

"""Whatever is asked in SQL, and however: nothing is told that REST would not tell."""

from __future__ import annotations

import asyncio
import tempfile
from dataclasses import dataclass
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from actors.rooms import VIEWS
from tests.canopy import Caller, Canopy, running

COLUMNS = {view.name: [column.name for column in view.columns] for view in VIEWS}
STATEMENTS = 6
EXAMPLES = 2
READS = {"permissions": ["read_feed"]}

views = st.sampled_from(sorted(COLUMNS))


@st.composite
def tables(draw: st.DrawFn, depth: int = 2) -> str:
    """Something that stands where a table stands, called `t`."""
    view = draw(views)
    if depth == 0:
        return f"{view} t"
    inner = draw(tables(depth - 1))
    column = draw(st.sampled_from(COLUMNS[view]))
    return draw(
        st.sampled_from(
            [
                f"{view} t",
                f"(SELECT * FROM {inner}) t",
                f"(SELECT a.* FROM {view} a, (SELECT 1 FROM {inner} LIMIT 2)) t",
                f"(WITH {view} AS (SELECT * FROM {view}) SELECT * FROM {view}) t",
                f"(SELECT a.* FROM {view} a LEFT JOIN {view} b ON a.{column} = b.{column}) t",
                f"(SELECT {column} FROM {view} UNION ALL SELECT {column} FROM {view}) t",
                f"(SELECT unnest([{column}]) AS {column} FROM {view}) t",
                f"(SELECT a.* FROM {view} a, LATERAL (SELECT a.{column} AS c) b) t",
            ]
        )
    )


@st.composite
def statements(draw: st.DrawFn) -> str:
    """A SELECT that tries to see all there is."""
    table = draw(tables())
    view = draw(views)
    column = draw(st.sampled_from(COLUMNS[view]))
    shown = draw(
        st.sampled_from(
            [
                "*",
                "t",
                "to_json(t)",
                "list(t)",
                "COLUMNS('.*')",
                "count(*), string_agg(t::VARCHAR, ' ')",
                f"(SELECT string_agg({column}::VARCHAR, ' ') FROM {view}), t",
                "row_number() OVER (), t",
            ]
        )
    )
    where = draw(
        st.sampled_from(
            [
                "true",
                "t::VARCHAR LIKE '%'",
                f"EXISTS (SELECT 1 FROM {view} WHERE {column}::VARCHAR <> '')",
                "1 = 1 OR 'hive' = 'hive'",
            ]
        )
    )
    return f"SELECT {shown} FROM {table} WHERE {where}"


@dataclass(frozen=True)
class Place:
    """Ann, who asks, Bob with channels of his own, and what only he may know."""

    ann: Caller
    bob: Caller
    hidden: frozenset[str]
    seq: int


async def place(canopy: Canopy) -> Place:
    ann, bob = await canopy.owner(), await canopy.able("bob", await canopy.register("bob"))
    hive = (await bob.post("/channels", {"name": "beehive", "type": "private"}))["channel"]["id"]
    open_one = (await bob.post("/channels", {"name": "meadow"}))["channel"]["id"]
    key = await bob.post("/keys", {"permissions": ["read_feed"], "label": "propolis"})
    marks = {hive, "beehive", key["id"], "propolis"}
    for where, text in ((hive, "honeycomb"), (open_one, "clover"), (open_one, "daisy")):
        body = {"channel_id": where, "content": text}
        message = (await bob.post("/channels/messages", body))["message"]
        await bob.post(f"/channels/{where}/messages/{message['id']}/like", {"reaction": "love"})
        marks |= {message["id"], text}
    await ann.post("/channels/messages", {"channel_id": "general", "content": "seen"})
    moved = await bob.post(f"/channels/{open_one}/read", {})
    return Place(ann, bob, frozenset(marks), moved["seq"])


@settings(max_examples=EXAMPLES, deadline=None, derandomize=True)
@given(st.lists(statements(), min_size=STATEMENTS, max_size=STATEMENTS, unique=True))
def test_no_statement_tells_of_a_channel_that_one_is_not_in(asked: list[str]) -> None:
    async def scenario(folder: Path) -> None:
        async with running(folder / "node") as canopy:
            town = await place(canopy)
            for query in asked:
                body = {"query": query, "after_seq": town.seq}
                status, _, answer = await town.ann.call("POST", "/sql", body)
                assert status == 200, (query, answer)
                assert not {mark for mark in town.hidden if mark in str(answer["rows"])}, query
            seen = await town.ann.post("/sql", {"query": "SELECT content FROM messages"})
            assert seen["rows"] == [["seen"]]

    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(scenario(Path(folder)))


async def test_who_may_see_it_is_told(canopy: Canopy) -> None:
    """The mutation: with Bob's rights in place of Ann's, such statements tell all that is hidden,
    but for what is sealed.
    """
    town = await place(canopy)
    told = ""

    for view in VIEWS:
        body = {"query": f"SELECT t FROM {view.name} t", "after_seq": town.seq}
        told += str((await town.bob.post("/sql", body))["rows"])
    assert {mark for mark in town.hidden if mark not in told} == {"honeycomb"}


async def test_keys_are_told_as_rest_tells_them(canopy: Canopy) -> None:
    """To their account, with a key that may manage them; as they were, when the past is asked."""
    ann, bob = await canopy.owner(), await canopy.able("bob", await canopy.register("bob"))
    made = await bob.post("/keys", {"permissions": ["read_feed"], "label": "x", "expires_days": 1})
    gone = await bob.ok("DELETE", f"/keys/{made['id']}")
    reader = Caller(bob.http, bob.base, bob.id, (await bob.post("/keys", READS))["api_key"])
    columns = ("id", "user_id", "permissions", "label", "created_at", "expires_at", "revoked")
    query = {"query": f"SELECT {', '.join(columns)} FROM api_keys ORDER BY seq"}

    told = {who: (await who.post("/sql", query))["rows"] for who in (ann, bob, reader)}
    then = (await bob.post("/sql", query | {"at": gone["seq"] - 1}))["rows"]
    shown = (await bob.get("/keys"))["keys"]

    assert told[bob] == [[one[name] for name in columns] for one in shown]
    assert [row[-1] for row in told[bob]] == [False, False, True, False]
    assert [row[-1] for row in then] == [False, False, False]
    assert {row[1] for row in told[ann]} == {ann.id}
    assert told[reader] == []


async def test_whose_the_workspace_is_is_no_secret(canopy: Canopy) -> None:
    ann, bob = await canopy.owner(), await canopy.register("bob")
    query = {"query": "SELECT owner_id, kinds, seq FROM workspace JOIN commits USING (seq)"}

    ((owner, kinds, seq),) = (await bob.post("/sql", query))["rows"]
    before = await ann.post("/sql", {"query": "SELECT * FROM workspace", "at": seq - 1})

    assert (owner, kinds) == (ann.id, ["workspace_claimed"])
    assert before["rows"] == []


async def test_what_was_said_in_a_removed_channel_is_in_no_past(canopy: Canopy) -> None:
    """Not for who could read it then; the channel itself is told of, as in REST."""
    ann, bob = await canopy.owner(), await canopy.register("bob")
    den = (await ann.post("/channels", {"name": "den"}))["channel"]["id"]
    await ann.post(f"/channels/{den}/members", {"user_id": bob.id})
    body = {"channel_id": den, "content": "marker"}
    root = (await bob.post("/channels/messages", body))["message"]
    path = f"/channels/{den}/messages/{root['id']}"
    await bob.post("/channels/messages", body | {"parent_message_id": root["id"]})
    await bob.ok("PATCH", path, {"content": "marker too"})
    at = int((await bob.call("POST", f"{path}/like", {"reaction": "like"}))[1]["Canopy-Seq"])
    views = ("messages", "message_versions", "reactions", "threads")
    queries = {view: {"query": f"SELECT * FROM {view}", "at": at} for view in views}
    before = {view: (await bob.post("/sql", queries[view]))["rows"] for view in views}
    removed = (await ann.ok("DELETE", f"/channels/{den}"))["seq"]
    after = [
        (await bob.post("/sql", queries[view] | {"after_seq": removed}))["rows"] for view in views
    ]
    channels = {"query": "SELECT name FROM channels WHERE name = 'den'", "at": at}

    assert all(before.values())
    assert after == [[], [], [], []]
    assert (await bob.post("/sql", channels))["rows"] == [["den"]]

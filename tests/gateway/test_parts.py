"""The small parts of the gateway: limits, pages, mentions, drafts, problems, what was seen."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bus.clock import iso_ms
from bus.crypto.identity import identity, new_secrets
from gateway import drafts
from gateway.errors import CATALOGUE, refuse, tell
from gateway.limits import Allowance, Buckets
from gateway.mentions import handles, mentioned
from gateway.pages import NEWEST, Cursors, Page, Start, fill
from gateway.routes import ROUTES
from gateway.seen import ACCOUNTS_MAX, Seen
from gateway.shapes.message import AttachmentDraft, MessageDraft, Security
from gateway.table import document
from schemas.envelope import Refused
from tests.gateway.people import Town, channel

NOW_MS = 1_800_000_000_000
DAY_MS = 86_400_000


class Hands:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


def test_a_bucket_gives_its_burst_and_then_its_rate() -> None:
    clock = Hands()
    bucket = Buckets(Allowance("api", 2, 3), now=clock)

    assert [bucket.take("ann") for _ in range(3)] == [2, 1, 0]
    with pytest.raises(Refused) as refused:
        bucket.take("ann")
    assert refused.value.detail["headers"]["Retry-After"] == 1
    assert bucket.take("bob") == 2
    clock.now_s = 0.5
    assert bucket.take("ann") == 0


def test_a_bucket_tells_its_policy() -> None:
    bucket = Buckets(Allowance("api", 10, 100))

    assert bucket.policy == '"api";q=100;w=10'
    assert bucket.told(95) == '"api";r=95;t=1'


def test_callers_who_have_rested_are_forgotten_first() -> None:
    clock = Hands()
    bucket = Buckets(Allowance("api", 1, 2), callers_max=2, now=clock)
    bucket.take("ann")
    clock.now_s = 10.0
    bucket.take("bob")
    bucket.take("bob")
    bucket.take("cyd")

    with pytest.raises(Refused):
        bucket.take("bob")


class Shelf:
    """Rows 1 to *size*, some of them deleted, and how often they were fetched."""

    def __init__(self, size: int, *deleted: int) -> None:
        self.rows = [{"seq": seq} for seq in range(1, size + 1)]
        self.deleted = set(deleted)
        self.fetches = 0

    def page(self, start: Start, limit: int) -> Page:
        def fetch(seq: int, count: int) -> list[dict[str, Any]]:
            self.fetches += 1
            if start.direction == "newer":
                return [row for row in self.rows if row["seq"] > seq][:count]
            return [row for row in reversed(self.rows) if row["seq"] < seq][:count]

        def present(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
            return [row for row in rows if row["seq"] not in self.deleted]

        return fill(fetch, present, start, limit)


def seqs(page: Page) -> list[int]:
    return [row["seq"] for row in page.items]


def test_pages_walk_to_the_beginning_and_back() -> None:
    shelf = Shelf(7)
    newest = shelf.page(NEWEST, 3)
    assert newest.older is not None
    middle = shelf.page(newest.older, 3)
    assert middle.older is not None
    oldest = shelf.page(middle.older, 3)
    forth = shelf.page(oldest.newer, 3)

    assert [seqs(page) for page in (newest, middle, oldest)] == [[5, 6, 7], [2, 3, 4], [1]]
    assert oldest.older is None
    assert seqs(forth) == [2, 3, 4]
    assert forth.older == Start("older", 2)


def test_a_page_stands_still_while_others_write() -> None:
    shelf = Shelf(5)
    newest = shelf.page(NEWEST, 2)
    shelf.rows.append({"seq": 6})
    assert newest.older is not None

    assert seqs(shelf.page(newest.older, 2)) == [2, 3]
    assert seqs(shelf.page(newest.newer, 9)) == [6]


def test_what_was_deleted_is_made_up_for() -> None:
    shelf = Shelf(300, *range(10, 300))
    page = shelf.page(NEWEST, 3)

    assert seqs(page) == [8, 9, 300]
    assert shelf.fetches < 8


def test_an_empty_shelf_has_an_end() -> None:
    page = Shelf(0).page(NEWEST, 3)

    assert (seqs(page), page.older, page.newer) == ([], None, Start("newer", 0))
    assert (Shelf(3).page(Start("newer", 3), 3)).newer == Start("newer", 3)


def test_a_cursor_is_ours_and_for_one_list() -> None:
    cursors = Cursors(identity(new_secrets()))
    text = cursors.write("messages C1", Start("older", 7))

    assert cursors.read("messages C1", text) == Start("older", 7)
    for what, cursor in (("messages C2", text), ("messages C1", text + "x"), ("", "")):
        with pytest.raises(Refused, match="invalid_cursor"):
            cursors.read(what, cursor)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("Hi @ann.", ["ann"]),
        ("**@ann**, @bob!", ["ann", "bob"]),
        ("(@a-b.c_d)", ["a-b.c_d"]),
        ("@ann...", ["ann"]),
        ("mail ann@bob.example", []),
        ("@@ann", []),
        ("x@ann", []),
        ("-@ann", []),
        ("@a", []),
        ("@-ann", []),
        ("@" + "a" * 49, ["a" * 49]),
        ("@" + "a" * 50, []),
        ("@ann\n@ann", ["ann", "ann"]),
        ("no one", []),
    ],
)
def test_what_is_a_mention(text: str, found: list[str]) -> None:
    assert list(handles(text)) == found


@given(st.text(alphabet="@ab-_. \n", max_size=80))
def test_handles_are_handles(text: str) -> None:
    assert all(
        2 <= len(one) <= 49 and one[0].isalnum() and one[-1].isalnum() for one in handles(text)
    )


def test_who_is_mentioned_belongs_and_wants_to_know() -> None:
    town = Town(channel(ann="member", bob="member", cyd="member", muted=frozenset({"cyd"})))
    town._names = {name: name for name in ("ann", "bob", "cyd")}
    place = town.channel("C1")
    assert place is not None

    assert mentioned("@ann @BOB @bob @cyd @dan", place, "ann", town) == ("bob",)


def draft(**fields: Any) -> MessageDraft:
    return MessageDraft(channel_id="C1", content="x", **fields)


@pytest.mark.parametrize(
    ("fields", "days"),
    [
        ({}, 90),
        ({"ttl_seconds": 86_400}, 1),
        ({"ttl_seconds": 10**9}, 730),
        ({"ttl_mode": "none"}, 365),
        ({"ttl_mode": "no_expiry", "ttl_seconds": 5}, 365),
        ({"ttl_mode": "immortal"}, 365),
        ({"expires_at": "2027-01-16T08:00:00Z"}, 1),
        ({"expires_at": "2027-01-16T08:00:00"}, 1),
        ({"expires_at": "2027-01-16T10:00:00+02:00"}, 1),
        ({"expires_at": "9999-12-31T23:59:59Z"}, 730),
        ({"expires_at": None, "ttl_seconds": None}, 90),
    ],
)
def test_how_long_a_message_lives(fields: dict[str, Any], days: int) -> None:
    from_now = drafts.expiry(draft(**fields), NOW_MS)
    expected = iso_ms(NOW_MS + days * DAY_MS)

    assert from_now == expected


@pytest.mark.parametrize(
    "text", ["tomorrow", "", "2027-01-14T00:00:00Z", "0001-01-01T00:00:00+14:00"]
)
def test_a_time_that_is_none_or_gone_is_refused(text: str) -> None:
    with pytest.raises(Refused) as refused:
        drafts.expiry(draft(expires_at=text), NOW_MS)

    assert refused.value.detail["errors"][0]["field"] == "expires_at"


@pytest.mark.parametrize(
    ("given_as", "name", "media_type"),
    [
        ({"id": "F1"}, "file", "application/octet-stream"),
        ({"file_id": "F1", "filename": "a.png", "mime_type": "image/png"}, "a.png", "image/png"),
        ({"id": "F1", "original_name": "b", "content_type": "text/plain"}, "b", "text/plain"),
        ({"id": "F1", "file_name": "c", "mime": "text/html"}, "c", "text/html"),
        ({"id": "F1", "name": "d", "filename": "e", "type": "x/y", "mime": "z/z"}, "d", "x/y"),
    ],
)
def test_attachments_have_one_spelling(
    given_as: dict[str, Any], name: str, media_type: str
) -> None:
    (one,) = drafts.attachments([AttachmentDraft(**given_as)])

    assert (one.id, one.name, one.type) == ("F1", name, media_type)


def test_a_bare_id_is_an_attachment_and_a_strange_layout_is_dropped() -> None:
    bare, grid, strange = drafts.attachments(
        [
            "F1",
            AttachmentDraft(id="F2", layout_hint="grid"),
            AttachmentDraft(id="F3", layout_hint="spiral"),
        ]
    )

    assert (bare.id, grid.layout_hint, strange.layout_hint) == ("F1", "grid", None)


@pytest.mark.parametrize(
    ("text", "meant"), [("love", "love"), ("dislike", "dislike"), ("meh", "like"), (None, "like")]
)
def test_unknown_reactions_are_likes(text: str | None, meant: str) -> None:
    assert drafts.reaction(text) == meant


@pytest.mark.parametrize(
    ("fields", "parent"),
    [
        ({"reply_to": "", "parent_message_id": ""}, None),
        ({"reply_to": "", "parent_message_id": "M1"}, "M1"),
        ({"reply_to": "M1", "parent_message_id": ""}, "M1"),
        ({"reply_to": "M1", "parent_message_id": "M1"}, "M1"),
        ({"reply_to": None}, None),
    ],
)
def test_an_empty_parent_is_none(fields: dict[str, Any], parent: str | None) -> None:
    """As older agents send it."""
    assert drafts.parent_id(draft(**fields)) == parent


def test_security_has_a_measure() -> None:
    assert drafts.security(Security()) is None
    assert drafts.security(Security(nonce="x", version=2)) == {"nonce": "x", "version": 2}
    too_much = Security(**dict.fromkeys(("nonce", "tag", "aad", "iv", "salt"), "x" * 4000))
    for fields in (Security(nonce="é" * 4000), too_much):
        with pytest.raises(Refused):
            drafts.security(fields)


@pytest.mark.parametrize("code", CATALOGUE)
def test_every_problem_says_what_to_do(code: str) -> None:
    entry = CATALOGUE[code]
    told = tell(refuse(code), "/api/v1/x", "chain-1")
    body = orjson.loads(told.body)

    assert entry.remedy.endswith(".")
    assert (told.status, body["status"]) == (entry.status, entry.status)
    assert body["type"] == f"/problems/{code}"
    assert (body["error"], body["message"]) == (body["title"], body["detail"])
    assert (body["instance"], body["correlation_id"]) == ("/api/v1/x", "chain-1")


def test_headers_of_a_refusal_are_headers() -> None:
    told = tell(refuse("rate_limited", headers={"Retry-After": 3}), "/", "x")

    assert told.headers == {"Retry-After": "3"}
    assert "headers" not in orjson.loads(told.body)


def test_what_an_account_has_seen_only_grows() -> None:
    seen = Seen(lambda: 0, lambda: 0)
    seen.note("ann", 5)
    seen.note("ann", 3)

    assert (seen.of("ann"), seen.of("bob")) == (5, 0)


def test_what_the_tables_know_need_not_be_remembered() -> None:
    seen = Seen(lambda: 10, lambda: 0)
    for nth in range(ACCOUNTS_MAX + 1):
        seen.note(f"a{nth}", 11 if nth == 7 else 10)

    assert (seen.of("a7"), seen.of("a8")) == (11, 0)


def test_what_the_tables_cannot_come_to_know_is_not_waited_for() -> None:
    seen = Seen(lambda: 4, lambda: 5)
    seen.note("ann", 5)
    seen.note("bob", 6)

    assert (seen.of("ann"), seen.of("bob")) == (0, 6)


def test_only_what_becomes_a_command_takes_an_idempotency_key() -> None:
    """Two tickets are two tickets, whatever was sent along."""
    described = document(ROUTES, "0", "session")["paths"]
    posts = {path: ways["post"]["parameters"] for path, ways in described.items() if "post" in ways}
    keyless = {
        path
        for path, parameters in posts.items()
        if "Idempotency-Key" not in {parameter["name"] for parameter in parameters}
    }

    assert keyless == {
        "/api/v1/live/tickets",
        "/api/v1/node/rebuild",
        "/api/v1/node/verify",
        "/api/v1/sql",
    }

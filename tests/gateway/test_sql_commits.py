"""The view of commits shows what live pages show: its conditions are those of the policy."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import duckdb
import pytest

from actors.commit.views import COMMITS
from actors.view import NAMED
from gateway import asking, policy
from gateway.directory import Channel
from gateway.policy import ALL_SCOPES, Principal
from schemas.account import Scope
from schemas.vocabulary import NOUNS
from tests.gateway.people import Town, channel

PEOPLE = ("ann", "bob", "cyd")
KEYS = {
    "channel": ("C1", "general", "elsewhere"),
    "message": ("C1.M1", "general.M1", "elsewhere.M1"),
    "cursor": ("C1.bob", "general.ann"),
}
TABLE = """
CREATE TABLE commit (
    seq UBIGINT, time TIMESTAMP, noun VARCHAR, key VARCHAR, id VARCHAR, author VARCHAR,
    origin VARCHAR, cause VARCHAR, correlation VARCHAR, parent VARCHAR, kinds VARCHAR[]
)
"""
INSERT = "INSERT INTO commit (seq, noun, key, author, kinds) VALUES ($1, $2, $3, $4, $5)"


@dataclass(frozen=True)
class Said:
    """One commit of everything that can be said of a noun."""

    noun: str
    key: str
    author: str
    kinds: list[str]


def everything() -> Iterator[Said]:
    for noun in NOUNS.values():
        kinds = [str(event.model_fields["kind"].default) for event in noun.events]
        for author in PEOPLE:
            for key in KEYS.get(noun.name, PEOPLE):
                yield Said(noun.name, key, author, kinds)


@pytest.mark.parametrize(
    "where",
    [
        channel("public", bob="member"),
        channel("private", bob="member"),
        channel("public", "private", bob="admin", cyd="member"),
    ],
    ids=["open", "private", "hidden"],
)
@pytest.mark.parametrize("scopes", [ALL_SCOPES, frozenset({"read_feed"})], ids=["all", "read"])
def test_a_commit_shows_the_events_that_one_may_see(
    where: Channel, scopes: frozenset[Scope]
) -> None:
    town, commits = Town(where), list(everything())
    with duckdb.connect(":memory:") as connection:
        connection.execute(TABLE)
        for seq, one in enumerate(commits, 1):
            connection.execute(INSERT, [seq, one.noun, one.key, one.author, one.kinds])
        for who in PEOPLE:
            me = Principal(town.account(who), scopes, owner=who == town.owner_id)
            rights = asking.rights(me, town, len(commits), (0, 0))
            given = {name: rights[name] for name in NAMED.findall(COMMITS.sql)}
            shown = f"SELECT seq, kinds FROM ({COMMITS.sql})"
            told = dict(connection.execute(shown, given).fetchall())
            assert told == {
                seq: seen
                for seq, one in enumerate(commits, 1)
                if (
                    seen := [
                        kind
                        for kind in one.kinds
                        if policy.visible(me, town, one.noun, one.key, kind, one.author)
                    ]
                )
            }

"""Chains of causes: from what an id names up to what called for it and down to all that followed.

Commits are tied by `parent` (the commit whose reactor sent the command) and by `correlation` (the
request that began it all). What the caller may not see is left out and counted.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from actors.commit import queries
from gateway import policy
from gateway.call import Call
from gateway.read_model import Rows

Row = dict[str, Any]

NAMED_MAX = 50
"""Commits that one id names, the first ones. No setting: with more than that a reader is better
served by `canopy log`, and `chain_commits_max` bounds what is told of all of them."""
ROUNDS_MAX = 8
"""Steps up and down from what was asked for; each follows every tie there is. No setting: it only
ends what would be followed in circles or for ever; reactors do not call each other so often."""


@dataclass(frozen=True, slots=True)
class Chain:
    """The commits of some chains by position, those that were `asked` for among them, without what
    the caller may not see; of that only how many they are.

    `more` tells that some were left out because they are too many; never what was asked for.
    """

    commits: dict[int, Row]
    asked: frozenset[int]
    hidden: int
    more: bool

    def trees(self, commands: dict[str, str]) -> list[Row]:
        """One chain after the other; *commands* are kinds of commands by their ids."""
        nodes = {seq: self._node(seq, row, commands) for seq, row in self.commits.items()}
        by_id = {row["id"]: seq for seq, row in self.commits.items()}
        chains: dict[str, list[Row]] = {}
        for seq, row in sorted(self.commits.items()):
            above = by_id.get(row["parent"])
            siblings = (
                chains.setdefault(row["correlation"], [])
                if above is None or above >= seq
                else nodes[above]["caused"]
            )
            siblings.append(nodes[seq])
        return [{"correlation": name, "commits": commits} for name, commits in chains.items()]

    def _node(self, seq: int, row: Row, commands: dict[str, str]) -> Row:
        told = {k: row[k] for k in ("seq", "time", "noun", "key", "author", "origin", "cause")}
        return told | {
            "commit": row["id"],
            "kinds": row["kinds"],
            "command": commands.get(row["cause"]),
            "parent": row["parent"],
            "asked": seq in self.asked,
            "caused": [],
        }


async def chain(call: Call, name: str) -> Chain:
    """What *name* is tied to: a position, a commit, a command, a request, or what commits are
    about."""
    most = call.gateway.settings.chain_commits_max

    def read(rows: Rows) -> tuple[list[Row], dict[int, Row], bool]:
        asked = rows(queries.AT, int(name)) if name.isdigit() and len(name) < 19 else []
        asked = asked or rows(queries.NAMED, name, NAMED_MAX + 1)
        known = {row["seq"]: row for row in asked[:NAMED_MAX]}
        more = not _followed(rows, known, most) or len(asked) > NAMED_MAX
        return asked[:NAMED_MAX], known, more

    asked, known, more = await call.together(read)
    shown = {seq: seen for seq, row in known.items() if (seen := _seen(call, row))}
    named = frozenset(row["seq"] for row in asked) & shown.keys()
    if not named:  # Who may not see what he names is told nothing of what it is tied to.
        return Chain({}, named, 0, more=False)
    return Chain(shown, named, len(known) - len(shown), more)


def _followed(rows: Rows, known: dict[int, Row], most: int) -> bool:
    """Whether *known*, at first what was asked for, now holds all that its commits are tied to.

    Of more than *most* it holds what was asked for and the nearest to that.
    """
    asked = dict(known)
    ends = (min(asked, default=0), max(asked, default=0))
    for _ in range(ROUNDS_MAX):
        before, ids = len(known), {row["id"] for row in known.values()}
        correlations = {row["correlation"] for row in known.values()}
        above = {row["parent"] for row in known.values()} - ids - {""}
        found = rows(queries.RELATED, sorted(correlations), sorted(ids), *ends, most + 1)
        found += rows(queries.PARENTS, sorted(above), most) if above else []
        known.update({row["seq"]: row for row in found})
        if len(known) > most:
            for seq in sorted(known, key=lambda seq: _rank(asked, known[seq]))[most:]:
                del known[seq]
            return False
        if len(known) == before:
            return True
    return False


def _rank(asked: dict[int, Row], row: Row) -> tuple[int, int, int]:
    """The lower, the nearer *row* is to what was *asked* for: that, its causes, the rest."""
    if row["seq"] in asked:
        return 0, 0, row["seq"]
    tied = any(row["id"] == one["parent"] or row["parent"] == one["id"] for one in asked.values())
    far = max(min(asked) - row["seq"], row["seq"] - max(asked), 0)
    return (1 if tied else 2), far, row["seq"]


def _seen(call: Call, row: Row) -> Row | None:
    """*row* with the kinds that the caller may see; None when he may see none."""
    kinds = [kind for kind in row["kinds"] if _may_see(call, row, kind)]
    return {**row, "kinds": kinds} if kinds else None


def _may_see(call: Call, row: Row, kind: str) -> bool:
    principal = call.principal
    if sees_all(call) or row["noun"] == "receipt":
        return sees_all(call) or bool(row["author"] == principal.id)
    return policy.visible(principal, call.directory, row["noun"], row["key"], kind, row["author"])


def sees_all(call: Call) -> bool:
    """Whether the caller may read the log as it is: the owner, with a key for that."""
    principal = call.principal
    return principal.owner and policy.holds(principal.scopes, "delete_data")


def ids(commits: Iterable[Row]) -> set[str]:
    """What processes may remember of *commits*: their commands and chains."""
    return {row[name] for row in commits for name in ("cause", "correlation")}

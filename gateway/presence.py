"""Who is here: the accounts with a live client at any gateway of this node.

Each gateway shows the whole set of its accounts whenever that has changed, and again from time to
time; whoever hears it compares. So a lost sign, or a gateway that was killed, mends itself.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Literal

import orjson

State = Literal["online", "offline"]
Change = tuple[str, State]


class Presence:
    """The accounts here, the accounts elsewhere, and what of it has been told."""

    def __init__(self, gateway: str, repeat_s: float) -> None:
        self._gateway = gateway
        self._repeat_s = repeat_s
        self._here: Counter[str] = Counter()
        self._rosters: dict[str, tuple[float, frozenset[str]]] = {}
        self._shown: frozenset[str] = frozenset()
        self._shown_s = float("-inf")

    def arrive(self, account_id: str) -> None:
        """One more client of an account."""
        self._here[account_id] += 1

    def leave(self, account_id: str) -> None:
        """One client fewer."""
        self._here[account_id] -= 1
        if not self._here[account_id]:
            del self._here[account_id]

    def count(self, account_id: str) -> int:
        """The clients of an account at this gateway."""
        return self._here[account_id]

    def roster(self, now_s: float) -> bytes | None:
        """What is to be shown now: nothing when it was shown lately and has not changed."""
        here = frozenset(self._here)
        if here == self._shown and now_s < self._shown_s + self._repeat_s:
            return None
        self._shown, self._shown_s = here, now_s
        return orjson.dumps({"gateway": self._gateway, "accounts": sorted(here)})

    def hear(self, sign: bytes, now_s: float) -> list[Change]:
        """Who came and who went, now that a roster has been shown."""
        before = self.online()
        roster = orjson.loads(sign)
        self._rosters[roster["gateway"]] = (now_s, frozenset(roster["accounts"]))
        self._rosters = {
            gateway: (heard_s, accounts)
            for gateway, (heard_s, accounts) in self._rosters.items()
            if accounts and now_s < heard_s + 3 * self._repeat_s
        }
        return list(_changes(before, self.online()))

    def online(self) -> frozenset[str]:
        """The accounts that are here, as far as has been heard."""
        return frozenset().union(*(accounts for _, accounts in self._rosters.values()))


def _changes(before: frozenset[str], after: frozenset[str]) -> Iterator[Change]:
    for account_id in sorted(after - before):
        yield account_id, "online"
    for account_id in sorted(before - after):
        yield account_id, "offline"

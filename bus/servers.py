"""The servers of an external broker: which to try first, and which have told us of others.

Every process keeps its own order. A server that failed goes to the end, so that the next attempt
is with another; those that a server tells of (`connect_urls` of its INFO) stand behind those that
were configured.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from random import Random
from urllib.parse import urlsplit

from schemas.servers import SERVERS_MAX


class Servers:
    """The URLs of one broker, in the order in which they are to be tried."""

    def __init__(self, urls: Sequence[str], chance: Random | None = None) -> None:
        """*chance* spreads the processes of a node over the servers."""
        self._urls = list(urls)
        self.proved = False
        """Whether they have been seen once to keep what they acknowledge."""
        (chance or Random()).shuffle(self._urls)

    @property
    def in_turn(self) -> tuple[str, ...]:
        """All of them, the most promising first."""
        return tuple(self._urls)

    def put_off(self, url: str) -> None:
        """*url* has failed: it comes last."""
        if url in self._urls:
            self._urls.remove(url)
            self._urls.append(url)

    def prefer(self, url: str) -> None:
        """*url* has proved good: it comes first."""
        if url in self._urls:
            self._urls.remove(url)
            self._urls.insert(0, url)

    def learn(self, places: Iterable[str], like: str) -> None:
        """A server tells of others at *places* (host:port); they are reached as *like* is."""
        before, _, host = like.rpartition("@") if "@" in like else ("", "", urlsplit(like).netloc)
        start = f"{before}@" if before else like.removesuffix(host)
        known = {urlsplit(url).netloc.rpartition("@")[2] for url in self._urls}
        for place in places:
            if place not in known and len(self._urls) < SERVERS_MAX:
                self._urls.append(f"{start}{place}")
                known.add(place)

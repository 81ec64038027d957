"""Which commits a reader of the log wants to see.

Words say it shortly: a noun (`message`), a kind of event (`message_posted`), `@author`, or the name
of a channel. A commit is shown when it matches one word of each sort that was given.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches

from gateway.cli.exits import Exit, Failure
from gateway.cli.sentences import CHANNEL_NOUNS, Frame, Names
from schemas.vocabulary import EVENTS, NOUNS


@dataclass(frozen=True, slots=True)
class Filter:
    """An empty set lets everything through. Channels and authors are ids."""

    nouns: frozenset[str] = frozenset()
    kinds: frozenset[str] = frozenset()
    authors: frozenset[str] = frozenset()
    channels: frozenset[str] = frozenset()

    @classmethod
    def of(cls, words: Sequence[str], names: Names) -> Filter:
        """The filter that *words* say. Raises `Failure` for a word that says nothing."""
        nouns, kinds, authors, channels = set(), set(), set(), set()
        for word in words:
            if word.startswith("@"):
                authors.add(names.account_id(word))
            elif word in NOUNS:
                nouns.add(word)
            elif word in EVENTS:
                kinds.add(word)
            elif word.startswith("#") or names.knows_channel(word):
                channels.add(names.channel_id(word))
            else:
                raise _meaningless(word, names)
        return cls(frozenset(nouns), frozenset(kinds), frozenset(authors), frozenset(channels))

    def lets(self, frame: Frame) -> bool:
        """Whether *frame* is to be shown."""
        return (
            (not self.nouns or frame["noun"] in self.nouns)
            and (not self.authors or frame["author"] in self.authors)
            and (not self.channels or _channel(frame) in self.channels)
            and (not self.kinds or any(event["kind"] in self.kinds for event in frame["events"]))
        )

    @property
    def channel(self) -> str:
        """The one channel that is wanted, when it is one: the node need not send the others."""
        return next(iter(self.channels)) if len(self.channels) == 1 else ""

    @property
    def noun(self) -> str:
        """The one noun that is wanted, when it is one."""
        return next(iter(self.nouns)) if len(self.nouns) == 1 else ""


def _channel(frame: Frame) -> str:
    return str(frame["id"]).partition(".")[0] if frame["noun"] in CHANNEL_NOUNS else ""


def _meaningless(word: str, names: Names) -> Failure:
    known = [*NOUNS, *EVENTS, *names.channels()]
    near = get_close_matches(word, known, n=3)
    listed = " or ".join(repr(one) for one in near)
    return Failure(
        Exit.USAGE,
        f"{word!r} is no noun, no kind of event and none of your channels.",
        f"Did you mean {listed}?"
        if near
        else f"Nouns are {', '.join(NOUNS)}; authors begin with @.",
    )

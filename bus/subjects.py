"""The grammar of subjects: where a command goes, where a commit lies.

    cmd.<noun>.<key>          a command on its way (request and answer, not stored)
    evt.<noun>.<key>          the commits of one aggregate (stream EVT)
    eph.<kind>.<channel>      what nobody will ask about later: typing, presence (not stored)

A key is one token, or two for what belongs to something (`evt.message.<channel>.<message>`).
"""

from __future__ import annotations

import re

from schemas.envelope import TOKENS
from schemas.vocabulary import NOUNS

STREAM = "EVT"
EVENTS = "evt.>"
COMMANDS = "cmd.>"
QUEUE = "actors"
EVERY = ">"
KEY = re.compile(TOKENS)


def command(noun: str, key: str) -> str:
    """Where a command for one aggregate is sent. Raises ValueError for a key that is none."""
    if not KEY.fullmatch(key):
        raise ValueError(f"{key!r} is not a key: one or two tokens of letters, digits, _ and -")
    return f"cmd.{noun}.{key}"


def event(noun: str, key: str) -> str:
    """Where the commits of one aggregate lie. Raises ValueError for a key that is none."""
    if not KEY.fullmatch(key) and key != EVERY:
        raise ValueError(f"{key!r} is not a key: one or two tokens of letters, digits, _ and -")
    return f"evt.{noun}.{key}"


def ephemeral(kind: str, channel: str) -> str:
    """Where a passing sign is shown, for example `eph.typing.general`."""
    return f"eph.{kind}.{channel}"


def aggregate(subject: str) -> tuple[str, str]:
    """The (noun, key) of a command's or a commit's subject.

    Raises ValueError for a subject outside the grammar, with the grammar in its text.
    """
    plane, _, rest = subject.partition(".")
    noun, _, key = rest.partition(".")
    if plane not in ("cmd", "evt") or noun not in NOUNS or not key:
        raise ValueError(f"{subject!r} is not cmd|evt.<noun>.<key> with a known noun")
    return noun, key

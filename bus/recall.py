"""What the processes of a node remember of the last moments: what took how long, what was refused.

Two rings in memory for each process, bounded, stored nowhere: what they have forgotten is gone. A
question (`recall`) goes to all processes over the broker and each answers with what it still knows;
`rule` tells which line of ours refused. Writing into a ring costs less than a microsecond.
"""

from __future__ import annotations

import asyncio
import re
import sys
from collections import deque
from collections.abc import Iterable
from itertools import islice
from secrets import token_hex
from time import perf_counter, time
from typing import Any, Protocol

import msgspec
import structlog
from msgspec import Struct

from bus import subjects
from bus.wire import BrokerLost, TooLarge, Wire
from schemas.envelope import Refused, Request

ASKED = subjects.ephemeral("recall", "asked")
TOLD = "recalled"
"""The kind of sign that an answer is; its place is made up for each question."""
TOKEN = re.compile("[0-9a-f]{16}")
"""What tells the answers to one question from those to others."""
SPANS_MAX = 20_000
REFUSALS_MAX = 2_000
TOLD_MAX = 500
"""Spans, and refusals, in one answer of one process; `Known.more` tells that it has more. No
setting: an answer is one message, and must fit into what the broker carries at once."""
PASSING_ON = frozenset({"existing", "existing_one", "accepted", "refuse", "_required"})
"""Functions that refuse in the name of whoever calls them."""

log = structlog.get_logger()


class Span(Struct, frozen=True, omit_defaults=True):
    """One step: when it began (milliseconds since 1970), how long it took, what it was part of.

    Steps that many commits share name the positions `first` to `last`.
    """

    name: str
    began_ms: float
    took_ms: float
    cause: str = ""
    correlation: str = ""
    first: int = 0
    last: int = 0
    note: str = ""
    author: str = ""
    """Whose request or command it was; empty for what is shared, and for who did not sign in."""
    process: str = ""


class RememberedRefusal(Struct, frozen=True, omit_defaults=True):
    """One refusal: what was asked by whom, which rule refused it, and what was answered."""

    at_ms: float
    code: str
    message: str
    correlation: str
    cause: str = ""
    author: str = ""
    request: str = ""
    """Method and path; empty for a command that no request caused."""
    status: int = 0
    command: str = ""
    aggregate: str = ""
    rule: str = ""
    means: str = ""
    """What the rule says of itself."""
    process: str = ""


class Question(Struct, frozen=True):
    """What is known of these commands and chains of causes, and of these positions.

    The answers go to `eph.recalled.<token>`. It names no subject: those who answer may publish
    more than those who ask, and must not lend them that.
    """

    ids: tuple[str, ...]
    seqs: tuple[int, ...] = ()
    token: str = ""


class Known(Struct, frozen=True):
    """What one process remembers. `memory` tells processes apart; with `more` it remembers more
    than fits into one answer."""

    memory: str
    spans: tuple[Span, ...] = ()
    refusals: tuple[RememberedRefusal, ...] = ()
    more: bool = False


QUESTIONS = msgspec.json.Decoder(Question)
ANSWERS = msgspec.json.Decoder(Known)
Step = tuple[str, float, float, str, str, int, int, str | int, str]


class Memory:
    """The rings of one process."""

    def __init__(
        self,
        process: str = "canopy",
        spans_max: int = SPANS_MAX,
        refusals_max: int = REFUSALS_MAX,
    ) -> None:
        self.id = token_hex(8)
        self._process = process
        self._epoch_s = time() - perf_counter()
        self._spans: deque[Step] = deque(maxlen=spans_max)
        self._refusals: deque[RememberedRefusal] = deque(maxlen=refusals_max)

    def step(
        self,
        name: str,
        began_s: float,
        cause: str = "",
        correlation: str = "",
        first: int = 0,
        last: int = 0,
        note: str | int = "",
        author: str = "",
    ) -> None:
        """One more step has just ended; *began_s* is by `perf_counter`."""
        took_s = perf_counter() - began_s
        step = (name, began_s, took_s, cause, correlation, first, last, note, author)
        self._spans.append(step)

    def refused(self, refusal: RememberedRefusal) -> None:
        """One more refusal."""
        self._refusals.append(refusal)

    def recall(self, question: Question) -> Known:
        """What is remembered, the oldest first: the first `TOLD_MAX` steps, the last refusals."""
        ids, seqs = frozenset(question.ids), question.seqs
        steps = (step for step in tuple(self._spans) if _concerns(step, ids, seqs))
        refusals = (one for one in self._refusals if one.cause in ids or one.correlation in ids)
        spans = [self._told(step) for step in islice(steps, TOLD_MAX + 1)]
        renamed = [msgspec.structs.replace(one, process=self._process) for one in refusals]
        more = max(len(spans), len(renamed)) > TOLD_MAX
        return Known(self.id, tuple(spans[:TOLD_MAX]), tuple(renamed[-TOLD_MAX:]), more)

    def _told(self, step: Step) -> Span:
        name, began_s, took_s, cause, correlation, first, last, note, author = step
        began_ms = (self._epoch_s + began_s) * 1000
        told = (cause, correlation, first, last, str(note), author, self._process)
        return Span(name, began_ms, took_s * 1000, *told)


def _concerns(step: Step, ids: frozenset[str], seqs: Iterable[int]) -> bool:
    _, _, _, cause, correlation, first, last, _, _ = step
    if cause or correlation:
        return cause in ids or correlation in ids
    return any(first <= seq <= last for seq in seqs)


class Recall(Protocol):
    """Asks what the processes of a node remember."""

    async def ask(self, ids: Iterable[str], seqs: Iterable[int] = ()) -> list[Known]:
        """What each of them knows of the commands and chains *ids* and of the positions *seqs*."""


class LocalRecall:
    """Asks this process alone."""

    def __init__(self, memory: Memory) -> None:
        self._memory = memory

    async def ask(self, ids: Iterable[str], seqs: Iterable[int] = ()) -> list[Known]:
        return [self._memory.recall(Question(tuple(ids), tuple(seqs)))]


class WireRecall:
    """Asks every process that is connected to the broker."""

    def __init__(self, wire: Wire, memory: Memory, wait_s: float) -> None:
        """How many will answer nobody knows, so *wait_s* is how long they are given."""
        self._wire = wire
        self._memory = memory
        self._wait_s = wait_s

    async def ask(self, ids: Iterable[str], seqs: Iterable[int] = ()) -> list[Known]:
        token = token_hex(8)
        question = Question(tuple(ids), tuple(seqs), token)
        found = {self._memory.id: self._memory.recall(question)}

        def receive(_reply: bytes, _header: bytes, data: bytes) -> None:
            try:
                known = ANSWERS.decode(data)
            except msgspec.MsgspecError as error:
                log.warning("recall_unreadable", reason=str(error))
                return
            found[known.memory] = known

        subscription = self._wire.subscribe(subjects.ephemeral(TOLD, token), receive)
        try:
            self._wire.publish(ASKED, msgspec.json.encode(question))
            await asyncio.sleep(self._wait_s)
        finally:
            self._wire.unsubscribe(subscription)
        return list(found.values())


async def attend(wire: Wire, memory: Memory) -> None:
    """Answer the questions of others, for ever. Raises `BrokerLost`."""

    def receive(_reply: bytes, _header: bytes, data: bytes) -> None:
        try:
            question = QUESTIONS.decode(data)
            if not TOKEN.fullmatch(question.token):
                log.warning("recall_unanswered", reason="the question's token is none of ours")
                return
            told = msgspec.json.encode(memory.recall(question))
            wire.publish(subjects.ephemeral(TOLD, question.token), told)
        except (msgspec.MsgspecError, TooLarge, BrokerLost) as error:
            log.warning("recall_unanswered", reason=str(error))

    subscription = wire.subscribe(ASKED, receive)
    try:
        await asyncio.shield(wire.lost)
    finally:
        wire.unsubscribe(subscription)


def rule(refused: BaseException) -> tuple[str, str]:
    """Where *refused* was raised, as `module.function:line`, and what that function says of itself.

    Both are empty for one that was never raised.
    """
    traceback, place, means = refused.__traceback__, "", ""
    while traceback is not None:
        code, names = traceback.tb_frame.f_code, traceback.tb_frame.f_globals
        if code.co_name not in PASSING_ON:
            module = str(names.get("__name__", ""))
            place = f"{module}.{code.co_qualname}:{traceback.tb_lineno}"
            means = _said_of(module, code.co_qualname)
        traceback = traceback.tb_next
    return place, means


def _said_of(module: str, name: str) -> str:
    """The first sentence that the function *name* says of itself."""
    found: Any = sys.modules.get(module)
    for part in name.split("."):
        found = getattr(found, part, None)
    paragraph = (getattr(found, "__doc__", None) or "").strip().partition("\n\n")[0]
    return " ".join(paragraph.split())


def refusal_of(refused: Refused, **told: Any) -> RememberedRefusal:
    """The record of *refused*, as it was just raised; *told* is the rest of it."""
    place, means = rule(refused)
    return RememberedRefusal(
        at_ms=time() * 1000, code=refused.code, message=refused.message, rule=place, means=means,
        **told,
    )  # fmt: skip


def refusal_of_command(refused: Refused, request: Request) -> RememberedRefusal:
    """The record of a command that was just refused."""
    return refusal_of(
        refused,
        correlation=request.correlation,
        cause=request.id,
        author=request.author,
        command=request.command.kind,
        aggregate=f"{request.noun} {request.key}",
    )

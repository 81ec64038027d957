"""What must be true of a simulated world, whatever befell it.

The log is read with the product's pure functions only: what `decide` says of the state before each
commit, and of each state that an aggregate had while a client waited, is what had to happen.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from actors.rooms import AGGREGATES, REACTORS
from bus import codec
from bus.clock import derived_id, iso_ms
from bus.sealing import ContentDamaged, Sealing
from gateway.bench.simulation.clocks import EPOCH_S, Clocks
from gateway.bench.simulation.people import Journal, Told
from gateway.bench.simulation.stream import Kept
from gateway.bench.simulation.workload import WHISPERED
from gateway.bench.simulation.world import World
from schemas.envelope import SYSTEM, Commit, Event, Refused, Request, Sealable
from schemas.erasure import ContentErased
from schemas.message import MessageDeleted

ROOMS = {one.noun: one for one in AGGREGATES}
ERASER = "erase"
"""The name that the eraser signs its wishes with."""
AS_JSON: Mapping[str, Any] = {"mode": "json", "exclude": {"kind"}}


@dataclass(frozen=True)
class State:
    """An aggregate after its commit at `seq`, from the moment `since_s` on."""

    seq: int
    since_s: float
    value: Any


@dataclass
class Past:
    """The log as it is in the end, decided anew."""

    commits: list[Commit] = field(default_factory=list)
    states: dict[tuple[str, str], list[State]] = field(default_factory=dict)
    by_cause: dict[str, list[Commit]] = field(default_factory=lambda: defaultdict(list))
    erased: set[tuple[str, str]] = field(default_factory=set)
    """Aggregates of which something that was private opens no longer."""

    def of(self, noun: str, key: str) -> list[State]:
        """Every state that an aggregate had, the empty one first."""
        room = ROOMS[noun]
        return self.states.setdefault((noun, key), [State(0, 0.0, room.initial)])


def broken(world: World, journal: Journal) -> Iterator[str]:
    """The promises that were not kept, in words; none when all is well."""
    past, kept = Past(), world.log.kept
    with closing(world.vault()) as vault:
        yield from _whole(past, kept, Sealing(vault, 1.0))
    yield from _heard(journal, kept)
    for told in journal.told:
        yield from _answered(past, told)
    yield from _reacted(past, world.acked)
    yield from _erased(past)
    yield from _expired(past, world.clocks)
    for stream in world.disk.streams.values():
        for one in stream.kept:
            if one is not None and WHISPERED.encode() in one.payload:
                yield f"{one.subject} at {one.seq} holds in clear what was said in private"


def _whole(past: Past, kept: list[Kept | None], sealing: Sealing) -> Iterator[str]:
    """Every commit is one that the state before it calls for, once, and later than that."""
    clocks: dict[tuple[str, str], str] = {}
    ids: Counter[str] = Counter()
    for seq, one in enumerate(kept, 1):
        if one is None:
            yield f"position {seq} is missing from the log"
            return
        commit = codec.decode(one.payload, seq)
        try:
            commit = sealing.opened(commit)
        except ContentDamaged as damaged:
            yield f"position {seq} was not erased, and cannot be opened: {damaged}"
        header = commit.header
        past.commits.append(commit)
        past.by_cause[header.cause].append(commit)
        ids[header.id] += 1
        states = past.of(header.noun, header.key)
        aggregate = (header.noun, header.key)
        if clocks.get(aggregate, "") >= header.clock:
            yield f"{aggregate} at {seq}: its clock {header.clock} is not later than before"
        clocks[aggregate] = header.clock
        if any(
            isinstance(event, Sealable) and event.sealed and event.empty for event in commit.events
        ):
            past.erased.add(aggregate)
        value = states[-1].value
        for event in commit.events:
            value = ROOMS[header.noun].evolve(value, event, header)
        states.append(State(seq, one.time_s - EPOCH_S, value))
    yield from (f"commit {name} is in the log {n} times" for name, n in ids.items() if n > 1)
    for cause, commits in past.by_cause.items():
        if len({(one.header.noun, one.header.key) for one in commits}) < len(commits):
            yield f"command {cause} has had its effect at {[one.seq for one in commits]}"


def _answered(past: Past, told: Told) -> Iterator[str]:
    request, answer = told.request, told.answer
    name = f"{request.id} ({request.command.kind} {request.noun}.{request.key})"
    gone = (request.noun, request.key) in past.erased
    effect = [one for one in past.by_cause[request.id] if one.header.noun == request.noun]
    if answer.facts:
        yield from _committed(past, told, name)
    elif answer.refused is None:
        standing = [one for one in _seen(past, told) if one.seq == answer.seq]
        if not gone and not any(_decided(request, one) == () for one in standing):
            yield f"{name} was told that it is so already at {answer.seq}, and it was not"
    elif answer.refused.code == "idempotency_key_reused":
        if not any(one.header.fingerprint != request.fingerprint for one in effect):
            yield f"{name} was told that its id belongs to another wish, and it does not"
    elif answer.refused.code == "content_erased":
        if not gone:
            yield f"{name} was told that it is erased, and it is not"
    elif not any(_decided(request, one) == answer.refused.code for one in _seen(past, told)):
        yield f"{name} was refused ({answer.refused.code}) for a state that there was not"


def _committed(past: Past, told: Told, name: str) -> Iterator[str]:
    """An acknowledged commit is in the log, where it was said to be, as it was told."""
    request, answer = told.request, told.answer
    if answer.seq > len(past.commits):
        yield f"{name} was acknowledged at {answer.seq} and is lost"
        return
    commit = past.commits[answer.seq - 1]
    header = commit.header
    if (header.cause, header.noun, header.key) != (request.id, request.noun, request.key):
        yield f"{name} was acknowledged at {answer.seq}, where {header.cause} is: it is lost"
        return
    if header.fingerprint != request.fingerprint:
        yield f"{name} was answered with what came of another wish"
    if (request.noun, request.key) in past.erased:
        return  # What was decided on is gone; what is left of it proves nothing.
    if [(one.kind, _plain(one.data)) for one in answer.facts] != _facts(commit.events):
        yield f"{name} was told of other events than those at {answer.seq}"
    if (header.clock, header.author) != (answer.clock, answer.author):
        yield f"{name} was told of another time or author than those at {answer.seq}"
    states = past.of(request.noun, request.key)
    nth = next(nth for nth, one in enumerate(states) if one.seq == answer.seq)
    decided = _decided(request, states[nth - 1])
    if isinstance(decided, str) or _facts(decided) != _facts(commit.events):
        yield f"{name} at {answer.seq} was not decided on the state before it, which says {decided}"


def _facts(events: tuple[Event, ...]) -> list[tuple[str, Any]]:
    """What *events* say, sealed or not."""
    return [
        (one.kind, _plain(one.__pydantic_serializer__.to_python(one, **AS_JSON))) for one in events
    ]


def _plain(data: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in data.items() if name != "sealed"}


def _seen(past: Past, told: Told) -> Iterator[State]:
    """The states that the aggregate had at any moment between question and answer."""
    states = past.of(told.request.noun, told.request.key)
    for nth, one in enumerate(states):
        until_s = states[nth + 1].since_s if nth + 1 < len(states) else told.told_s
        if until_s >= told.asked_s and one.since_s <= told.told_s:
            yield one


def _decided(request: Request, state: State) -> tuple[Event, ...] | str:
    """What the rules say of *request* on *state*: events, or the code of a refusal."""
    if request.expected not in (None, state.seq):
        return "precondition_failed"
    try:
        return ROOMS[request.noun].decide(request.command, state.value, request.author)
    except Refused as refused:
        return refused.code


def _heard(journal: Journal, kept: list[Kept | None]) -> Iterator[str]:
    """Whoever follows the log hears all of it, in its order, once."""
    log = [one.payload for one in kept if one is not None]
    for name, heard in journal.heard.items():
        if heard != log:
            wrong = next(
                (n for n, pair in enumerate(zip(heard, log, strict=False)) if len(set(pair)) > 1),
                min(len(heard), len(log)),
            )
            yield f"{name} heard {len(heard)} commits of {len(log)}, other ones from {wrong + 1} on"


def _reacted(past: Past, acked: Mapping[tuple[str, int], int]) -> Iterator[str]:
    """What a commit calls for is in the log before it counts as dealt with, and but once; nothing
    else is done in the name of a commit."""
    called_for: set[str] = set()
    for reactor in REACTORS:
        wanted = reactor.subjects.removesuffix(">")
        for commit in past.commits:
            header = commit.header
            if not f"evt.{header.noun}.{header.key}".startswith(wanted):
                continue
            for nth, intent in enumerate(reactor.plan(commit)):
                cause = derived_id("", reactor.name, header.id, str(nth), digits=32)
                called_for.add(cause)
                request = Request(
                    id=cause,
                    noun=intent.noun,
                    key=intent.key,
                    author=SYSTEM,
                    correlation=cause,
                    command=intent.command,
                )
                head = acked.get((reactor.name, commit.seq))
                if head is None:
                    yield f"{reactor.name} has never dealt with {commit.seq}"
                elif _owed(past, request, head):
                    yield f"{reactor.name} owes what {commit.seq} calls for"
                if any(one.header.parent != header.id for one in past.by_cause[cause]):
                    yield f"{reactor.name} does not name {commit.seq} as the parent of its effect"
    called_for |= {
        derived_id("", ERASER, commit.header.id, "0", digits=32)
        for commit in past.commits
        if _private_end(commit)
    }
    for commit in past.commits:
        if commit.header.parent and commit.header.cause not in called_for:
            yield f"nothing calls for what {commit.seq} says that a commit called for"


def _private_end(commit: Commit) -> bool:
    """Whether *commit* deletes something that was said in private."""
    return any(isinstance(event, MessageDeleted) and event.private for event in commit.events)


def _erased(past: Past) -> Iterator[str]:
    """What was private and is deleted opens no longer, and the log says so; no other key is."""
    deleted: set[tuple[str, str]] = set()
    recorded: set[tuple[str, str]] = set()
    for commit in past.commits:
        aggregate = (commit.header.noun, commit.header.key)
        if _private_end(commit):
            deleted.add(aggregate)
        if any(isinstance(event, ContentErased) for event in commit.events):
            recorded.add(aggregate)
            if aggregate not in deleted:
                yield f"{aggregate} is said to be erased at {commit.seq}, and nobody deleted it"
    yield from (f"{one} was deleted, and is not said to be erased" for one in deleted - recorded)
    yield from (f"{one} has lost its key, and nobody deleted it" for one in past.erased - deleted)
    for commit in past.commits:
        aggregate = (commit.header.noun, commit.header.key)
        if aggregate in recorded and any(
            isinstance(event, Sealable) and event.sealed and not event.empty
            for event in commit.events
        ):
            yield f"{aggregate} is said to be erased, and position {commit.seq} still opens"


def _expired(past: Past, clocks: Clocks) -> Iterator[str]:
    """What was private and has expired is deleted, and nothing is before it has, by right time."""
    late = clocks.late()
    for (noun, key), states in past.states.items():
        if noun != "message":
            continue
        for before, after in pairwise(states):
            commit = past.commits[after.seq - 1]
            if any(isinstance(one, MessageDeleted) and one.expired for one in commit.events):
                until, told_s = before.value.expires_at.value, EPOCH_S + after.since_s
                right = iso_ms(math.ceil((told_s + clocks.misled_s(after.since_s)) * 1000))
                if until is None or until > right:
                    yield f"{key} expires at {until}, and was deleted at {after.seq} before {right}"
        last = states[-1].value
        until = last.expires_at.value
        if last.private and last.present and until is not None and until < late:
            yield f"{key} has expired at {until}, and is not deleted at {late}"


def _owed(past: Past, request: Request, head: int) -> bool:
    """Whether *request* had neither had its effect nor become needless at *head*."""
    if any(one.seq <= head for one in past.by_cause[request.id]):
        return False
    states = [one for one in past.of(request.noun, request.key) if one.seq <= head]
    decided = _decided(request, states[-1])
    return not isinstance(decided, str) and bool(decided)

"""How an aggregate lives: load → decide → append → answer.

The loop exists once, here; a room is its two functions (`actors.aggregate`). Everything that can
come between a command and its answer is told in this place; `actors.recollection` is the loading.
"""

from __future__ import annotations

from collections.abc import Mapping
from time import perf_counter
from typing import Any

import structlog

from actors.aggregate import Aggregate
from actors.recollection import Loaded, Recollection
from bus.clock import Clock, iso_ms, new_id
from bus.codec import Undecodable
from bus.key_table import VaultUnusable
from bus.log import Conflict, Damaged, Leaderless, Log, Unacknowledged, Unstored
from bus.recall import refusal_of_command
from bus.rivals import Rivals
from bus.sealing import ContentDamaged, SealedSnapshots, Sealing
from bus.snapshots import Snapshots
from bus.telemetry import Telemetry
from bus.turns import Turns
from bus.vault import Vault
from bus.wire import TooLarge
from schemas.envelope import (
    Answer,
    Command,
    Commit,
    Event,
    Fact,
    Header,
    Id,
    Refusal,
    Refused,
    Request,
    Sealable,
    Timed,
)
from schemas.settings import Settings

AS_JSON: Mapping[str, Any] = {"mode": "json", "exclude": {"kind"}}
PASSING = frozenset({"unacknowledged", "contended", "log_full", "log_damaged", "vault_unusable"})
"""Refusals of the moment: the same command may be sent again, and may then have its effect."""

log = structlog.get_logger()


class Host:
    """Answers the commands of every aggregate of a process."""

    def __init__(
        self,
        aggregates: tuple[Aggregate[Any], ...],
        log: Log,
        snapshots: Snapshots,
        clock: Clock,
        origin: Id,
        settings: Settings,
        telemetry: Telemetry,
        vault: Vault,
        *,
        rivals: Rivals,
    ) -> None:
        self._aggregates = {aggregate.noun: aggregate for aggregate in aggregates}
        self._log = log
        self._clock = clock
        self._origin = origin
        self._settings = settings
        self._telemetry = telemetry
        self._sealing = Sealing(vault, settings.append_timeout_s)
        sealed = SealedSnapshots(snapshots, vault, settings.append_timeout_s)
        self._known = Recollection(aggregates, log, sealed, self._sealing, clock, settings)
        self._turns = Turns()
        self._rivals = rivals

    async def handle(self, request: Request) -> Answer:
        """What came of *request*; a refusal is an answer, and so is a log that cannot take it."""
        kind, began_s = request.command.kind, perf_counter()
        attributes = {"canopy.cause": request.id, "canopy.noun": request.noun}
        with self._telemetry.span(f"decide {kind}", request.traceparent, attributes) as span:
            try:
                answer = await self._decided(request, span.traceparent)
            except Refused as refused:
                answer = _refused(refused.code, refused.message, refused.detail)
                self._telemetry.memory.refused(refusal_of_command(refused, request))
            except (Unacknowledged, Leaderless, ConnectionError, TimeoutError):
                answer = _refused(
                    "unacknowledged",
                    "The log did not answer in time: send the same Idempotency-Key again.",
                )
            except Damaged as error:
                answer = _refused("log_damaged", f"Nothing is written: {error}.")
            except Unstored as error:
                answer = _refused("log_full", f"The log cannot take it: {error}.")
            except TooLarge as error:
                answer = _refused("body_too_large", f"One commit cannot hold it: {error}.")
            except VaultUnusable as error:
                log.critical("vault_unusable", reason=str(error))
                answer = _refused("vault_unusable", "The keys of what is private are out of reach.")
            except ContentDamaged:
                answer = _refused("content_damaged", "What this request said cannot be read.")
            except Undecodable as error:
                log.critical("aggregate_unreadable", noun=request.noun, id=request.key)
                answer = _refused("internal_error", f"Its history cannot be read: {error}.")
        if answer.refused:
            self._telemetry.refusals.labels(answer.refused.code).inc()
        outcome = "refused" if answer.refused else "replayed" if answer.replayed else "done"
        self._telemetry.command(request.noun, kind, outcome)
        memory, step = self._telemetry.memory, f"decide {kind}"
        memory.step(
            step, began_s, request.id, request.correlation, note=outcome, author=request.author
        )
        return answer

    async def _decided(self, request: Request, traceparent: str) -> Answer:
        aggregate = self._aggregates.get(request.noun)
        if aggregate is None:
            raise Refused("invalid_command", f"There is no noun {request.noun!r} here.")
        if type(request.command) not in aggregate.commands:
            kind = request.command.kind
            raise Refused("invalid_command", f"{kind} is no command of a {request.noun}.")
        async with self._turns.of((request.noun, request.key)):  # At once they would conflict.
            return await self._retried(aggregate, request, traceparent)

    async def _retried(
        self, aggregate: Aggregate[Any], request: Request, traceparent: str
    ) -> Answer:
        """Decide until the log agrees on where the aggregate stood, a fixed number of times."""
        unheard = request.command.kind == aggregate.opens
        with self._rivals.place(request.noun, request.key) as place:
            if place.others_wait:
                await place.wait()
                await self._known.refresh(aggregate, request.key)
            for _ in range(self._settings.conflict_retries_max):
                loaded = await self._known.loaded(aggregate, request.key, unheard=unheard)
                unheard = False
                try:
                    answer = await self._once(aggregate, loaded, request, traceparent)
                except Conflict:
                    self._telemetry.conflicts.inc()
                    await place.line_up()
                    await self._known.catch_up(aggregate, request.key, loaded)
                    continue
                if answer is not None:
                    await self._log.attest(answer.seq)
                    return answer
        raise Refused("contended", "Too many at once are changing this: try again.")

    async def _once(
        self,
        aggregate: Aggregate[Any],
        loaded: Loaded[Any],
        request: Request,
        traceparent: str,
    ) -> Answer | None:
        """The answer, or None when another process has moved the aggregate on in the meantime.

        Only an append proves that the state was fresh; before anything else is answered, the log
        is asked for what this process has not seen.
        """
        if request.id in loaded.applied:
            return await self._replayed(request, loaded.applied[request.id])
        try:
            if request.expected not in (None, loaded.seq):
                raise Refused(
                    "precondition_failed",
                    "It has changed since you read it: read it again, then decide again.",
                    {"seq": loaded.seq},
                )
            command = self._in_time(request.command)
            events = aggregate.decide(command, loaded.state, request.author)
        except Refused:
            if await self._known.behind(aggregate, request.key, loaded):
                return None
            raise
        if events:
            return await self._appended(aggregate, loaded, request, events, traceparent)
        if await self._known.behind(aggregate, request.key, loaded):
            return None
        return Answer(seq=loaded.seq, author=request.author)

    def _in_time(self, command: Command) -> Command:
        """*command*, at no later time than this process believes that it is."""
        if not isinstance(command, Timed):
            return command
        believed = iso_ms(self._clock.believed_ms())
        return command.model_copy(update={"now": min(command.now, believed)})

    async def _appended(
        self,
        aggregate: Aggregate[Any],
        loaded: Loaded[Any],
        request: Request,
        events: tuple[Event, ...],
        traceparent: str,
    ) -> Answer:
        header = Header(
            id=new_id(),
            noun=request.noun,
            key=request.key,
            author=request.author,
            origin=self._origin,
            clock=self._clock.tick(),
            cause=request.id,
            correlation=request.correlation,
            parent=request.parent,
            fingerprint=request.fingerprint,
            traceparent=traceparent,
        )
        events = await self._sealing.sealed(header, events)
        began_s = perf_counter()
        with self._telemetry.span("append", traceparent):
            seq = await self._log.append(header, events, loaded.seq)
        memory = self._telemetry.memory
        memory.step(
            "append", began_s, request.id, request.correlation, seq, seq, author=request.author
        )
        commit = Commit(header, events, seq)
        await self._known.append(aggregate, request.key, loaded, commit)
        return _answer(commit, replayed=False)

    async def _replayed(self, request: Request, seq: int) -> Answer:
        """The answer that its first delivery gave. Raises `Refused` when it was another wish."""
        stored = (await self._log.read(request.noun, request.key, seq - 1))[0]
        commit = self._sealing.opened(stored)
        if request.fingerprint and commit.header.fingerprint != request.fingerprint:
            if commit.header.origin != self._origin:
                raise Refused(
                    "answer_unreadable",
                    "This was done before the node was restored: look what came of it, and do not "
                    "send it under another Idempotency-Key.",
                    {"seq": seq},
                )
            raise Refused(
                "idempotency_key_reused",
                "This Idempotency-Key was used for another request: use a fresh one.",
            )
        if any(isinstance(one, Sealable) and one.private and one.empty for one in commit.events):
            raise Refused("content_erased", "What this request said has been erased, for good.")
        return _answer(commit, replayed=True)


def _answer(commit: Commit, *, replayed: bool) -> Answer:
    header = commit.header
    facts = tuple(
        Fact(kind=event.kind, data=event.__pydantic_serializer__.to_python(event, **AS_JSON))
        for event in commit.events
    )
    return Answer(
        seq=commit.seq, clock=header.clock, author=header.author, facts=facts, replayed=replayed
    )


def _refused(code: str, message: str, detail: dict[str, Any] | None = None) -> Answer:
    return Answer(seq=0, refused=Refusal(code=code, message=message, detail=detail or {}))

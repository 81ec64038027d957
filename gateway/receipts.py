"""Exactly once, as the client sees it: the same Idempotency-Key has one effect and one answer.

The log already knows a command by its id, within one aggregate and if it had an effect (ADR 0007).
A receipt adds the rest: once a request with a key has been answered, whatever it was answered, it
is never carried out again. The answer itself is kept in the log, sealed, and given again word for
word: after a minute, a restart or a year, and whatever has become of what it was about.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
import orjson
import structlog

from bus.crypto import Identity
from bus.log import Log
from bus.turns import Turns
from gateway.call import Call, Reply
from gateway.errors import CATALOGUE, refuse
from schemas.envelope import Refusal, Refused
from schemas.receipt import KeepReceipt, ReceiptKept

Handle = Callable[[Call], Awaitable[Any]]
"""What carries a request out: a handler that answers with a `Reply`."""

Kept = tuple[Reply | None, Refusal | None]
"""What was answered: one of the two."""

KEPT = msgspec.msgpack.Decoder(Kept)
PASSING = frozenset({"rate_limited", "credential_required", "credential_invalid"})
"""Refusals of the moment below 500: they say nothing about the request."""

log = structlog.get_logger()


class Receipts:
    """The receipts of one gateway."""

    def __init__(self, log_: Log, identity: Identity) -> None:
        self._log = log_
        self._identity = identity
        self._turns = Turns()

    async def once(self, call: Call, handle: Handle) -> Reply:
        """What the request of *call* was answered, now by *handle* or some time before.

        Raises what it was refused with, `Refused` (idempotency_key_reused) when another request
        had this key, and `Unavailable`.
        """
        async with self._turns.of(call.id):
            kept = await self._found(call)
            if kept is None:
                kept = await self._answered(call, handle)
        reply, refusal = kept
        if refusal is not None:
            raise Refused(refusal.code, refusal.message, refusal.detail)
        if reply is None:
            raise LookupError("a receipt holds a reply or a refusal")
        return reply

    async def _found(self, call: Call) -> Kept | None:
        for commit in await self._log.read("receipt", call.id):
            if commit.header.fingerprint != call.fingerprint:
                raise refuse("idempotency_key_reused")
            for event in commit.events:
                if isinstance(event, ReceiptKept):
                    return self._opened(call, event.sealed)
        return None

    async def _answered(self, call: Call, handle: Handle) -> Kept:
        try:
            reply: Reply = await handle(call)
        except Refused as refused:
            if CATALOGUE[refused.code].status >= 500 or refused.code in PASSING:
                raise
            refusal = Refusal(code=refused.code, message=refused.message, detail=refused.detail)
            return await self._keep(call, (None, refusal))
        body = reply.body if isinstance(reply.body, bytes) else orjson.dumps(reply.body)
        return await self._keep(call, (msgspec.structs.replace(reply, body=body), None))

    async def _keep(self, call: Call, kept: Kept) -> Kept:
        """*kept*, or what another gateway has kept for this request in the meantime."""
        plain, bound = msgspec.msgpack.encode(kept), call.id.encode()
        command = KeepReceipt(sealed=self._identity.seal("receipt", plain, bound))
        try:
            answer = await call.send("receipt", call.id, command, step="receipt")
        except Refused as refused:
            if refused.code != "body_too_large":
                raise
            # It is done, and must be answered: from here on its aggregate alone remembers it.
            log.warning("receipt_too_large", cause=call.id, bytes=len(plain))
            return kept
        return self._opened(call, answer.facts[0].data["sealed"]) if answer.replayed else kept

    def _opened(self, call: Call, sealed: str) -> Kept:
        kept: Kept = KEPT.decode(self._identity.unseal("receipt", sealed, call.id.encode()))
        return kept

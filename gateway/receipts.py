"""Exactly once, as the client sees it: the same Idempotency-Key has one effect and one answer.

The log already knows a command by its id, within one aggregate and if it had an effect (ADR 0007).
A receipt adds the rest: once a request with a key has been answered, whatever it was answered, it
is never carried out again. The answer itself is kept in the log, sealed, and given again word for
word: after a minute, a restart or a year, and whatever has become of
what it was about; unless it holds what was said in private, and that has been erased.
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from contextlib import suppress
from typing import Any

import msgspec
import orjson
import structlog
from aiohttp import web

from actors.commit import queries
from bus.crypto.content import Unsealable, unwrapped, wrapped
from bus.crypto.identity import Identity
from bus.key_table import VaultUnusable
from bus.log import Log
from bus.turns import Turns
from bus.vault import KeyDamaged, Vault
from gateway import policy
from gateway.call import Call, Reply
from gateway.errors import CATALOGUE, refuse
from gateway.table import Route
from schemas.envelope import Commit, Refusal, Refused
from schemas.receipt import KeepReceipt, ReceiptKept

Kept = tuple[Reply | None, Refusal | None]
"""What was answered: one of the two."""

KEPT = msgspec.msgpack.Decoder(Kept)
MOMENTARY = frozenset({"rate_limited", "credential_required", "credential_invalid"})
"""Refusals below 500 that say nothing about the request; it may be sent again."""

log = structlog.get_logger()


async def handled(call: Call, route: Route) -> Reply | web.StreamResponse:
    """What the handler of *route* answers, if the policy lets the caller. Raises `Refused`."""
    call.subject = route.about(call)
    policy.allow(call.principal, route.verb, call.subject)
    return await route.handler(call)


async def refused_by(call: Call, command_id: str) -> Refusal | None:
    """What the receipt of a command says that it was refused with; None when it says otherwise, or
    was sealed by a node that this one was made of without its keys."""
    gateway, bound = call.gateway, command_id.encode()
    for commit in await gateway.reads.log.read("receipt", command_id):
        for event in commit.events:
            if isinstance(event, ReceiptKept) and not event.key:
                with suppress(Unsealable):
                    plain = gateway.identity.unseal("receipt", event.sealed, bound)
                    kept: Kept = KEPT.decode(plain)
                    return kept[1]
    return None


class Receipts:
    """The receipts of one gateway."""

    def __init__(self, log_: Log, identity: Identity, vault: Vault) -> None:
        self._log = log_
        self._identity = identity
        self._vault = vault
        self._turns = Turns()

    async def once(self, call: Call, route: Route) -> Reply:
        """What the request of *call* is answered, now or for the second time.

        Raises what it was refused with, `Refused` (idempotency_key_reused) when another request
        had this key, `Refused` (answer_unreadable) when that cannot be told because the node was
        restored without its keys, and `Unavailable`.
        """
        async with self._turns.of(call.id):
            kept = await self._found(call)
            if kept is None:
                kept = await self._keep(call, await self._answered(call, route))
        reply, refusal = kept
        if refusal is not None:
            raise Refused(refusal.code, refusal.message, refusal.detail)
        if reply is None:
            raise LookupError("a receipt holds a reply or a refusal")
        return reply

    async def _found(self, call: Call) -> Kept | None:
        for commit in await self._log.read("receipt", call.id):
            if commit.header.fingerprint != call.fingerprint:
                raise self._another(call, commit)
            for event in commit.events:
                if isinstance(event, ReceiptKept):
                    return self._opened(call, event.sealed, event.key)
        return None

    def _another(self, call: Call, commit: Commit) -> Refused:
        """What is said of a receipt that does not fit the request: of another request, or of a node
        whose keys we do not have, so that nobody can tell whether it is the same."""
        ours = commit.header.origin == self._identity.node_id
        if ours or self._readable(call, commit):
            return refuse("idempotency_key_reused")
        return refuse("answer_unreadable", seq=commit.seq)

    def _readable(self, call: Call, commit: Commit) -> bool:
        try:
            for event in commit.events:
                if isinstance(event, ReceiptKept):
                    self._opened(call, event.sealed, event.key)
        except (Unsealable, Refused):
            return False
        return True

    async def _answered(self, call: Call, route: Route) -> Kept:
        try:
            reply: Any = await handled(call, route)
        except Refused as refused:
            if CATALOGUE[refused.code].status >= 500 or refused.code in MOMENTARY:
                raise
            done = await self._done(call)
            if done is None:
                code, message, detail = refused.code, refused.message, refused.detail
                return None, Refusal(code=code, message=message, detail=detail)
            reply = await _told(call, route, done)
        body = reply.body if isinstance(reply.body, bytes) else orjson.dumps(reply.body)
        return msgspec.structs.replace(reply, body=body), None

    async def _done(self, call: Call) -> int | None:
        """The position of what the request has done already, though its answer was not kept."""
        await call.gateway.reads.reached(await call.head())
        for row in await call.rows(queries.DONE, call.id):
            if row["fingerprint"] != call.fingerprint:
                ours = row["origin"] == self._identity.node_id
                code = "idempotency_key_reused" if ours else "answer_unreadable"
                raise refuse(code, seq=int(row["seq"]))
            return int(row["seq"])
        return None

    async def _keep(self, call: Call, kept: Kept) -> Kept:
        """*kept*, or what another gateway has kept for this request in the meantime."""
        plain = msgspec.msgpack.encode(kept)
        command = self._sealed(call, plain, kept[0].under if kept[0] else "")
        try:
            answer = await call.send("receipt", call.id, command, step="receipt")
        except Refused as refused:
            if refused.code != "body_too_large":
                raise
            # It is done, and must be answered: from here on its aggregate alone remembers it.
            log.warning("receipt_too_large", cause=call.id, bytes=len(plain))
            return kept
        data = answer.facts[0].data
        return self._opened(call, data["sealed"], data["key"]) if answer.replayed else kept

    def _sealed(self, call: Call, plain: bytes, under: str) -> KeepReceipt:
        """What is kept: under a key of the node's, or under the one that sealed what it holds.

        Raises `Refused` (content_erased) when that is gone already.
        """
        if not under:
            return KeepReceipt(sealed=self._identity.seal("receipt", plain, call.id.encode()))
        box = wrapped(self._key(under), plain, _bound(call))
        return KeepReceipt(sealed=b64encode(box).decode(), key=under)

    def _opened(self, call: Call, sealed: str, under: str) -> Kept:
        if under:
            plain = unwrapped(self._key(under), b64decode(sealed), _bound(call))
        else:
            plain = self._identity.unseal("receipt", sealed, call.id.encode())
        kept: Kept = KEPT.decode(plain)
        return kept

    def _key(self, name: str) -> bytes:
        try:
            key = self._vault.find(name)
        except VaultUnusable as unusable:
            raise refuse("vault_unusable") from unusable
        except KeyDamaged as damaged:
            raise refuse("content_damaged") from damaged
        if key is None:
            raise refuse("content_erased")
        return key


def _bound(call: Call) -> bytes:
    """What a receipt under a key of the vault is bound to, which no message is."""
    return b"receipt " + call.id.encode()


async def _told(call: Call, route: Route, seq: int) -> Any:
    """What a request is told that was carried out, and by now would be refused: what its handler
    makes of the replayed command, or, if even that needs what is gone, that it is done.
    """
    try:
        return await route.handler(call)
    except (Refused, LookupError) as gone:
        log.info("answered_as_done", cause=call.id, seq=seq, reason=repr(gone))
        return Reply({"success": True, "seq": seq}, status=route.status, seq=seq)

"""What is private, between the rooms and the log: sealed on its way in, opened on its way out.

A private event is written without what it hides; that lies beside it as ciphertext, under a key
that the vault has kept before (ADR 0016). Whoever opens one gets what it says, or, once its key is
destroyed, the event without it: what is erased is no error. What does not open although its key is
there, or whose key is damaged, is one.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import structlog
from msgspec.structs import replace

from bus.crypto.content import Unsealable, open_field, place, seal_field
from bus.disk import UNWRITABLE
from bus.key_table import VaultUnusable
from bus.log import Unstored
from bus.snapshots import Snapshot, Snapshots
from bus.vault import KeyDamaged, Vault
from schemas.envelope import Commit, Event, Header, Id, Key, Sealable, Sealed

SEALED = "sealed"
Latest = Callable[[], Awaitable[bool]]
"""Whether the log has nothing newer of an aggregate than what was folded."""

log = structlog.get_logger()


class ContentDamaged(Exception):
    """It was not erased, and yet it cannot be read: its key or its ciphertext was changed."""


def owner(noun: str, key: str) -> str:
    """Whose keys they are that seal what an aggregate hides."""
    return f"{noun}.{key}"


def where(header: Header, kind: str) -> bytes:
    """What binds a sealed event to where it stands."""
    return place(
        noun=header.noun, key=header.key, author=header.author, origin=header.origin,
        clock=header.clock, kind=kind,
    )  # fmt: skip


def revealed(vault: Vault, sealed: Mapping[str, Any], at: bytes) -> dict[str, Any] | None:
    """What lies sealed *at* its place: the hidden fields by name; None once it is erased.

    Raises `ContentDamaged`, or `VaultUnusable` when nothing can be opened any more. Reads the vault
    where it is called.
    """
    try:
        key = vault.find(sealed["key"])
        if key is None:
            return None
        fields: dict[str, Any] = open_field(sealed, key, at)
    except (KeyDamaged, Unsealable, KeyError, TypeError) as error:
        log.critical("content_damaged", key=str(sealed.get("key", "")), reason=str(error))
        raise ContentDamaged(str(error)) from error
    return fields


class Sealing:
    """Seals and opens what the aggregates of one process say."""

    def __init__(self, vault: Vault, timeout_s: float) -> None:
        """*timeout_s* is how long the disk may take for a key."""
        self._vault = vault
        self._timeout_s = timeout_s

    async def sealed(self, header: Header, events: tuple[Event, ...]) -> tuple[Event, ...]:
        """*events* as they may be written; what they say still stands in them, for whoever decided
        it. Raises `Unstored` when the disk takes no key, `VaultUnusable`, TimeoutError.
        """
        for event in events:
            if isinstance(event, Sealable) and event.private:
                return tuple([await self._one(header, one) for one in events])
        return events

    async def _one(self, header: Header, event: Event) -> Event:
        if not isinstance(event, Sealable) or not event.private:
            return event
        hides = set(event.HIDES)
        value = event.model_dump(mode="json", include=hides, exclude_defaults=True)
        try:
            kept = await self._vault.keep(owner(header.noun, header.key), self._timeout_s)
        except TimeoutError:
            raise
        except OSError as error:
            problem = f"the vault cannot keep a key: {error}"
            if error.errno in UNWRITABLE:
                raise Unstored(problem) from error
            raise VaultUnusable(problem, "Put it back where it was.") from error
        body = seal_field(value, where(header, event.kind), kept.name, kept.key)
        return event.model_copy(update={SEALED: Sealed(**body)})

    def opened(self, commit: Commit) -> Commit:
        """*commit* with all that it says; what is erased stays empty. Raises `ContentDamaged`."""
        if not any(isinstance(one, Sealable) and one.sealed for one in commit.events):
            return commit
        events = tuple(self._opened(commit.header, one) for one in commit.events)
        return replace(commit, events=events)

    def _opened(self, header: Header, event: Event) -> Event:
        if not isinstance(event, Sealable) or event.sealed is None:
            return event
        fields = revealed(self._vault, event.sealed.__dict__, where(header, event.kind))
        if fields is None:
            return event
        return type(event).model_validate(event.model_dump() | fields)


class SealedSnapshots:
    """Snapshots of which those of private aggregates are sealed as what they are folded from."""

    def __init__(self, snapshots: Snapshots, vault: Vault, timeout_s: float) -> None:
        self._snapshots = snapshots
        self._vault = vault
        self._timeout_s = timeout_s

    async def load(self, noun: Id, key: Key) -> Snapshot | None:
        found = await self._snapshots.load(noun, key)
        if found is None or SEALED not in found.state:
            return found
        try:
            state = revealed(self._vault, found.state[SEALED], _at(noun, key, found))
        except ContentDamaged:
            return None  # It is but a cache, and the log says whether it was more.
        return None if state is None else found.model_copy(update={"state": state})

    async def save(self, noun: Id, key: Key, snapshot: Snapshot, latest: Latest) -> None:
        """Store *snapshot*; not one of what is private unless it is the *latest*, nor one of what
        is deleted: their key might be one that nobody destroys any more."""
        if snapshot.state.get("private"):
            if snapshot.state.get("deleted"):
                return
            try:
                kept = await self._vault.keep(owner(noun, key), self._timeout_s)
                if not await latest():  # Asked now: a deletion that comes later finds the key.
                    return
            except (OSError, VaultUnusable) as error:
                log.warning("snapshot_unsaved", noun=noun, id=key, reason=type(error).__name__)
                return
            box = seal_field(snapshot.state, _at(noun, key, snapshot), kept.name, kept.key)
            snapshot = snapshot.model_copy(update={"state": {SEALED: box}})
        await self._snapshots.save(noun, key, snapshot)


def _at(noun: str, key: str, snapshot: Snapshot) -> bytes:
    return place(
        noun=noun, key=key, author="", origin=snapshot.version, clock=str(snapshot.seq),
        kind="snapshot",
    )  # fmt: skip

"""Passing signs: who types where, who is here. Shown to whoever watches now, stored nowhere.

A sign may be lost, so it says how things stand, never how they changed. Losing one costs a moment.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Literal, Protocol

from nats.aio.client import Client
from nats.errors import Error as NatsError

from bus import subjects
from bus.wire import BrokerLost

Kind = Literal["typing", "presence"]
PENDING_MAX = 4096
"""Signs that wait for a slow watcher; more are dropped."""


class Signs(Protocol):
    """Where signs are shown and seen, across all processes of a node."""

    async def show(self, kind: Kind, place: str, sign: bytes) -> None:
        """Show *sign* at *place* (one subject token) to those who watch; nobody may."""

    def watch(self, kind: Kind) -> AsyncIterator[tuple[str, bytes]]:
        """The (place, sign) of every sign of *kind* from now on, our own included.

        Raises `BrokerLost` when there is nobody to see them with.
        """


class NatsSigns:
    """Signs over the broker, outside the log."""

    def __init__(self, client: Client) -> None:
        self._client = client

    async def show(self, kind: Kind, place: str, sign: bytes) -> None:
        with suppress(NatsError):  # The broker has just gone: a sign may be lost.
            await self._client.publish(subjects.ephemeral(kind, place), sign)

    async def watch(self, kind: Kind) -> AsyncIterator[tuple[str, bytes]]:
        subject = subjects.ephemeral(kind, "*")
        try:
            subscription = await self._client.subscribe(subject, pending_msgs_limit=PENDING_MAX)
        except NatsError as error:
            raise BrokerLost(f"no signs of {kind} to see: {error}") from error
        try:
            async for message in subscription.messages:
                yield message.subject.rpartition(".")[2], message.data
        finally:
            with suppress(NatsError):  # The connection ends the subscription as well.
                await subscription.unsubscribe()


class LocalSigns:
    """Signs within one process, for tests."""

    def __init__(self) -> None:
        self._watchers: list[tuple[Kind, asyncio.Queue[tuple[str, bytes]]]] = []

    async def show(self, kind: Kind, place: str, sign: bytes) -> None:
        for watched, queue in self._watchers:
            if watched == kind:
                queue.put_nowait((place, sign))

    async def watch(self, kind: Kind) -> AsyncIterator[tuple[str, bytes]]:
        watcher = (kind, asyncio.Queue[tuple[str, bytes]](PENDING_MAX))
        self._watchers.append(watcher)
        try:
            while True:
                yield await watcher[1].get()
        finally:
            self._watchers.remove(watcher)

"""A live page that outlives the connection: where it broke off it goes on, missing nothing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from random import uniform

import aiohttp
import orjson

from gateway.cli.client import Client
from gateway.cli.exits import Exit, Failure
from gateway.cli.filters import Filter
from gateway.cli.history import unfollowed
from gateway.cli.sentences import Frame

BACKOFF_S = (0.2, 0.5, 1.0, 2.0)
REFUSALS = {
    4401: ("The key holds no longer.", "`canopy key create` makes a new one."),
    4403: ("The account may not follow the log any more.", "Ask the owner of the workspace."),
}

Tell = Callable[[str], None]


class Following:
    """One reader of the log, from `after` on (None: from now on)."""

    def __init__(self, client: Client, wanted: Filter, after: int | None, tell: Tell) -> None:
        self._client = client
        self._wanted = wanted
        self._after = after
        self._epoch = ""
        self._tell = tell
        self._alone = False

    async def frames(self) -> AsyncIterator[Frame]:
        """The commits that are wanted, in order, for ever. Raises `Failure`."""
        attempt = 0
        while True:
            try:
                async for frame in self._connected():
                    attempt = 0
                    yield frame
            except (aiohttp.ClientConnectionError, ConnectionError, TimeoutError) as error:
                if not self._epoch:
                    raise self._client.unreachable(str(error)) from error
            if not self._alone:
                self._alone = True
                self._tell("The node went away; waiting for it.")
            longest_s = BACKOFF_S[min(attempt, len(BACKOFF_S) - 1)]
            await asyncio.sleep(longest_s * uniform(0.5, 1.0))  # All who follow were cut off.
            attempt += 1

    async def _connected(self) -> AsyncIterator[Frame]:
        """The commits that are wanted, until the connection ends."""
        wanted = self._wanted
        resume = f"{self._epoch}.{self._after}" if self._epoch else self._after
        try:
            async with self._client.live(resume, wanted.channel, wanted.noun) as socket:
                async for message in socket:
                    frame = orjson.loads(message.data)
                    if self._note(frame) and wanted.lets(frame):
                        yield frame
        except aiohttp.WSServerHandshakeError as error:
            if error.status < 500:
                raise unfollowed(error.status) from error
            return
        if socket.close_code in REFUSALS:
            raise Failure(Exit.REFUSED, *REFUSALS[socket.close_code])

    def _note(self, frame: Frame) -> bool:
        """Keep in mind where we are; whether *frame* is a commit."""
        match frame["type"]:
            case "hello":
                self._greeted(frame)
            case "snapshot":
                self._after = frame["head"]
                self._tell(f"Cannot go on from there ({frame['reason']}): on at {frame['head']}.")
            case "commit" | "position":
                self._after = frame["seq"]
        return bool(frame["type"] == "commit")

    def _greeted(self, hello: Frame) -> None:
        if self._after is None:
            self._after = hello["head"]
        self._epoch = hello["epoch"]
        if self._alone:
            self._alone = False
            self._tell("The node is back; nothing is missed.")

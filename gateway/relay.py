"""The relay: passing signs between live clients, across gateways. Who types where, who is here.

Signs carry no position and are never repeated; a client that is busy may miss some.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Set
from typing import Annotated, Any, Literal

import orjson
from pydantic import Field, TypeAdapter, ValidationError

from bus.clock import new_id
from bus.signs import Signs
from gateway import policy
from gateway.directory import Directory
from gateway.errors import refuse
from gateway.feed import Form
from gateway.follower import Follower
from gateway.limits import Allowance, Buckets
from gateway.policy import Subject
from gateway.presence import Presence
from schemas.envelope import Id, Message, Refused
from schemas.settings import Settings

PRESENCE_REPEAT_S = 30.0
PRESENCE_CHECK_S = 0.5


class Typing(Message):
    """The client's user is typing."""

    type: Literal["typing"]
    channel_id: Id


class WhoIsHere(Message):
    """The client asks who is online."""

    type: Literal["presence"]


FRAME: TypeAdapter[Typing | WhoIsHere] = TypeAdapter(
    Annotated[Typing | WhoIsHere, Field(discriminator="type")]
)


class Relay:
    """Hears the signs of this gateway's clients and shows them everybody's."""

    def __init__(
        self, followers: Set[Follower], directory: Directory, signs: Signs, settings: Settings
    ) -> None:
        self.presence = Presence(new_id("G"), PRESENCE_REPEAT_S)
        self._followers = followers
        self._directory = directory
        self._signs = signs
        self._settings = settings
        rate = settings.live_signs_per_second_max
        self._frames = Buckets(Allowance("live-frames", rate, 2 * rate))

    async def run(self) -> None:
        """Relay, for ever."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._show_presence())
            group.create_task(self._relay_typing())
            group.create_task(self._relay_presence())

    async def hear(self, follower: Follower, text: str) -> None:
        """See to one frame of a client; what it may not say is answered with an error frame."""
        try:
            self._frames.take(follower.principal.id)
            await self._obey(follower, FRAME.validate_json(text))
        except ValidationError:
            _complain(follower, refuse("invalid_request", "Unknown kind of frame."))
        except Refused as refused:
            _complain(follower, refused)

    async def _obey(self, follower: Follower, frame: Typing | WhoIsHere) -> None:
        principal = follower.principal
        match frame:
            case WhoIsHere():
                online = sorted(self.presence.online())
                follower.say(encoded(follower.sink.form, type="presence", online=online))
            case Typing(channel_id=channel_id):
                channel = self._directory.channel(channel_id)
                role = self._directory.role(channel_id, principal.id)
                policy.authorise(principal, "post_message", Subject(channel, role))
                await self._signs.show("typing", channel_id, principal.id.encode())

    async def _relay_typing(self) -> None:
        async for channel_id, sign in self._signs.watch("typing"):
            typist = sign.decode()
            hearers = [one for one in self._followers if self._overhears(one, typist, channel_id)]
            said = {"channel_id": channel_id, "account_id": typist}
            _say(hearers, type="typing", **said, ttl_s=self._settings.typing_ttl_s)

    def _overhears(self, follower: Follower, typist: str, channel_id: str) -> bool:
        """Members of the channel do, but for the one who types."""
        account_id = follower.principal.id
        return (
            account_id != typist
            and follower.wish.channel in ("", channel_id)
            and self._directory.role(channel_id, account_id) is not None
        )

    async def _show_presence(self) -> None:
        clock = asyncio.get_running_loop().time
        while True:
            if (roster := self.presence.roster(clock())) is not None:
                await self._signs.show("presence", "all", roster)
            await asyncio.sleep(PRESENCE_CHECK_S)

    async def _relay_presence(self) -> None:
        clock = asyncio.get_running_loop().time
        async for _, sign in self._signs.watch("presence"):
            for account_id, state in self.presence.hear(sign, clock()):
                _say(self._followers, type="presence", account_id=account_id, state=state)


def _say(hearers: Iterable[Follower], **sign: Any) -> None:
    frames: dict[Form, bytes] = {}
    for follower in hearers:
        form = follower.sink.form
        if form not in frames:
            frames[form] = encoded(form, **sign)
        follower.say(frames[form])


def encoded(form: Form, **frame: Any) -> bytes:
    """A frame without a position."""
    return form.passing(orjson.dumps(frame))


def _complain(follower: Follower, refused: Refused) -> None:
    follower.say(
        encoded(follower.sink.form, type="error", code=refused.code, message=refused.message)
    )

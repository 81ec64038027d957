"""What is said on live pages, in both directions. A frame is one of these, as JSON."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from gateway.presence import State
from gateway.shapes.form import Seq, Shape
from gateway.shapes.log import CommitShape


class Hello(Shape):
    """The first frame."""

    type: Literal["hello"]
    epoch: str = Field(description="The identity of the log: positions count within an epoch.")
    head: Seq = Field(description="How far the page has come; what follows lies behind it.")


class CommitFrame(CommitShape):
    """One commit of the log, in order, with the events that the client may see."""


class PositionFrame(Shape):
    """What lies up to here is not for this client."""

    type: Literal["position"]
    seq: Seq


class SnapshotFrame(Shape):
    """The client's own position cannot be taken up: read the state over REST, then go on."""

    type: Literal["snapshot"]
    reason: Literal["foreign_epoch", "too_far_behind"]
    head: Seq = Field(description="Go on after this position.")
    oldest: Seq = Field(description="The earliest position that a client may come back with.")


class TypingFrame(Shape):
    """Somebody types in a channel of the client's."""

    type: Literal["typing"]
    channel_id: str
    account_id: str
    ttl_s: float = Field(description="Seconds until the sign fades.")


class PresenceFrame(Shape):
    """Somebody has come or gone."""

    type: Literal["presence"]
    account_id: str
    state: State


class OnlineFrame(Shape):
    """Who is here: the answer to the client's question."""

    type: Literal["presence"]
    online: list[str]


class ErrorFrame(Shape):
    """Why a frame of the client's was not obeyed."""

    type: Literal["error"]
    code: str
    message: str


FRAMES: tuple[type[Shape], ...] = (
    Hello,
    CommitFrame,
    PositionFrame,
    SnapshotFrame,
    TypingFrame,
    PresenceFrame,
    OnlineFrame,
    ErrorFrame,
)
"""What a node says."""

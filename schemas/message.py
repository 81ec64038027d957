"""Messages of channels. Each is an aggregate of its own (`<channel>.<message>`), so that posting
contends on nothing; a thread is the messages that share a root.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, StringConstraints

from schemas.envelope import Command, Event, Id, Message, Sealable, Timed
from schemas.erasure import ContentErased, RecordErasure

MessageType = Literal["text", "system", "file", "image", "link", "thread_reply"]
Content = Annotated[str, StringConstraints(max_length=50_000)]
Reaction = Literal["like", "love", "laugh", "wow", "sad", "angry", "celebrate", "dislike"]


class Attachment(Message):
    """A reference to a file; its bytes never travel in commits."""

    id: Id
    name: str = Field("file", max_length=255)
    type: str = Field("application/octet-stream", max_length=255)
    size: int | None = Field(None, ge=0, description="bytes")
    layout_hint: Literal["grid", "hero", "strip", "stack"] | None = None


Attachments = Annotated[tuple[Attachment, ...], Field(max_length=20)]


class PostMessage(Command):
    """What is said in private is sealed; so is every change of it, wherever it stands by then."""

    kind: Literal["post_message"] = "post_message"
    content: Content = ""
    message_type: MessageType = "text"
    thread_id: Id | None = None
    parent_message_id: Id | None = None
    attachments: Attachments = ()
    mentions: tuple[Id, ...] = ()
    security: dict[str, Any] | None = None
    expires_at: str | None = None
    private: bool = False


class EditMessage(Command):
    """Fields left None stay as they are."""

    kind: Literal["edit_message"] = "edit_message"
    content: Content | None = None
    attachments: Attachments | None = None
    mentions: tuple[Id, ...] = ()
    private: bool = False


class DeleteMessage(Command):
    kind: Literal["delete_message"] = "delete_message"


class ExpireMessage(Timed):
    """What the node wishes of a message that has outlived its `expires_at`, at the time `now`."""

    kind: Literal["expire_message"] = "expire_message"


class ToggleReaction(Command):
    kind: Literal["toggle_reaction"] = "toggle_reaction"
    reaction: Reaction


class FollowThread(Command):
    """The author's wish to hear of replies, on the root of the thread."""

    kind: Literal["follow_thread"] = "follow_thread"
    followed: bool


MessageCommand = Annotated[
    PostMessage
    | EditMessage
    | DeleteMessage
    | ExpireMessage
    | RecordErasure
    | ToggleReaction
    | FollowThread,
    Field(discriminator="kind"),
]


class MessagePosted(Sealable):
    HIDES = ("content", "attachments", "security")
    kind: Literal["message_posted"] = "message_posted"
    content: Content = ""
    message_type: MessageType = "text"
    thread_id: Id | None = None
    parent_message_id: Id | None = None
    attachments: Attachments = ()
    mentions: tuple[Id, ...] = ()
    security: dict[str, Any] | None = None
    expires_at: str | None = None


class MessageEdited(Sealable):
    HIDES = ("content", "attachments")
    kind: Literal["message_edited"] = "message_edited"
    content: Content = ""
    attachments: Attachments = ()
    mentions: tuple[Id, ...] = ()


class MessageDeleted(Event):
    """Of a `private` message the keys are destroyed next; `expired`: nobody took it back."""

    kind: Literal["message_deleted"] = "message_deleted"
    private: bool = False
    expired: bool = False


class ReactionAdded(Event):
    kind: Literal["reaction_added"] = "reaction_added"
    reaction: Reaction


class ReactionRemoved(Event):
    kind: Literal["reaction_removed"] = "reaction_removed"
    reaction: Reaction


class ThreadFollowed(Event):
    kind: Literal["thread_followed"] = "thread_followed"
    followed: bool


MessageEvent = (
    MessagePosted
    | MessageEdited
    | MessageDeleted
    | ContentErased
    | ReactionAdded
    | ReactionRemoved
    | ThreadFollowed
)

"""A message: said once by its author, edited by nobody else, and gone for good once deleted."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import assert_never

from actors.aggregate import Aggregate
from actors.register import Register
from schemas.envelope import SYSTEM, Header, Id, Refused
from schemas.erasure import ContentErased, RecordErasure
from schemas.message import (
    Attachment,
    DeleteMessage,
    EditMessage,
    ExpireMessage,
    FollowThread,
    MessageCommand,
    MessageDeleted,
    MessageEdited,
    MessageEvent,
    MessagePosted,
    PostMessage,
    ReactionAdded,
    ReactionRemoved,
    ThreadFollowed,
    ToggleReaction,
)
from schemas.text import says_something
from schemas.vocabulary import NOUNS

Body = tuple[str, tuple[Attachment, ...]]
"""(content, attachments): what an edit replaces as one."""

EMPTY: Body = ("", ())


@dataclass(frozen=True)
class Said:
    """The message as it stands; `reactions` are kept under `<account> <reaction>`.

    Who posted it first is its author, and an edit outlives what was posted, whichever was heard
    first. What was private once stays so: its state is sealed wherever it is stored.
    """

    author: Register[Id | None] = field(default_factory=lambda: Register[Id | None](None))
    posted: Register[Body] = field(default_factory=lambda: Register(EMPTY))
    edited: Register[Body | None] = field(default_factory=lambda: Register[Body | None](None))
    expires_at: Register[str | None] = field(default_factory=lambda: Register[str | None](None))
    private: bool = False
    deleted: bool = False
    erased: bool = False
    reactions: dict[str, Register[bool]] = field(default_factory=dict)
    followers: dict[Id, Register[bool]] = field(default_factory=dict)

    @property
    def present(self) -> bool:
        """Whether it has been posted and not been deleted."""
        return self.author.value is not None and not self.deleted

    @property
    def body(self) -> Body:
        """What it says today."""
        return self.edited.value or self.posted.value


def decide(command: MessageCommand, said: Said, author: Id) -> tuple[MessageEvent, ...]:
    """The events that *command* causes: none if it is so already, `Refused` if it may not be."""
    match command:
        case PostMessage() if said.author.value is not None:
            raise Refused("message_taken", "There is such a message already.")
        case PostMessage():
            _some(command.content, command.attachments)
            return (MessagePosted(**{**command.__dict__, "kind": "message_posted"}),)
        case ExpireMessage() | RecordErasure() if author != SYSTEM:
            raise Refused("not_author", "Only the node itself says so.")
        case RecordErasure():
            return (ContentErased(),) if said.deleted and not said.erased else ()
        case _ if not said.present:
            raise Refused("message_absent", "There is no such message.")
        case EditMessage() | DeleteMessage() if author != said.author.value:
            raise Refused("not_author", "Only its author may change a message.")
        case EditMessage():
            return _edited(command, said)
        case DeleteMessage():
            return (MessageDeleted(private=said.private),)
        case ExpireMessage():
            return _expired(command, said)
        case ToggleReaction():
            given = said.reactions.get(f"{author} {command.reaction}", Register(False))
            if given.value:
                return (ReactionRemoved(reaction=command.reaction),)
            return (ReactionAdded(reaction=command.reaction),)
        case FollowThread():
            followed = said.followers.get(author)
            same = followed is not None and followed.value == command.followed
            return () if same else (ThreadFollowed(followed=command.followed),)
    assert_never(command)


def evolve(said: Said, event: MessageEvent, header: Header) -> Said:
    """The message after *event*. Total: an event is history, and history is never refused.

    What is deleted says nothing any more, whatever is heard of it later.
    """
    after = _evolved(said, event, header)
    if after.deleted or after.erased:
        return replace(after, posted=Register(EMPTY), edited=Register(None))
    return after


def _evolved(said: Said, event: MessageEvent, header: Header) -> Said:
    match event:
        case MessagePosted():
            posted = said.posted.claimed((event.content, event.attachments), header.stamp)
            author = said.author.claimed(header.author, header.stamp)
            expires_at = said.expires_at.claimed(event.expires_at, header.stamp)
            private = said.private or event.private
            return replace(
                said, author=author, posted=posted, expires_at=expires_at, private=private
            )
        case MessageEdited():
            edited = said.edited.written((event.content, event.attachments), header.stamp)
            return replace(said, edited=edited, private=said.private or event.private)
        case MessageDeleted():
            return replace(said, deleted=True)
        case ContentErased():
            return replace(said, erased=True)
        case ReactionAdded() | ReactionRemoved():
            name = f"{header.author} {event.reaction}"
            given = event.kind == "reaction_added"
            register = said.reactions.get(name, Register(False)).written(given, header.stamp)
            return replace(said, reactions=said.reactions | {name: register})
        case ThreadFollowed():
            before = said.followers.get(header.author, Register(False))
            after = before.written(event.followed, header.stamp)
            return replace(said, followers=said.followers | {header.author: after})
    assert_never(event)


def _edited(command: EditMessage, said: Said) -> tuple[MessageEvent, ...]:
    content, attachments = said.body
    content = content if command.content is None else command.content
    attachments = attachments if command.attachments is None else command.attachments
    _some(content, attachments)
    if (content, attachments) == said.body:
        return ()
    private = command.private or said.private
    return (
        MessageEdited(
            content=content, attachments=attachments, mentions=command.mentions, private=private
        ),
    )


def _expired(command: ExpireMessage, said: Said) -> tuple[MessageEvent, ...]:
    """Times in ISO 8601 and UTC, as all that we write: their order is that of their texts."""
    if said.expires_at.value is None or command.now < said.expires_at.value:
        raise Refused("message_present", "It has not expired yet.")
    return (MessageDeleted(private=said.private, expired=True),)


def _some(content: str, attachments: tuple[Attachment, ...]) -> None:
    if not says_something(content) and not attachments:
        raise Refused(
            "empty_message",
            "A message needs content or an attachment: fill one in.",
            {"field": "content"},
        )


MESSAGE = Aggregate(
    "message", Said(), decide, evolve, NOUNS["message"].commands, opens="post_message"
)

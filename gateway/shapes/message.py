"""Messages as agents send and read them (fields of the older system, and `seq`)."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, JsonValue, model_validator

from gateway.shapes.form import WHOLE, Body, Change, IdText, Query, Seq, Shape, Time
from schemas.message import MessageType, Reaction
from schemas.text import SEEN, LegibleFile

CryptoState = Annotated[
    Literal["plaintext", "sealed", "erased", "damaged"],
    Field(
        description="How the node keeps what it says: sealed in private channels; erased when its "
        "key was destroyed, and nothing is left of it; damaged when nobody has erased it and it "
        "cannot be read all the same, which asked for alone is 500 `content_damaged`."
    ),
]


class AttachmentDraft(Body):
    """A reference to a file. Several spellings are understood; the first that is there counts."""

    id: IdText | None = None
    file_id: IdText | None = None
    name: LegibleFile | None = None
    filename: LegibleFile | None = None
    original_name: LegibleFile | None = None
    file_name: LegibleFile | None = None
    type: str | None = Field(None, max_length=255)
    content_type: str | None = Field(None, max_length=255)
    mime_type: str | None = Field(None, max_length=255)
    mime: str | None = Field(None, max_length=255)
    size: Annotated[int, Field(ge=0, lt=2**53), WHOLE] | None = Field(None, description="bytes")
    layout_hint: str | None = Field(None, description="grid, hero, strip or stack; else dropped")

    model_config = ConfigDict(
        json_schema_extra={
            "anyOf": [
                {"required": ["id"], "properties": {"id": {"type": "string"}}},
                {"required": ["file_id"], "properties": {"file_id": {"type": "string"}}},
            ]
        }
    )

    @model_validator(mode="after")
    def _names_a_file(self) -> AttachmentDraft:
        if not (self.id or self.file_id):
            raise ValueError("an attachment needs the id of a file, as `id` or `file_id`")
        return self


ParentId = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{0,100}$")] | None
"""Empty means none, as older agents send it."""
AttachmentDrafts = list[IdText | AttachmentDraft]
TtlMode = Literal["none", "no_expiry", "immortal"]


Small = (
    Annotated[str, Field(max_length=4_096)]
    | Annotated[int, Field(gt=-(2**53), lt=2**53), WHOLE]
    | bool
    | None
)
Value = Small | Annotated[dict[str, Small], Field(max_length=32)]


class Security(Body):
    """What an agent needs to open content that it has closed itself; nobody else looks at it."""

    model_config = ConfigDict(extra="forbid")

    algorithm: Value = None
    ciphertext: Value = None
    nonce: Value = None
    sender_key: Value = None
    recipient_key: Value = None
    version: Value = None
    payload_format: Value = None
    key_id: Value = None
    tag: Value = None
    aad: Value = None
    iv: Value = None
    salt: Value = None
    kdf: Value = None


SOMETHING: list[JsonValue] = [
    {"required": ["content"], "properties": {"content": {"type": "string", "pattern": SEEN}}},
    {"required": ["attachments"], "properties": {"attachments": {"type": "array", "minItems": 1}}},
]
"""A message has content or an attachment; who counts is the message itself."""


class MessageDraft(Body):
    model_config = ConfigDict(json_schema_extra={"anyOf": SOMETHING})

    channel_id: IdText
    content: str = Field("", max_length=50_000, description="Characters, at most 50,000.")
    attachments: AttachmentDrafts | None = Field(None, max_length=20)
    parent_message_id: ParentId = Field(None, description="The message this one answers.")
    reply_to: ParentId = Field(None, description="Another name of parent_message_id.")
    security: Security | None = Field(None, description="At most 16 kB as JSON, 4 kB a value.")
    expires_at: str | None = Field(None, description="ISO 8601; at most 730 days from now.")
    ttl_seconds: Annotated[int, Field(ge=1, lt=2**53), WHOLE] | None = Field(
        None, description="At most 730 days count."
    )
    ttl_mode: TtlMode | None = Field(None, description="`Never` means 365 days.")


class MessageChange(Change):
    model_config = ConfigDict(
        json_schema_extra={
            "anyOf": [
                *SOMETHING,
                {
                    "required": ["attachments"],
                    "properties": {"attachments": {"type": "array"}, "content": {"type": "null"}},
                },
            ]
        }
    )

    content: str | None = Field(None, max_length=50_000)
    attachments: AttachmentDrafts | None = Field(None, max_length=20)


class LikeDraft(Body):
    reaction_type: str | None = Field(None, max_length=50, description="Unknown: like.")


class MessagesQuery(Query):
    limit: int | None = Field(None, ge=1, description="Default 50, at most 200 count.")
    before: str | None = Field(None, description="A message id: only older ones.")
    cursor: str | None = Field(None, description="`next` or `prev` of an earlier page.")


class ThreadPageQuery(Query):
    limit: int | None = Field(None, ge=1, description="Default 50, at most 200 count.")
    cursor: str | None = Field(None, description="`next` of an earlier page.")


class SearchQuery(Query):
    q: str = Field(min_length=1, max_length=500, description="Text that the content contains.")
    limit: int | None = Field(None, ge=1, description="Default 50, at most 200 count.")
    cursor: str | None = Field(None, description="`next` of an earlier page.")


class AttachmentShape(Shape):
    id: str
    file_id: str
    name: str
    type: str
    size: int | None
    layout_hint: str | None


class MessageShape(Shape):
    id: str
    channel_id: str
    user_id: str
    username: str | None
    display_name: str | None
    content: str
    withheld: Literal["deleted", "expired", "channel_removed"] | None = Field(
        description="Why a message of the past is shown without what it said; null else."
    )
    type: MessageType
    created_at: Time
    expires_at: Time | None
    edited_at: Time | None
    thread_id: str | None = Field(description="The root of the thread.")
    parent_message_id: str | None
    reactions: dict[Reaction, list[str]] = Field(description="Account ids by reaction.")
    attachments: list[AttachmentShape]
    mentions: list[str] = Field(description="Account ids.")
    security: dict[str, Any]
    origin_peer: str = Field(description="The node where it was posted.")
    crypto_state: CryptoState
    seq: Seq = Field(description="Where in the log it was posted; orders a channel.")


class MessagePage(Shape):
    messages: list[MessageShape] = Field(description="From the oldest to the newest.")
    channel_id: str
    count: int
    next: str | None = Field(description="Cursor of the page before this one; null at the start.")
    prev: str = Field(description="Cursor of what comes after this page; keep it to poll.")


class ThreadPage(Shape):
    messages: list[MessageShape] = Field(description="From the oldest to the newest.")
    channel_id: str
    thread_id: str
    count: int
    next: str | None = Field(description="Cursor of the page before this one; null at the start.")


class SearchPage(Shape):
    messages: list[MessageShape] = Field(description="From the newest to the oldest.")
    query: str
    count: int
    next: str | None


class OneMessage(Shape):
    message: MessageShape


class MessagePosted(Shape):
    success: bool
    message: MessageShape
    seq: Seq


class MessageChanged(Shape):
    success: bool
    seq: Seq


class Version(Shape):
    content: str
    attachments: list[AttachmentShape]
    edited_at: Time
    crypto_state: CryptoState


class History(Shape):
    message_id: str
    versions: list[Version] = Field(description="From the first to the present one.")
    count: int


class Liked(Shape):
    liked: bool
    reaction_type: Reaction
    like_counts: dict[Reaction, int]


class ThreadQuery(Query):
    channel_id: IdText
    message_id: IdText


class ThreadWish(Body):
    channel_id: IdText
    message_id: IdText
    subscribed: bool | None = Field(None, description="Left out: the other way round.")


class ThreadShape(Shape):
    success: bool
    channel_id: str
    message_id: str
    thread_root_message_id: str
    root_author_id: str
    is_root_author: bool
    explicit_subscribed: bool | None
    auto_subscribe_own_threads: bool
    subscribed: bool

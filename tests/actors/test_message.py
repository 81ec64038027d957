"""A message decides: its author edits and deletes it, everybody reacts to it."""

from __future__ import annotations

import pytest

from actors.message.aggregate import MESSAGE
from schemas.envelope import SYSTEM, Command
from schemas.erasure import ContentErased, RecordErasure
from schemas.message import (
    Attachment,
    DeleteMessage,
    EditMessage,
    ExpireMessage,
    FollowThread,
    MessageDeleted,
    MessageEdited,
    MessagePosted,
    PostMessage,
    ReactionAdded,
    ReactionRemoved,
    ThreadFollowed,
    ToggleReaction,
)
from tests.given import By, given

HI = MessagePosted(content="Hi.")
PLAN = Attachment(id="F1", name="plan.pdf", type="application/pdf", size=10)


def test_what_is_said_is_kept_as_it_was_said() -> None:
    saying = PostMessage(
        content="Hi @bob.",
        thread_id="M0",
        parent_message_id="M0",
        attachments=(PLAN,),
        mentions=("bob",),
        security={"risk": 0.5},
        expires_at="2030-01-01T00:00:00Z",
    )

    assert given(MESSAGE).when(saying) == (
        MessagePosted(
            content="Hi @bob.",
            thread_id="M0",
            parent_message_id="M0",
            attachments=(PLAN,),
            mentions=("bob",),
            security={"risk": 0.5},
            expires_at="2030-01-01T00:00:00Z",
        ),
    )


def test_a_message_is_posted_once() -> None:
    given(MESSAGE, HI).when(PostMessage(content="Hi.")).refuses("message_taken")


@pytest.mark.parametrize("content", ["", "  \n\t", "\u200b\u200d\ufe0f"])
def test_a_message_says_something(content: str) -> None:
    given(MESSAGE).when(PostMessage(content=content)).refuses("empty_message")
    given(MESSAGE, HI).when(EditMessage(content=content)).refuses("empty_message")


def test_joined_emoji_and_lines_are_content() -> None:
    text = "👩\u200d🚀\n\t❤\ufe0f \u200fשלום"

    assert given(MESSAGE).when(PostMessage(content=text)) == (MessagePosted(content=text),)


def test_an_attachment_says_enough() -> None:
    posted = (MessagePosted(content="", attachments=(PLAN,)),)

    assert given(MESSAGE).when(PostMessage(attachments=(PLAN,))) == posted


@pytest.mark.parametrize(
    "command",
    [
        EditMessage(content="Ho."),
        DeleteMessage(),
        ToggleReaction(reaction="like"),
        FollowThread(followed=True),
    ],
)
def test_nothing_happens_to_a_message_that_is_not_there(command: Command) -> None:
    given(MESSAGE).when(command).refuses("message_absent")
    given(MESSAGE, HI, MessageDeleted()).when(command).refuses("message_absent")


@pytest.mark.parametrize("command", [EditMessage(content="Ho."), DeleteMessage()])
def test_only_its_author_changes_a_message(command: Command) -> None:
    given(MESSAGE, HI).when(command, by="bob").refuses("not_author")
    assert given(MESSAGE, HI).when(command, by="ann").refused is None


def test_an_edit_replaces_content_and_attachments() -> None:
    edit = EditMessage(content="Ho.", attachments=(PLAN,), mentions=("bob",))
    edited = MessageEdited(content="Ho.", attachments=(PLAN,), mentions=("bob",))

    assert given(MESSAGE, HI).when(edit) == (edited,)


def test_an_edit_keeps_what_it_does_not_speak_of() -> None:
    planned = MessagePosted(content="Hi.", attachments=(PLAN,))

    assert given(MESSAGE, planned).when(EditMessage(content="Ho.")) == (
        MessageEdited(content="Ho.", attachments=(PLAN,)),
    )


def test_an_edit_that_changes_nothing_is_none() -> None:
    assert given(MESSAGE, HI).when(EditMessage(content="Hi.")) == ()


def test_a_message_is_deleted_by_its_author() -> None:
    assert given(MESSAGE, HI).when(DeleteMessage()) == (MessageDeleted(),)


def test_a_reaction_comes_and_goes() -> None:
    toggle = ToggleReaction(reaction="like")
    liked = By("bob", ReactionAdded(reaction="like"))

    assert given(MESSAGE, HI).when(toggle, by="bob") == (ReactionAdded(reaction="like"),)
    assert given(MESSAGE, HI, liked).when(toggle, by="bob") == (ReactionRemoved(reaction="like"),)
    assert given(MESSAGE, HI, liked).when(toggle, by="cyd") == (ReactionAdded(reaction="like"),)


def test_a_thread_is_followed_once() -> None:
    follow, followed = FollowThread(followed=True), By("bob", ThreadFollowed(followed=True))

    assert given(MESSAGE, HI).when(follow, by="bob") == (ThreadFollowed(followed=True),)
    assert given(MESSAGE, HI, followed).when(follow, by="bob") == ()
    assert given(MESSAGE, HI, followed).when(FollowThread(followed=False), by="bob") == (
        ThreadFollowed(followed=False),
    )


def test_what_is_said_in_private_stays_so() -> None:
    secret = MessagePosted(content="Hi.", private=True)

    assert given(MESSAGE).when(PostMessage(content="Hi.", private=True)) == (secret,)
    assert given(MESSAGE, secret).when(EditMessage(content="Ho.")) == (
        MessageEdited(content="Ho.", private=True),
    )
    assert given(MESSAGE, secret).when(DeleteMessage()) == (MessageDeleted(private=True),)


def test_what_is_said_in_public_is_changed_in_private() -> None:
    private = MessageEdited(content="Ho.", private=True)

    assert given(MESSAGE, HI).when(EditMessage(content="Ho.", private=True)) == (private,)
    assert given(MESSAGE, HI, private).when(DeleteMessage()) == (MessageDeleted(private=True),)


def test_a_message_expires_when_it_is_time() -> None:
    brief = MessagePosted(content="Hi.", expires_at="2030-01-01T00:00:00.000Z", private=True)
    early, late = (ExpireMessage(now=f"20{year}-01-01T00:00:00.000Z") for year in (29, 30))

    given(MESSAGE, brief).when(early, by=SYSTEM).refuses("message_present")
    given(MESSAGE, HI).when(late, by=SYSTEM).refuses("message_present")
    given(MESSAGE, brief).when(late, by="bob").refuses("not_author")
    assert given(MESSAGE, brief).when(late, by=SYSTEM) == (
        MessageDeleted(private=True, expired=True),
    )


def test_an_erasure_is_recorded_once_and_only_of_what_is_deleted() -> None:
    gone = (HI, MessageDeleted())

    assert given(MESSAGE, HI).when(RecordErasure(), by=SYSTEM) == ()
    assert given(MESSAGE, *gone).when(RecordErasure(), by=SYSTEM) == (ContentErased(),)
    assert given(MESSAGE, *gone, ContentErased()).when(RecordErasure(), by=SYSTEM) == ()
    given(MESSAGE, *gone).when(RecordErasure(), by="ann").refuses("not_author")


def test_what_is_deleted_says_nothing_whatever_is_heard_later() -> None:
    late = MessageEdited(content="Ho.", private=True)
    for gone in (MessageDeleted(private=True), ContentErased()):
        before = given(MESSAGE, HI, late, gone).state
        after = given(MESSAGE, gone, HI, late).state

        assert (before.body, after.body) == (("", ()), ("", ()))

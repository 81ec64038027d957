"""Messages: post, read, change, react, search."""

from __future__ import annotations

from actors.message import queries
from bus.clock import derived_id
from gateway import about, drafts, history, policy, views
from gateway.call import Call, Reply
from gateway.mentions import mentioned
from gateway.pages import NEWEST
from gateway.shapes import message as shape
from gateway.table import Route
from schemas.message import DeleteMessage, EditMessage, PostMessage, ToggleReaction

TAG = "Messages"


async def post_message(call: Call) -> Reply:
    """Says something in a channel. A reply names its parent; the thread is that of the parent."""
    draft: shape.MessageDraft = call.body
    parent_id = drafts.parent_id(draft)
    parents = [await history.parent(call, draft.channel_id, i) for i in (parent_id,) if i]
    message_id = _new_id(call)
    answer = await call.send(
        "message",
        f"{draft.channel_id}.{message_id}",
        PostMessage(
            content=draft.content,
            parent_message_id=parent_id,
            thread_id=next((one["thread_id"] or one["id"] for one in parents), None),
            attachments=drafts.attachments(draft.attachments),
            mentions=mentioned(draft.content, call.channel, call.principal.id, call.directory),
            security=drafts.security(draft.security),
            expires_at=drafts.expiry(draft, call.now_ms),
            private=policy.private(call.channel),
        ),
    )
    origin = call.gateway.identity.node_id
    message = views.posted(answer, draft.channel_id, message_id, origin, call.directory)
    body = {"success": True, "message": message, "seq": answer.seq}
    sealed = answer.facts[0].data.get("sealed") or {}
    return Reply(body, status=201, seq=answer.seq, version=answer.seq, under=sealed.get("key", ""))


def _new_id(call: Call) -> str:
    """Ordered by time, or the same again for the same Idempotency-Key in the same channel."""
    if call.idempotent:
        return derived_id("M", call.id, call.channel.id, digits=32)
    return f"M{call.id}"


async def list_messages(call: Call) -> Reply:
    """A page of a channel, the newest one unless asked otherwise."""
    start = await history.start(call, call.channel.id)
    page = await history.page(call, call.channel.id, start, history.limit(call))
    what, cursors, older = f"messages {call.channel.id}", call.gateway.cursors, page.older
    messages = [views.message(row, call.directory) for row in page.items]
    return Reply(
        {
            "messages": messages,
            "channel_id": call.channel.id,
            "count": len(messages),
            "next": cursors.write(what, older) if older else None,
            "prev": cursors.write(what, page.newer),
        }
    )


async def list_thread(call: Call) -> Reply:
    """A page of the thread that a message is in: its root and the replies, the newest page unless
    asked otherwise.
    """
    root_id = await history.root_id(call, call.channel.id, call.path["message_id"])
    what = f"thread {call.channel.id} {root_id}"
    cursors = call.gateway.cursors
    start = cursors.read(what, call.query.cursor) if call.query.cursor else NEWEST
    page = await history.thread(call, call.channel.id, root_id, start)
    messages = [views.message(row, call.directory) for row in page.items]
    return Reply(
        {
            "messages": messages,
            "channel_id": call.channel.id,
            "thread_id": root_id,
            "count": len(messages),
            "next": cursors.write(what, page.older) if page.older else None,
        }
    )


async def read_message(call: Call) -> Reply:
    """One message as it stands."""
    row = await history.one(call, call.channel.id, call.path["message_id"])
    return Reply({"message": views.message(row, call.directory)}, version=row["version"])


async def read_history(call: Call) -> Reply:
    """What a message said before each edit, and what it says now."""
    message_id = call.path["message_id"]
    versions = await history.versions(call, call.channel.id, message_id)
    told = [views.version(one) for one in versions]
    return Reply({"message_id": message_id, "versions": told, "count": len(told)})


async def edit_message(call: Call) -> Reply:
    """Changes content or attachments; only its author may. Fields left out stay as they are."""
    change: shape.MessageChange = call.body
    channel, message_id = call.channel, call.path["message_id"]
    before = await history.content(call, channel.id, message_id)
    text = before if change.content is None else change.content
    changed = drafts.attachments(change.attachments)
    edit = EditMessage(
        content=change.content,
        attachments=None if change.attachments is None else changed,
        mentions=mentioned(text, channel, call.principal.id, call.directory),
        private=policy.private(channel),
    )
    answer = await call.send("message", f"{channel.id}.{message_id}", edit)
    return _changed(answer.seq)


async def delete_message(call: Call) -> Reply:
    """Takes a message back; only its author may."""
    key = f"{call.channel.id}.{call.path['message_id']}"
    answer = await call.send("message", key, DeleteMessage())
    return _changed(answer.seq)


async def like_message(call: Call) -> Reply:
    """Reacts, or takes the same reaction back. Other reactions of the account stay."""
    reaction = drafts.reaction(call.body.reaction_type)
    message_id = call.path["message_id"]
    key = f"{call.channel.id}.{message_id}"
    await history.content(call, call.channel.id, message_id)  # What has expired is not there.
    answer = await call.send("message", key, ToggleReaction(reaction=reaction))
    await call.gateway.reads.reached(answer.seq)
    given = queries.reactions(await history.changes(call, message_id, answer.seq))
    body = {
        "liked": any(fact.kind == "reaction_added" for fact in answer.facts),
        "reaction_type": reaction,
        "like_counts": {kind: len(accounts) for kind, accounts in given.items()},
    }
    return Reply(body, seq=answer.seq)


async def search_messages(call: Call) -> Reply:
    """Messages of the channel whose present content contains `q`, from the newest to the oldest."""
    what = f"search {call.channel.id} {call.query.q}"
    cursors = call.gateway.cursors
    start = cursors.read(what, call.query.cursor) if call.query.cursor else NEWEST
    page = await history.search(call, call.channel.id, call.query.q, start)
    messages = [views.message(row, call.directory) for row in reversed(page.items)]
    return Reply(
        {
            "messages": messages,
            "query": call.query.q,
            "count": len(messages),
            "next": cursors.write(what, page.older) if page.older else None,
        }
    )


def _changed(seq: int) -> Reply:
    return Reply({"success": True, "seq": seq}, seq=seq, version=seq)


LIST = "/channels/{channel_id}/messages"
ONE = "/channels/{channel_id}/messages/{message_id}"

ROUTES = (
    Route(
        "POST", "/channels/messages", "post_message", post_message, "Post a message", TAG,
        body=shape.MessageDraft, reply=shape.MessagePosted, status=201, versioned=True,
        about=about.channel_in_body,
        codes=("channel_absent", "channel_archived", "parent_absent", "empty_message",
               "message_taken", "behind"),
    ),
    Route(
        "GET", LIST, "read_messages", list_messages, "Read a channel", TAG,
        query=shape.MessagesQuery, reply=shape.MessagePage, about=about.channel_in_path,
        codes=("channel_absent", "message_absent", "invalid_cursor", "vault_unusable"),
    ),
    Route(
        "GET", ONE, "read_messages", read_message, "Read a message", TAG,
        reply=shape.OneMessage, versioned=True, about=about.channel_in_path,
        codes=("channel_absent", "message_absent", "content_damaged", "vault_unusable"),
    ),
    Route(
        "GET", ONE + "/history", "read_messages", read_history, "Read earlier versions", TAG,
        reply=shape.History, about=about.channel_in_path,
        codes=("channel_absent", "message_absent", "vault_unusable"),
    ),
    Route(
        "GET", ONE + "/thread", "read_messages", list_thread, "Read a thread", TAG,
        query=shape.ThreadPageQuery, reply=shape.ThreadPage, about=about.channel_in_path,
        codes=("channel_absent", "message_absent", "invalid_cursor", "vault_unusable"),
    ),
    *(
        Route(
            method, ONE, "change_message", edit_message, "Edit a message", TAG,
            body=shape.MessageChange, reply=shape.MessageChanged, versioned=True,
            about=about.channel_in_path,
            codes=("channel_absent", "channel_archived", "message_absent", "not_author",
                   "empty_message", "content_damaged", "behind"),
        )
        for method in ("PATCH", "PUT")
    ),
    Route(
        "DELETE", ONE, "take_back", delete_message, "Delete a message", TAG,
        reply=shape.MessageChanged, versioned=True, about=about.channel_in_path,
        codes=("channel_absent", "message_absent", "not_author"),
    ),
    Route(
        "POST", ONE + "/like", "react", like_message, "React to a message", TAG,
        body=shape.LikeDraft, reply=shape.Liked, about=about.channel_in_path,
        codes=("channel_absent", "channel_archived", "message_absent", "content_damaged",
               "behind"),
    ),
    Route(
        "GET", "/channels/{channel_id}/search", "read_messages", search_messages,
        "Search a channel", TAG, query=shape.SearchQuery, reply=shape.SearchPage,
        about=about.channel_in_path,
        codes=("channel_absent", "message_absent", "invalid_cursor", "vault_unusable"),
    ),
)  # fmt: skip

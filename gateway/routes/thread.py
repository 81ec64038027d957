"""Threads: whether the caller hears of replies. Who began a thread follows it unless he says no."""

from __future__ import annotations

from actors.message import queries
from gateway import about, history
from gateway.call import Call, Reply
from gateway.shapes import message as shape
from gateway.table import Route
from schemas.message import FollowThread

TAG = "Threads"
AUTO_SUBSCRIBE = True
"""Authors of a root follow their thread without asking."""


async def read_subscription(call: Call) -> Reply:
    """Whether the caller follows the thread of a message."""
    query: shape.ThreadQuery = call.query
    root = await history.root(call, query.channel_id, query.message_id)
    explicit = queries.followed(await history.all_changes(call, root["id"]), call.principal.id)
    return Reply(_shown(call, query.channel_id, query.message_id, root, explicit))


async def change_subscription(call: Call) -> Reply:
    """Follows the thread of a message, or stops; without `subscribed`, the other way round."""
    wish: shape.ThreadWish = call.body
    root = await history.root(call, wish.channel_id, wish.message_id)
    explicit = queries.followed(await history.all_changes(call, root["id"]), call.principal.id)
    followed = _effective(call, root, explicit)
    wanted = not followed if wish.subscribed is None else wish.subscribed
    key = f"{wish.channel_id}.{root['id']}"
    answer = await call.send("message", key, FollowThread(followed=wanted))
    told = next((bool(fact.data["followed"]) for fact in answer.facts), wanted)
    body = _shown(call, wish.channel_id, wish.message_id, root, told)
    return Reply(body, seq=answer.seq)


def _effective(call: Call, root: history.Row, explicit: bool | None) -> bool:  # noqa: FBT001  # three values
    own = root["user_id"] == call.principal.id
    return (own and AUTO_SUBSCRIBE) if explicit is None else explicit


def _shown(
    call: Call,
    channel_id: str,
    message_id: str,
    root: history.Row,
    explicit: bool | None,  # noqa: FBT001  # three values
) -> dict[str, object]:
    return {
        "success": True,
        "channel_id": channel_id,
        "message_id": message_id,
        "thread_root_message_id": root["id"],
        "root_author_id": root["user_id"],
        "is_root_author": root["user_id"] == call.principal.id,
        "explicit_subscribed": explicit,
        "auto_subscribe_own_threads": AUTO_SUBSCRIBE,
        "subscribed": _effective(call, root, explicit),
    }


PATH = "/channels/threads/subscription"

ROUTES = (
    Route(
        "GET", PATH, "read_thread", read_subscription, "Read a thread subscription", TAG,
        query=shape.ThreadQuery, reply=shape.ThreadShape, about=about.channel_in_query,
        codes=("channel_absent", "message_absent"),
    ),
    Route(
        "POST", PATH, "follow_thread", change_subscription, "Follow a thread", TAG,
        body=shape.ThreadWish, reply=shape.ThreadShape, about=about.channel_in_body,
        codes=("channel_absent", "message_absent", "behind"),
    ),
)  # fmt: skip

"""What a request is about, for the policy: one small function a kind of route.

An unknown channel gives a subject without one; the policy refuses it like a foreign one.
"""

from __future__ import annotations

from gateway.arrival import is_local
from gateway.call import Call
from gateway.policy import Subject


def channel_in_path(call: Call) -> Subject:
    """The channel that the path names."""
    return _channel(call, call.path["channel_id"])


def channel_in_body(call: Call) -> Subject:
    """The channel that the body names."""
    return _channel(call, call.body.channel_id)


def channel_in_query(call: Call) -> Subject:
    """The channel that the query names."""
    return _channel(call, call.query.channel_id)


def newcomer(call: Call) -> Subject:
    """An account that is to come to a channel."""
    return _channel(call, call.path["channel_id"], call.body.user_id, call.body.role)


def member(call: Call) -> Subject:
    """A member of a channel."""
    return _channel(call, call.path["channel_id"], call.path["account_id"])


def account_in_path(call: Call) -> Subject:
    """The account that the path names."""
    return Subject(account_id=call.path["account_id"])


def own_profile(call: Call) -> Subject:
    """The caller's profile, with or without directives, which are the owner's to give."""
    return Subject(directs=call.body.agent_directives is not None)


def place(call: Call) -> Subject:
    """Where the request comes from."""
    return Subject(local=is_local(call.request))


def new_key(call: Call) -> Subject:
    """A key that is to be made."""
    return Subject(scopes=frozenset(call.body.scopes))


def _channel(call: Call, channel_id: str, account_id: str = "", wanted: str = "member") -> Subject:
    directory = call.directory
    return Subject(
        channel=directory.channel(channel_id),
        role=directory.role(channel_id, call.principal.id),
        account_id=account_id,
        wanted="admin" if wanted == "admin" else "member",
    )

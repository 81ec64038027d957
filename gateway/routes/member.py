"""Who belongs to a channel: list, add, join, leave, remove, promote."""

from __future__ import annotations

from gateway import about, views
from gateway.call import Call, Reply, existing
from gateway.errors import refuse
from gateway.shapes import channel as shape
from gateway.table import Route
from schemas.channel import AddMember, ChangeRole, RemoveMember

TAG = "Members"


async def list_members(call: Call) -> Reply:
    """Everybody who belongs to the channel, in the order in which they came."""
    members = [views.member(*one) for one in call.directory.members(call.channel)]
    return Reply({"members": members, "count": len(members)})


async def add_member(call: Call) -> Reply:
    """Adds an account. Into open public channels everybody may come and bring others; elsewhere,
    and to make somebody admin, it takes an admin.
    """
    draft: shape.MemberDraft = call.body
    existing(call.directory.account(draft.user_id), lambda: refuse("account_absent"))
    command = AddMember(account_id=draft.user_id, role=draft.role)
    answer = await call.send("channel", call.channel.id, command)
    return Reply({"success": True, "seq": answer.seq}, seq=answer.seq)


async def remove_member(call: Call) -> Reply:
    """Takes an account out of the channel: oneself, or as an admin anybody."""
    command = RemoveMember(account_id=call.path["account_id"])
    answer = await call.send("channel", call.channel.id, command)
    return Reply({"success": True, "seq": answer.seq}, seq=answer.seq)


async def change_role(call: Call) -> Reply:
    """Makes a member admin, or an admin member; a channel keeps at least one admin."""
    command = ChangeRole(account_id=call.path["account_id"], role=call.body.role)
    answer = await call.send("channel", call.channel.id, command)
    return Reply({"success": True, "role": call.body.role, "seq": answer.seq}, seq=answer.seq)


LIST = "/channels/{channel_id}/members"
ONE = "/channels/{channel_id}/members/{account_id}"
CHANGES = ("channel_absent", "not_admin", "general_is_fixed", "behind")

ROUTES = (
    Route(
        "GET", LIST, "list_members", list_members, "List members", TAG,
        reply=shape.MemberList, about=about.channel_in_path, codes=("channel_absent",),
    ),
    Route(
        "POST", LIST, "add_member", add_member, "Add a member, or join", TAG,
        body=shape.MemberDraft, reply=shape.Changed, about=about.newcomer,
        codes=(*CHANGES, "account_absent", "channel_archived"),
    ),
    Route(
        "DELETE", ONE, "remove_member", remove_member, "Remove a member, or leave", TAG,
        reply=shape.Changed, versioned=True, about=about.member,
        codes=(*CHANGES, "account_absent", "member_absent", "last_admin"),
    ),
    Route(
        "PUT", ONE + "/role", "change_role", change_role, "Change a member's role", TAG,
        body=shape.RoleChange, reply=shape.RoleChanged, versioned=True, about=about.member,
        codes=(*CHANGES, "account_absent", "member_absent", "last_admin"),
    ),
)  # fmt: skip

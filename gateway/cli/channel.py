"""`canopy channel` and `canopy post`: where people and agents talk, and talking there."""

from __future__ import annotations

import sys
from datetime import datetime
from typing import Annotated, Any, Literal

import typer
from rich.console import Group
from rich.text import Text

from gateway.cli import lookup
from gateway.cli.call import Call
from gateway.cli.client import Client, segment
from gateway.cli.exits import Exit, Failure
from gateway.cli.lookup import complete_account, complete_channel
from gateway.cli.terminal import channel as channel_name
from gateway.cli.terminal import facts, person, plain, table

app = typer.Typer(no_args_is_help=True)

Json = dict[str, Any]
Channel = Annotated[
    str, typer.Argument(help="The channel's name or id.", autocompletion=complete_channel)
]
Account = Annotated[
    str, typer.Argument(help="The account's name.", autocompletion=complete_account)
]


@app.command("list")
def list_channels(
    context: typer.Context,
    joinable: Annotated[
        bool, typer.Option("--joinable", help="Instead: public ones that you could join.")
    ] = False,
) -> None:
    """List your channels and what you have not read in them."""
    call = Call.of(context)
    told = call.ask(lambda client: client.get("/api/v1/channels", joinable=str(joinable).lower()))
    rows = [
        (
            channel_name(one["name"]),
            one["type"],
            _unread(one["unread_count"]),
            str(one["member_count"]),
            one["user_role"] or "",
            Text(_when(one["last_message_at"]), "faint"),
            Text(plain(one["topic"] or one["description"]), "faint"),
        )
        for one in told["channels"]
    ]
    columns = ("channel", "kind", "unread>", "members>", "you", "last message", "about")
    call.terminal.answer(told, table(columns, rows, "No channels."))


def _unread(count: int) -> Text:
    return Text(str(count), "wary") if count else Text("·", "faint")


def _when(time: str | None) -> str:
    return datetime.fromisoformat(time).astimezone().strftime("%Y-%m-%d %H:%M") if time else ""


@app.command()
def create(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="1 to 100 characters; a leading # is stripped.")],
    description: Annotated[str, typer.Option(help="What it is for.", show_default=False)] = "",
    private: Annotated[bool, typer.Option("--private", help="Only members know of it.")] = False,
) -> None:
    """Open a channel; you become its admin."""
    call = Call.of(context)
    body: Json = {"name": name, "type": "private" if private else "public"}
    body |= {"description": description} if description else {}
    told = call.ask(lambda client: client.post("/api/v1/channels", body))
    one = told["channel"]
    text = Text.assemble(
        ("✓ ", "good"),
        channel_name(one["name"]),
        f" is open ({one['type']}).  ",
        (one["id"], "faint"),
    )
    call.terminal.answer(told, text)


@app.command()
def show(
    context: typer.Context,
    name: Channel,
    limit: Annotated[
        int, typer.Option("--limit", "-n", min=0, max=200, help="Messages to show.")
    ] = 10,
) -> None:
    """Show a channel and what was said there last."""
    call = Call.of(context)

    async def talk(client: Client) -> Json:
        one = await lookup.channel(client, name)
        if one["user_role"] is None or not limit:
            return {"channel": one, "messages": []}
        page = await client.get(f"/api/v1/channels/{one['id']}/messages", limit=limit)
        return {"channel": one, "messages": page["messages"]}

    told = call.ask(talk)
    call.terminal.answer(told, _shown(told["channel"], told["messages"]))


def _shown(one: Json, messages: list[Json]) -> Group:
    rows: list[tuple[str, str | Text]] = [
        ("channel", Text.assemble(channel_name(one["name"]), (f"  {one['id']}", "faint"))),
        ("kind", f"{one['type']}, {one['privacy_mode']}"),
        ("about", plain(one["description"]) or "·"),
        ("topic", plain(one["topic"]) or "·"),
        ("members", f"{one['member_count']}, you are {one['user_role'] or 'no member'}"),
    ]
    if one["archived_at"]:
        rows.append(("archived", Text(_when(one["archived_at"]), "wary")))
    said = [shown_message(message) for message in messages]
    return Group(facts(rows), *([""] if said else []), *said)


def shown_message(message: Json) -> Text:
    """Who said what, and when; of what is gone, why it says nothing."""
    return Text.assemble(
        (_when(message["created_at"])[-5:], "faint"), "  ",
        person(message["username"] or message["user_id"]), "  ",
        (_gone(message), "faint"), plain(message["content"], keep_lines=True),
        (" (edited)" if message["edited_at"] else "", "faint"),
    )  # fmt: skip


def _gone(message: Json) -> str:
    """What stands in the place of what a message said; empty when it still says it."""
    if message["withheld"]:
        return f"(withheld: {message['withheld'].replace('_', ' ')})"
    state = message["crypto_state"]
    return f"({state})" if state in ("erased", "damaged") else ""


@app.command()
def archive(
    context: typer.Context,
    name: Channel,
    undo: Annotated[bool, typer.Option("--undo", help="Bring it back.")] = False,
) -> None:
    """Archive a channel: nothing in it is lost, nobody new comes in (admin)."""
    call = Call.of(context)

    async def talk(client: Client) -> Json:
        path = f"/api/v1/channels/{await lookup.channel_id(client, name)}/lifecycle"
        return await client.patch(path, {"archived": not undo})

    told = call.ask(talk)
    words = "is open again." if undo else "is archived."
    call.terminal.answer(
        told, Text.assemble(("✓ ", "good"), channel_name(name.lstrip("#")), f" {words}")
    )


@app.command()
def members(context: typer.Context, name: Channel) -> None:
    """List the members of a channel, in the order in which they came."""
    call = Call.of(context)

    async def talk(client: Client) -> Json:
        channel_id = await lookup.channel_id(client, name)
        return await client.get(f"/api/v1/channels/{channel_id}/members")

    told = call.ask(talk)
    rows = [
        (person(one["username"]), plain(one["display_name"]), one["account_type"], one["role"],
         Text(one["user_id"], "faint"))
        for one in told["members"]
    ]  # fmt: skip
    call.terminal.answer(told, table(("name", "shown as", "kind", "role", "id"), rows, "Nobody."))


@app.command()
def join(context: typer.Context, name: Channel) -> None:
    """Come into a public channel yourself."""
    call = Call.of(context)

    async def talk(client: Client) -> Json:
        me = await client.get("/api/v1/auth/status")
        channel_id = await lookup.channel_id(client, name)
        body = {"user_id": me["user_id"]}
        return await client.post(f"/api/v1/channels/{channel_id}/members", body)

    told = call.ask(talk)
    call.terminal.answer(
        told, Text.assemble(("✓ ", "good"), "You are in ", channel_name(name.lstrip("#")), ".")
    )


@app.command()
def add(
    context: typer.Context,
    name: Channel,
    account: Account,
    role: Annotated[Literal["member", "admin"], typer.Option(help="The role.")] = "member",
) -> None:
    """Add an account to a channel."""
    call = Call.of(context)

    async def talk(client: Client) -> Json:
        channel_id = await lookup.channel_id(client, name)
        body = {"user_id": await lookup.account_id(client, account), "role": role}
        return await client.post(f"/api/v1/channels/{channel_id}/members", body)

    told = call.ask(talk)
    text = Text.assemble(
        ("✓ ", "good"), person(account.lstrip("@")), " is in ", channel_name(name.lstrip("#")), "."
    )
    call.terminal.answer(told, text)


@app.command()
def remove(context: typer.Context, name: Channel, account: Account) -> None:
    """Take an account out of a channel; yourself, to leave."""
    call = Call.of(context)

    async def talk(client: Client) -> Json:
        channel_id = await lookup.channel_id(client, name)
        account_id = await lookup.account_id(client, account)
        return await client.delete(f"/api/v1/channels/{channel_id}/members/{segment(account_id)}")

    told = call.ask(talk)
    text = Text.assemble(
        ("✓ ", "good"),
        person(account.lstrip("@")),
        " is out of ",
        channel_name(name.lstrip("#")),
        ".",
    )
    call.terminal.answer(told, text)


def post(
    context: typer.Context,
    name: Channel,
    text: Annotated[
        list[str] | None,
        typer.Argument(help="What to say; left out or `-`: standard input.", show_default=False),
    ] = None,
    reply_to: Annotated[
        str, typer.Option(help="The id of the message that this one answers.", show_default=False)
    ] = "",
) -> None:
    """Post a message to a channel."""
    call = Call.of(context)
    content = _content(call, text or [])

    async def talk(client: Client) -> Json:
        body = {"channel_id": await lookup.channel_id(client, name), "content": content}
        body |= {"parent_message_id": reply_to} if reply_to else {}
        return await client.post("/api/v1/channels/messages", body)

    told = call.ask(talk)
    shown = Text.assemble(
        ("✓ ", "good"), "posted in ", channel_name(name.lstrip("#")),
        (f"  {told['message']['id']} at {told['seq']}", "faint"),
    )  # fmt: skip
    call.terminal.answer(told, shown)


def _content(call: Call, words: list[str]) -> str:
    if words and words != ["-"]:
        return " ".join(words)
    if not words and sys.stdin.isatty():
        raise Failure(
            Exit.USAGE, "There is nothing to say.", "canopy post CHANNEL 'Hello.'", "empty_message"
        )
    return sys.stdin.read().rstrip("\n")

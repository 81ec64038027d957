"""`canopy user`: who is here, who may come in, who has to stay outside."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import typer
from rich.text import Text

from gateway.cli import lookup, secrets
from gateway.cli.call import Call
from gateway.cli.client import Client, segment
from gateway.cli.config import Data, File, configured
from gateway.cli.key import ALL_SCOPES, Made, shown_key
from gateway.cli.lookup import complete_account
from gateway.cli.terminal import person, plain, table, whole

app = typer.Typer(no_args_is_help=True)

STATES = {"active": "good", "pending_approval": "wary", "suspended": "bad"}
Name = Annotated[str, typer.Argument(help="The account's name.", autocompletion=complete_account)]
Json = dict[str, Any]


@app.command()
def add(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="2 to 49 letters, digits, `_ . -`.")],
    display_name: Annotated[str, typer.Option(help="The name to show.", show_default=False)] = "",
    agent: Annotated[bool, typer.Option("--agent", help="It is an agent, not a person.")] = False,
    code: Annotated[
        str,
        typer.Option(help="The setup code, or a one-time code of the owner.", show_default=False),
    ] = "",
    generate: Annotated[
        bool, typer.Option("--generate", help="Make up a password; the rule for agents.")
    ] = False,
) -> None:
    """Register an account and show its API key, this once.

    The first account owns the workspace; from the machine itself it needs no code then. Later the
    owner adds others, or gives them a code (`canopy user code`).
    """
    call = Call.of(context)
    making_up = generate or (agent and not secrets.given())
    password = secrets.made_up() if making_up else secrets.ask(call.terminal, name, new=True)
    draft = {
        "username": name,
        "password": password,
        "account_type": "agent" if agent else "human",
        **({"display_name": display_name} if display_name else {}),
        **({"setup_code": code} if code else {}),
    }
    made = call.ask(lambda client: _registered(client, draft))
    if making_up:
        made["password"] = password
    call.terminal.answer(
        made, shown_key(Made(made["api_key"], _about(made), made.get("password", "")))
    )


async def _registered(client: Client, draft: Json) -> Json:
    """The new account with a key; the owner's key may do everything, because his terminal must."""
    first = (await client.get("/api/v1/health"))["setup_required"]
    made = await client.post("/api/v1/register", draft)
    made["is_owner"] = False
    if not first:
        return made
    session = await client.sign_in(draft["username"], draft["password"])
    made["is_owner"] = session["is_owner"]
    if session["is_owner"]:
        body = {"permissions": list(ALL_SCOPES), "label": "canopy command line"}
        made["api_key"] = (await client.post("/api/v1/keys", body))["api_key"]
    await client.sign_out()
    return made


def _about(made: Json) -> Text:
    words = {"active": "is here", "pending_approval": "waits for the owner's approval"}
    text = Text.assemble(person(made["username"]), f" {words.get(made['status'], made['status'])}")
    if made["is_owner"]:
        text.append(" and owns this workspace")
    return text.append(".")


@app.command("list")
def list_users(
    context: typer.Context,
    status: Annotated[
        Literal["active", "pending_approval", "suspended"] | None,
        typer.Option(help="Only accounts in this state.", show_default=False),
    ] = None,
) -> None:
    """List everybody who is here, in the order in which they came."""
    call = Call.of(context)

    async def talk(client: Client) -> list[Json]:
        return [one async for one in lookup.accounts(client, status)]

    found = call.ask(talk)
    rows = [
        (
            person(one["username"]),
            plain(one["display_name"]),
            one["account_type"],
            Text(one["status"].replace("_", " "), STATES[one["status"]]),
            Text(one["created_at"][:10], "faint"),
            Text(one["user_id"], "faint"),
        )
        for one in found
    ]
    shown = table(("name", "shown as", "kind", "state", "since", "id"), rows, "Nobody.")
    call.terminal.answer({"accounts": found}, shown)


@app.command()
def approve(context: typer.Context, name: Name) -> None:
    """Let an agent in that waits for approval (owner)."""
    _judge(context, name, "approve")


@app.command()
def suspend(context: typer.Context, name: Name) -> None:
    """Shut an account out, with all its keys and sessions (owner)."""
    _judge(context, name, "suspend")


@app.command()
def reinstate(context: typer.Context, name: Name) -> None:
    """Let a suspended account in again (owner)."""
    _judge(context, name, "reinstate")


def _judge(context: typer.Context, name: str, verb: str) -> None:
    call = Call.of(context)

    async def talk(client: Client) -> Json:
        account_id = await lookup.account_id(client, name)
        return await client.post(f"/api/v1/accounts/{segment(account_id)}/{verb}")

    told = call.ask(talk)
    text = Text.assemble(
        ("✓ ", "good"), person(name.removeprefix("@")), f" is {told['status']} now."
    )
    call.terminal.answer(told, text)


@app.command()
def code(
    context: typer.Context,
    label: Annotated[str, typer.Option(help="Whom it is for.", show_default=False)] = "",
    expires_days: Annotated[int, typer.Option(min=1, max=365, help="Days until it expires.")] = 7,
) -> None:
    """Issue a one-time code with which somebody can register (owner); it is shown this once."""
    call = Call.of(context)
    body: Json = {"expires_days": expires_days, **({"label": label} if label else {})}
    made = call.ask(lambda client: client.post("/api/v1/registration-codes", body))
    text = Text.assemble(
        (made["code"], "secret"),
        (f"\nGood for one account until {made['expires_at'][:10]}:", "faint"),
        ("\n  canopy user add NAME --code …", "command"),
    )
    call.terminal.answer(made, whole(text))


@app.command()
def password(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="The account's name.")],
    data: Data = None,
    generate: Annotated[bool, typer.Option("--generate", help="Make up a password.")] = False,
    config: File = None,
) -> None:
    """Set somebody's password anew, on a node that is stopped, and end all his sessions.

    For whoever holds the data directory: after a restore without keys, or when it was forgotten.
    """
    from gateway.cli import resetting  # noqa: PLC0415  # brings in all that a node is made of

    call = Call.of(context)
    settings = configured(config, data_directory=data).settings
    chosen = secrets.made_up() if generate else secrets.ask(call.terminal, name, new=True)
    told = resetting.reset(settings, name, chosen)
    if generate:
        told["password"] = chosen
    shown = Text.assemble(("✓ ", "good"), f"{told['username']} has a new password.")
    if generate:
        shown.append(f"\n  {chosen}", "secret")
    call.terminal.answer(told, shown)

"""`canopy key`: API keys, each shown once when it is made."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, get_args

import typer
from rich.console import Group
from rich.text import Text

from gateway.cli import secrets
from gateway.cli.call import Call
from gateway.cli.client import Client, segment
from gateway.cli.sentences import scopes
from gateway.cli.terminal import plain, table, whole
from schemas.account import DEFAULT_SCOPES, Scope

app = typer.Typer(no_args_is_help=True)

ALL_SCOPES: tuple[Scope, ...] = get_args(Scope)
Json = dict[str, Any]
User = Annotated[
    str,
    typer.Option(
        "--user", "-u", show_default=False,
        help="Sign in as this account with its password (asked for, or CANOPY_PASSWORD).",
    ),
]  # fmt: skip


@dataclass(frozen=True, slots=True)
class Made:
    """A key that has just been made; `password` only when it was made up."""

    api_key: str
    about: Text
    password: str = ""


def shown_key(made: Made) -> Group:
    """A key, as it is shown this once, and how to use it."""
    given = (("password  ", made.password), ("API key   ", made.api_key))
    return Group(
        Text.assemble(("✓ ", "good"), made.about, (" Keep this, it is shown only once:", "faint")),
        "",
        *(
            whole(Text.assemble((name, "faint"), (secret, "secret")))
            for name, secret in given
            if secret
        ),
        "",
        whole(Text(f"export CANOPY_API_KEY={made.api_key}", "command")),
    )


@app.command()
def create(
    context: typer.Context,
    user: User = "",
    scope: Annotated[
        list[str] | None,
        typer.Option(
            help=f"What the key may do; several times. Left out: {' '.join(DEFAULT_SCOPES)}.",
            autocompletion=lambda incomplete: [s for s in ALL_SCOPES if s.startswith(incomplete)],
            show_default=False,
        ),
    ] = None,
    all_scopes: Annotated[bool, typer.Option("--all", help="It may do all that you may.")] = False,
    label: Annotated[str, typer.Option(help="What it is for.", show_default=False)] = "",
    expires_days: Annotated[
        int | None, typer.Option(min=1, max=3650, help="Days until it expires.", show_default=False)
    ] = None,
) -> None:
    """Make an API key; it is shown this once.

    Signs in with a password (--user), or uses a key that holds manage_keys.
    """
    call = Call.of(context)
    body: Json = {"permissions": list(ALL_SCOPES if all_scopes else scope or DEFAULT_SCOPES)}
    body |= {"label": label} if label else {}
    body |= {"expires_days": expires_days} if expires_days else {}
    made = _as_account(call, user, lambda client: client.post("/api/v1/keys", body))
    about = Text(f"The key may {scopes(made['permissions'])}.")
    call.terminal.answer(made, shown_key(Made(made["api_key"], about)))


@app.command("list")
def list_keys(context: typer.Context, user: User = "") -> None:
    """List your API keys, revoked and expired ones included."""
    call = Call.of(context)
    found = _as_account(call, user, lambda client: client.get("/api/v1/keys"))["keys"]
    rows = [
        (
            one["id"],
            Text("revoked", "bad") if one["revoked"] else Text("good", "good"),
            plain(one["label"]) or "·",
            scopes(one["permissions"]),
            Text(one["created_at"][:10], "faint"),
            Text((one["expires_at"] or "never")[:10], "faint"),
        )
        for one in found
    ]
    shown = table(("id", "state", "label", "scopes~", "made", "expires"), rows, "No keys.")
    call.terminal.answer({"keys": found}, shown)


@app.command()
def revoke(
    context: typer.Context,
    key_id: Annotated[str, typer.Argument(help="The id, as `canopy key list` shows it.")],
    user: User = "",
) -> None:
    """Revoke one of your API keys: whoever uses it is shut out at once."""
    call = Call.of(context)
    path = f"/api/v1/keys/{segment(key_id)}"
    told = _as_account(call, user, lambda client: client.delete(path))
    call.terminal.answer(told, Text.assemble(("✓ ", "good"), f"{key_id} is revoked."))


def _as_account(call: Call, user: str, talk: Any) -> Json:
    """What comes of *talk*, in the name of *user* once signed in, or else of the key."""
    password = secrets.ask(call.terminal, user, new=False) if user else ""

    async def signed_in(client: Client) -> Json:
        if user:
            await client.sign_in(user, password)
        answer: Json = await talk(client)
        if user:
            await client.sign_out()
        return answer

    return call.ask(signed_in)

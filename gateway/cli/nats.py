"""`canopy nats`: what servers of others have to be told."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from gateway.cli.config import File, configured
from gateway.cli.exits import Exit, Failure

app = typer.Typer(no_args_is_help=True)


@app.command("config")
def config_(
    servers: Annotated[
        list[str], typer.Argument(help="The address of each server: this one first, then others.")
    ],
    credentials: Annotated[
        Path,
        typer.Option(help="Where the passwords lie; made if it is not there. The same for all.",
                     dir_okay=False),
    ],
    name: Annotated[
        str | None, typer.Option(help="Of this server; else its address.", show_default=False)
    ] = None,
    store: Annotated[
        str, typer.Option(help="Where this server keeps its copy.")
    ] = "/var/lib/nats",
    config: File = None,
) -> None:  # fmt: skip
    """Print the configuration of one nats-server of a cluster, with the users that Canopy needs.

    Canopy signs in with the same file: set CANOPY_NATS_CREDENTIALS to it.
    """
    from bus.cluster import Member, member_configuration  # noqa: PLC0415  # brings in the client

    settings = configured(config).settings
    here = servers[0]
    if any(":" in address for address in servers):
        remedy = "Name hosts or IPv4 addresses; clients use port 4222, servers 6222."
        raise Failure(Exit.USAGE, "A server's address has no port here.", remedy)
    member = Member(name or here, here, store)
    told = member_configuration(member, servers, credentials, settings)
    typer.echo(json.dumps(told, indent=2))  # Into a file, whatever the terminal is like.

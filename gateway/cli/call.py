"""What every command has in common: `--json`, `--url`, `--key`, and how it speaks to a node.

A command takes a `typer.Context` first and asks `Call.of` for this. The options are given to every
command of the tree in one place (`share`), so none can be without them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from typing import Annotated, Any, TypeVar

import typer

from gateway.cli.client import Client
from gateway.cli.terminal import Terminal

URL = "http://127.0.0.1:7770"
PANEL = "Everywhere"
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Call:
    """One call of the command line."""

    terminal: Terminal
    url: str
    key: str

    @classmethod
    def of(cls, context: typer.Context) -> Call:
        """The call that *context* belongs to."""
        given: dict[str, Any] = context.ensure_object(dict)
        terminal = Terminal(given.get("json", False))
        return cls(terminal, given.get("url") or URL, given.get("key") or "")

    @property
    def json(self) -> bool:
        return self.terminal.json

    def ask(self, talk: Callable[[Client], Awaitable[T]]) -> T:
        """What comes of *talk* with the node. Raises `Failure`."""

        async def run() -> T:
            async with Client.open(self.url, self.key) as client:
                return await talk(client)

        return asyncio.run(run())


def _keep(context: typer.Context, param: typer.CallbackParam, value: Any) -> Any:
    context.ensure_object(dict)[param.name] = value
    return value


def _common(
    json: Annotated[
        bool,
        typer.Option(
            "--json",
            help="Answer with JSON, one object a line.",
            callback=_keep,
            expose_value=False,
            rich_help_panel=PANEL,
        ),
    ] = False,
    url: Annotated[
        str,
        typer.Option(
            "--url",
            help="The node to speak to.",
            envvar="CANOPY_URL",
            callback=_keep,
            expose_value=False,
            rich_help_panel=PANEL,
        ),
    ] = URL,
    key: Annotated[
        str,
        typer.Option(
            "--key",
            help="The API key to use; better in the environment than on the command line.",
            envvar="CANOPY_API_KEY",
            show_default=False,
            callback=_keep,
            expose_value=False,
            rich_help_panel=PANEL,
        ),
    ] = "",
) -> None:
    """What every command understands."""


def share(group: Any, alone: frozenset[str]) -> None:
    """Give every command below *group* the common options; those *alone* speak to no node."""
    donor = typer.Typer(add_completion=False)
    donor.command()(_common)
    options = [option for option in typer.main.get_command(donor).params if option.name != "help"]
    for name, command in group.commands.items():
        wanted = [option for option in options if option.name == "json" or name not in alone]
        for leaf in leaves(command):
            leaf.params.extend(wanted)


def leaves(command: Any) -> Iterator[Any]:
    """*command* itself, or all below it that do something themselves."""
    for below in getattr(command, "commands", {}).values():
        yield from leaves(below)
    if not hasattr(command, "commands"):
        yield command

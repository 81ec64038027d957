"""What every command has in common: `--json`, `--url`, `--key`, and how it speaks to a node.

A command takes a `typer.Context` first and asks `Call.of` for this. The options are given to every
command of the tree in one place (`share`), so none can be without them; those that read how things
stand also understand `--at`, how they stood.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any, TypeVar

import typer

from gateway.cli.client import Client
from gateway.cli.points import moment
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
    at: str = ""
    """The moment that is asked about, as the node understands it; empty for now."""

    @classmethod
    def of(cls, context: typer.Context) -> Call:
        """The call that *context* belongs to."""
        given: dict[str, Any] = context.ensure_object(dict)
        terminal = Terminal(given.get("json", False))
        at = given.get("at")
        named = "" if at is None else moment(at, datetime.now(UTC))
        return cls(terminal, given.get("url") or URL, given.get("key") or "", named)

    @property
    def json(self) -> bool:
        return self.terminal.json

    def ask(self, talk: Callable[[Client], Awaitable[T]]) -> T:
        """What comes of *talk* with the node. Raises `Failure`."""

        async def run() -> T:
            async with Client.open(self.url, self.key) as client:
                client.at = self.at
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


def _looking_back(
    at: Annotated[
        str | None,
        typer.Option(
            "--at",
            help="How it stood then: a position (42), a time (2026-11-21T05:29), or how long ago "
            "(10m, 2h, 3d).",
            show_default=False,
            callback=_keep,
            expose_value=False,
            rich_help_panel=PANEL,
        ),
    ] = None,
) -> None:
    """What commands understand that read how things stand."""


def share(group: Any, alone: frozenset[str], looking_back: frozenset[str]) -> None:
    """Give every command below *group* the common options, and those that are *looking_back*
    theirs; those *alone* speak to no node."""
    options, backward = _options(_common), _options(_looking_back)
    for name, command in group.commands.items():
        wanted = [option for option in options if option.name == "json" or name not in alone]
        for path, leaf in leaves(command, name):
            leaf.params.extend([*wanted, *(backward if path in looking_back else ())])


def _options(donors: Callable[..., None]) -> list[Any]:
    """The options that *donors* takes."""
    donor = typer.Typer(add_completion=False)
    donor.command()(donors)
    return [option for option in typer.main.get_command(donor).params if option.name != "help"]


def leaves(command: Any, path: str) -> Iterator[tuple[str, Any]]:
    """*command* itself, or all below it that do something themselves, by their paths."""
    for name, below in getattr(command, "commands", {}).items():
        yield from leaves(below, f"{path} {name}")
    if not hasattr(command, "commands"):
        yield path, command

"""`canopy export` and its kin: the log as files that outlive the node, and a node made of them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Group
from rich.text import Text

from gateway.cli.call import Call
from gateway.cli.config import Data, File, configured
from gateway.cli.terminal import facts


def export(
    context: typer.Context,
    path: Annotated[Path, typer.Argument(help="The directory to make.", show_default=False)],
    data: Data = None,
    config: File = None,
) -> None:
    """Write the log as Parquet into a new directory; the node may run meanwhile.

    Reads the data directory itself: run it where the node runs, as the user who runs it.
    """
    from gateway.cli import copying  # noqa: PLC0415  # brings in all that a node is made of

    terminal = Call.of(context).terminal
    settings = configured(config, data_directory=data).settings
    told = copying.export(settings, path, terminal)
    terminal.answer(told, _written(told))


def _written(told: dict[str, Any]) -> Group:
    rows = [
        ("written", str(told["path"])),
        ("node", told["node"]),
        ("positions", f"1 to {told['last']:,}, {told['events']:,} events"),
        ("size", f"{told['bytes'] / 1e6:,.1f} MB"),
    ]
    return Group(Text.assemble(("✓ ", "good"), "Everything up to that position is in it."),
                 facts(rows))  # fmt: skip

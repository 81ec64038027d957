"""`canopy export` and its kin: the log as files that outlive the node, and a node made of them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Group
from rich.text import Text

from gateway.cli.call import Call
from gateway.cli.config import Data, File, configured
from gateway.cli.exits import Exit, Failure
from gateway.cli.secrets import passphrase
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


def backup(
    context: typer.Context,
    path: Annotated[Path, typer.Argument(help="The file to make.", show_default=False)],
    with_keys: Annotated[
        bool,
        typer.Option(
            "--with-keys",
            help="Also the node's keys, under a passphrase: CANOPY_BACKUP_PASSPHRASE, or typed.",
        ),
    ] = False,
    data: Data = None,
    config: File = None,
) -> None:
    """Write all that the node knows into one new file; the node may run meanwhile.

    Without --with-keys nobody can read in it what was said in private, nor use its passwords. Reads
    the data directory itself: run it where the node runs, as the user who runs it.
    """
    from gateway.cli import copying  # noqa: PLC0415  # brings in all that a node is made of

    terminal = Call.of(context).terminal
    settings = configured(config, data_directory=data).settings
    seal = passphrase(terminal, new=True) if with_keys else None
    told = copying.backup(settings, path, terminal, seal)
    terminal.answer(told, _written(told))


Archived = Annotated[
    Path, typer.Argument(metavar="PATH", help="A backup, or an export.", show_default=False)
]
New = Annotated[
    Path | None,
    typer.Option(
        "--data",
        help="The data directory to make, empty or not there yet; CANOPY_DATA does not count.",
        file_okay=False,
        show_default=False,
    ),
]


def restore(
    context: typer.Context,
    path: Archived,
    data: New = None,
    verify: Annotated[
        bool,
        typer.Option(
            "--verify", help="Read back what was restored; without --data, keep nothing of it."
        ),
    ] = False,
    without_keys: Annotated[
        bool, typer.Option("--without-keys", help="Leave the keys in it aside.")
    ] = False,
    erased: Annotated[
        list[Path] | None,
        typer.Option(
            "--erased",
            help="A later backup or export: what was erased by then stays erased.",
            show_default=False,
        ),
    ] = None,
    config: File = None,
) -> None:
    """Make a node of a backup or an export, in a data directory that is empty.

    It has the same log and the same tables, and a node id of its own. With --verify and without
    --data it only proves that the archive is whole, and that a node can be made of it.
    """
    from gateway.cli import copying  # noqa: PLC0415  # brings in all that a node is made of
    from gateway.restore import Wish  # noqa: PLC0415  # the same

    terminal = Call.of(context).terminal
    if data is None and not verify:
        raise _unplaced("Name an empty one with --data, or ask for --verify alone.")
    for one in (path, *(erased or ())):
        _require(one)
    settings = configured(config, data_directory=data).settings
    keyed = not without_keys and copying.has_keys(path, settings)
    unseal = passphrase(terminal, new=False) if keyed else None
    if data is None:
        told = copying.prove(settings, path, terminal, unseal)
    else:
        wish = Wish(unseal, tuple(erased or ()), verify)
        told = copying.restore(settings, path, terminal, wish)
    terminal.answer(told, _made(told | {"opened": unseal is not None}))


def import_(context: typer.Context, path: Archived, data: New = None, config: File = None) -> None:
    """Make a node of an export, in a data directory that is empty: `restore` for what has no keys.

    A backup that has keys is refused: `restore` opens them, or leaves them aside when it is told.
    """
    from gateway.cli import copying  # noqa: PLC0415  # brings in all that a node is made of

    if data is None:
        raise _unplaced("Name an empty one with --data.")
    _require(path)
    if copying.has_keys(path, configured(config, data_directory=data).settings):
        raise Failure(
            Exit.USAGE,
            f"{path} has keys, and an import would leave them aside: nobody could read what was "
            "said in private, and no password would work.",
            f"canopy restore {path} --data {data}",
            "has_keys",
        )
    restore(context, path, data, verify=False, config=config)


def _unplaced(remedy: str) -> Failure:
    return Failure(
        Exit.USAGE, "A restore needs a data directory of its own.", remedy, "data_needed"
    )


def _require(path: Path) -> None:
    """Raises `Failure` where no archive is."""
    if not path.exists():
        raise Failure(Exit.USAGE, f"There is no {path}.", "Name a backup, or an export.")


def _made(told: dict[str, Any]) -> Group:
    rows: list[tuple[str, str | Text]] = [
        ("archive", str(told["path"])),
        ("of the node", told["node"]),
        ("positions", f"1 to {told['last']:,}, {told['events']:,} events"),
        ("tables", "equal" if told["compared"] else "not compared: of another version of Canopy"),
    ]
    if not told["restored"]:
        return Group(Text.assemble(("✓ ", "good"), "The archive is whole."), facts(rows))
    start = f"canopy up --data {told['data']}"
    rows += [("new node", told["restored"]), ("start", Text(start, "command"))]
    if not told["opened"]:
        command = f"canopy user password NAME --data {told['data']}"
        rows += [("keys", "none: passwords are set anew"), ("", Text(command, "command"))]
    return Group(Text.assemble(("✓ ", "good"), "The node is restored."), facts(rows))


def _written(told: dict[str, Any]) -> Group:
    rows = [
        ("written", str(told["path"])),
        ("node", told["node"]),
        ("positions", f"1 to {told['last']:,}, {told['events']:,} events"),
        ("size", f"{told['bytes'] / 1e6:,.1f} MB"),
        ("keys", "sealed under the passphrase" if told["keys"] else "none"),
    ]
    return Group(Text.assemble(("✓ ", "good"), "Everything up to that position is in it."),
                 facts(rows))  # fmt: skip

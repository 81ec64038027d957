"""`canopy`: the tree of commands, and how every one of them ends.

A command answers on standard output, complains on standard error, and exits with a code of
`exits.Exit`. Verbs stand on nouns; what is about the node as a whole stands alone.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import Any

import typer

from gateway.cli import archive, bench, causes, channel, config, key, log, nats, node, sql, user
from gateway.cli.call import share
from gateway.cli.exits import MEANINGS, Exit, Failure
from gateway.cli.terminal import Enough, Terminal

RUNNING = "The node"
KEEPING = "Copies"
TALKING = "Talking"
WATCHING = "The log"
ALONE = frozenset(
    {
        "up",
        "run",
        "doctor",
        "config",
        "bench",
        "nats",
        "backup",
        "export",
        "restore",
        "import",
        "vouch",
    }
)
"""Commands that speak to no node."""

LOOKING_BACK = frozenset(
    {
        "sql",
        "why",
        "channel list",
        "channel show",
        "channel members",
        "user list",
        "key list",
        "log list",
        "log show",
    }
)
"""Commands that read how things stand, and can as well read how they stood."""

EPILOG = "Exit codes: " + "; ".join(f"{int(code)} {text}" for code, text in MEANINGS.items()) + "."


def tree() -> Any:
    """The commands, each with the options that all of them share."""
    app = typer.Typer(
        name="canopy",
        help="A local-first workspace in which people and agents talk, work and agree.",
        epilog=EPILOG,
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        rich_markup_mode="rich",
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    for command in (node.up, node.run, node.status, node.doctor, bench.bench, node.version):
        app.command(rich_help_panel=RUNNING)(command)
    app.add_typer(
        config.app,
        name="config",
        help="Settings: values and who set them.",
        rich_help_panel=RUNNING,
    )
    app.add_typer(
        nats.app,
        name="nats",
        help="NATS servers of others: what they have to be told.",
        rich_help_panel=RUNNING,
    )
    app.command(rich_help_panel=TALKING)(channel.post)
    app.add_typer(
        channel.app, name="channel", help="Channels and their members.", rich_help_panel=TALKING
    )
    app.add_typer(
        user.app, name="user", help="Accounts of people and agents.", rich_help_panel=TALKING
    )
    app.add_typer(key.app, name="key", help="API keys.", rich_help_panel=TALKING)
    app.command(rich_help_panel=WATCHING)(causes.why)
    app.command(rich_help_panel=WATCHING)(causes.trace)
    for command in (log.tap, log.replay, sql.sql):
        app.command(rich_help_panel=WATCHING)(command)
    app.add_typer(log.app, name="log", help="What has been stored.", rich_help_panel=WATCHING)
    for command in (node.verify, node.rebuild, node.vouch):
        app.command(rich_help_panel=WATCHING)(command)
    app.command(rich_help_panel=KEEPING)(archive.backup)
    app.command(rich_help_panel=KEEPING)(archive.restore)
    app.command(rich_help_panel=KEEPING)(archive.export)
    app.command("import", rich_help_panel=KEEPING)(archive.import_)
    group = typer.main.get_command(app)
    share(group, ALONE, LOOKING_BACK)
    return group


def main(words: Sequence[str] | None = None) -> None:
    """Run the command that *words* say (left out: those that were typed), and exit."""
    typed = sys.argv[1:] if words is None else list(words)
    try:
        tree()(args=typed, prog_name="canopy")
    except Failure as failure:
        Terminal("--json" in typed).fail(failure)
        sys.exit(failure.exit_code)
    except KeyboardInterrupt:
        sys.exit(Exit.INTERRUPTED)
    except Enough:
        # What is still in the buffer goes nowhere; at exit Python would complain of that.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(Exit.OK)

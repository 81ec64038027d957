"""What `canopy up` and `canopy run` do: run a node in the terminal until it is asked to stop.

Apart from `node.py` because it brings in everything that a node is made of, which other commands
need not wait for.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import uvloop
from rich.console import Group
from rich.padding import Padding
from rich.panel import Panel
from rich.text import Text

from actors.projection_file import Damaged
from actors.projection_folder import Locked
from bus.faults import Unarmed, arm
from bus.holding import Held
from bus.identity_file import IdentityUnusable, NoNode, PassphraseMissing, PassphraseWeak
from bus.logins import LoginUnusable
from bus.program import BrokerUnusable
from bus.server import BrokerStopped
from bus.topology import TopologyRefused, Unfit
from bus.wire import BrokerLost
from gateway import node
from gateway.cli import journal
from gateway.cli.call import URL
from gateway.cli.exits import Exit, Failure
from gateway.cli.secrets import UNGUESSED
from gateway.cli.terminal import Terminal, facts, line
from gateway.descriptors import ask_for_all
from schemas.settings import Settings

Process = Literal["whole", "nats", "actors", "gateway"]


def run(process: Process, settings: Settings, terminal: Terminal) -> None:
    """Run *process* until it is asked to stop. Raises `Failure` when it cannot go on."""
    try:
        arm(os.environ)
    except Unarmed as error:
        raise Failure(Exit.USAGE, str(error), "Name one of them, or unset it.") from error
    announce = _announcer(terminal)
    mains: dict[Process, Callable[[], Coroutine[Any, Any, None]]] = {
        "whole": lambda: node.up(settings, announce, os.environ),
        "nats": lambda: node.run_broker(settings, os.environ),
        "actors": lambda: node.run_actors(settings),
        "gateway": lambda: node.run_gateway(settings, announce),
    }
    ask_for_all()
    with journaled(settings), asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_until_asked(mains[process]))
    terminal.done("Stopped.")


@contextmanager
def journaled(settings: Settings) -> Iterator[None]:
    """As `failures`; the journal of what runs in the block goes to standard error, never between
    the answers."""
    journal.configure(settings)
    with failures(settings):
        yield


@contextmanager
def failures(settings: Settings) -> Iterator[None]:
    """What keeps a node from running, told as a `Failure`. Anything else is a bug and passes."""
    fault: BaseException | None = None
    try:
        yield
    except* (Held, BrokerUnusable, BrokerStopped, BrokerLost, IdentityUnusable, LoginUnusable,
             Unfit, TopologyRefused, Locked, Damaged, OSError) as faults:  # fmt: skip
        fault = _first(faults)  # Raised here it would come out in a group.
    if fault is not None:
        raise _failure(fault, settings) from fault


async def _until_asked(main: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Returns when Ctrl-C or SIGTERM asks for it and *main* has cleared up; else as *main* ends."""
    loop = asyncio.get_running_loop()
    working = asyncio.create_task(main())
    for asked in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(asked, working.cancel)
    await asyncio.wait((working,))
    if not working.cancelled():
        working.result()


def _first(group: BaseExceptionGroup[Any]) -> BaseException:
    first = group.exceptions[0]
    return _first(first) if isinstance(first, BaseExceptionGroup) else first


def _failure(fault: BaseException, settings: Settings) -> Failure:
    """What the end of a node is told as."""
    match fault:
        case Held():
            return _held(fault, settings)
        case IdentityUnusable() | LoginUnusable():
            return _stranger(fault)
        case Locked():
            remedy = "Stop the program that reads the tables, or choose another --data."
            return Failure(Exit.NO, str(fault), remedy, "held")
        case Unfit():
            return Failure(Exit.UNAVAILABLE, str(fault), "canopy doctor", fault.fault)
        case OSError() if fault.filename is None and fault.errno is not None:
            remedy = "`canopy doctor` says who has it; `--port 0` takes a free one."
            where = f"{settings.host}:{settings.port}"
            return Failure(
                Exit.NO, f"Cannot listen on {where}: {fault.strerror}.", remedy, "port_taken"
            )
        case _:
            code = "tables_damaged" if isinstance(fault, Damaged) else "broker_unusable"
            return Failure(Exit.UNAVAILABLE, str(fault), "canopy doctor", code)


def _stranger(fault: IdentityUnusable | LoginUnusable) -> Failure:
    """What keeps a node from becoming itself. Where no remedy is told, the words have it."""
    match fault:
        case LoginUnusable():
            remedy, code = "canopy config explain nats_credentials", "login_unusable"
        case NoNode():
            remedy, code = "Name it with --data.", "node_absent"
        case PassphraseWeak():
            remedy, code = UNGUESSED, "passphrase_weak"
        case PassphraseMissing():
            remedy, code = "Set CANOPY_PASSPHRASE.", "identity_unusable"
        case _:
            remedy, code = "", "identity_unusable"
    return Failure(Exit.USAGE, str(fault), remedy, code)


def _held(fault: Held, settings: Settings) -> Failure:
    by = fault.holder
    data = settings.data_directory
    if by is None:
        return Failure(Exit.NO, f"{data} is in use: a node is just starting.", "", "held")
    where = f" It answers at {by.url}." if by.url else ""
    return Failure(
        Exit.NO,
        f"{data} is in use by pid {by.pid}, since {by.started}.{where}",
        f"Use that one, stop it with `kill {by.pid}`, or choose another --data and --port.",
        "held",
        {"pid": by.pid, "since": by.started, "url": by.url},
    )


def _announcer(terminal: Terminal) -> Callable[[node.Up], None]:
    def announce(told: node.Up) -> None:
        if terminal.json:
            line(
                {
                    "url": told.url,
                    "setup_code": told.setup_code,
                    "data": str(told.data),
                    "node": told.node,
                    "nats_url": told.nats_url,
                    "pid": os.getpid(),
                    "seq": told.seq,
                }
            )
        else:
            terminal.out.print(welcome(told))

    return announce


def welcome(told: node.Up) -> Group:
    """Where to go, how to begin, and how to stop."""
    rows: list[tuple[str, str | Text]] = [("Open", Text(told.url, "bold cyan"))]
    if told.setup_code:
        rows.append(
            (
                "Setup code",
                Text.assemble((told.setup_code, "secret"), ("  once, for the owner", "faint")),
            )
        )
        rows.append(("Begin", Text("canopy user add YOUR_NAME", "command")))
    if told.url != URL:
        rows.insert(1, ("", Text(f"export CANOPY_URL={told.url}", "command")))
    rows += [
        ("Watch", Text("canopy tap", "command")),
        ("", Text("nats --context canopy sub 'evt.>'", "command")),
        ("Data", Text(_home(told.data))),
        ("Stop", Text("Ctrl-C")),
    ]
    title = Text.assemble((" Canopy ", "bold green"))
    panel = Panel(
        Padding(facts(rows), (1, 2)),
        title=title,
        title_align="left",
        border_style="green",
        expand=False,
    )
    return Group("", panel, "")


def _home(path: Path) -> str:
    """*path* with the home directory as a tilde."""
    home = Path.home()
    return f"~/{path.relative_to(home)}" if path.is_relative_to(home) else str(path)

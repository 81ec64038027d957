"""`canopy bench`: what this machine does with it, in numbers and against bars.

Every measure starts nodes of its own in a directory of its own; a running node is not touched.
"""

from __future__ import annotations

import tempfile
from contextlib import ExitStack
from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Group
from rich.text import Text

from gateway.cli.call import Call
from gateway.cli.exits import Exit
from gateway.cli.terminal import line, table

if TYPE_CHECKING:
    from gateway.bench.report import Report
    from gateway.bench.simulation.simulate import Outcome
    from gateway.cli.terminal import Terminal

LAST_STEPS = 40
"""Shown of a world in which a promise was broken, when it is one of several."""


class Measure(StrEnum):
    """What can be measured."""

    POSTS = "posts"
    LIVE = "live"
    SOCKETS = "sockets"
    PAGE = "page"
    START = "start"
    REBUILD = "rebuild"
    LAG = "lag"
    PARQUET = "parquet"
    PAST = "past"
    SQL = "sql"
    MARKS = "marks"
    PRIVATE = "private"
    CHAOS = "chaos"
    PARTINGS = "partings"
    STORM = "storm"
    KILLS = "kills"
    CUTS = "cuts"
    FLIPS = "flips"
    ERASE = "erase"
    SOAK = "soak"
    SCALE = "scale"
    CLUSTER = "cluster"
    FAIR = "fair"


HARD = (Measure.CHAOS, Measure.PARTINGS, Measure.STORM)
LONG = (
    *HARD, Measure.KILLS, Measure.CUTS, Measure.FLIPS, Measure.ERASE, Measure.SOAK, Measure.SCALE,
    Measure.CLUSTER, Measure.FAIR,
)  # fmt: skip
USUAL = tuple(measure for measure in Measure if measure not in LONG)

Deaths = Annotated[
    int | None,
    typer.Option(
        "--kills", help="So many deaths, at every kill point in turn.", min=1, show_default=False
    ),
]

Cuts = Annotated[
    int | None,
    typer.Option(
        "--cuts",
        help="So many power cuts, on a volume of its own; needs root.",
        min=1,
        show_default=False,
    ),
]

Blows = Annotated[
    int | None,
    typer.Option(
        "--cluster",
        help="So many rounds of blows to a cluster of three servers; needs root.",
        min=1,
        show_default=False,
    ),
]

Soak = Annotated[
    int | None,
    typer.Option(
        "--soak", help="So many seconds under load with a fault in each.", min=1, show_default=False
    ),
]

Fair = Annotated[
    int | None,
    typer.Option(
        "--fair", help="So many seconds of 16 hosts at one message.", min=1, show_default=False
    ),
]

Damages = Annotated[
    int | None,
    typer.Option(
        "--flips",
        help="So many damages to a node at rest: flipped bits, cut files …",
        min=1,
        show_default=False,
    ),
]

Erasures = Annotated[
    int | None,
    typer.Option(
        "--erase",
        help="So many private messages, erased and sought on the raw disk; needs root.",
        min=1,
        show_default=False,
    ),
]


def bench(  # noqa: PLR0917  # typer has one argument for each option
    context: typer.Context,
    measures: Annotated[
        list[Measure] | None,
        typer.Argument(help="Which; all but the long ones, which have options, if none.",
                       show_default=False),
    ] = None,
    hard: Annotated[
        bool, typer.Option("--chaos", help="Kill parts at random under load, and cut off clients.")
    ] = False,
    deaths: Deaths = None,
    cuts: Cuts = None,
    damages: Damages = None,
    erase: Erasures = None,
    soak: Soak = None,
    blows: Blows = None,
    turns: Fair = None,
    quick: Annotated[
        bool, typer.Option("--quick", help="A minute instead of half an hour; bars do not count.")
    ] = False,
    sim: Annotated[
        int | None,
        typer.Option(help="Live through the simulated world of this seed, and tell it.",
                     metavar="SEED", min=0, show_default=False),
    ] = None,
    count: Annotated[
        int, typer.Option(help="With --sim: so many seeds from there on.", min=1)
    ] = 1,
    keep: Annotated[
        Path | None,
        typer.Option(help="Where to work, and to keep the long log for next time.",
                     file_okay=False, show_default=False),
    ] = None,
) -> None:  # fmt: skip
    """Measure posts, live pages, sockets, long logs, starts; exit 1 when a bar is missed.

    With --json, one report a line. With --sim, faults drawn from a seed befall Canopy's own code in
    virtual time; a promise that is broken is told with what led to it.
    """
    from gateway.cli.measuring import FULL, QUICK, measure  # noqa: PLC0415  # all of a node

    terminal = Call.of(context).terminal
    if sim is not None:
        _simulated(terminal, range(sim, sim + count))
        return
    extent = QUICK if quick else FULL
    wanted = [*(measures or ()), *(HARD if hard else ())]
    told = {"kills": deaths, "cuts": cuts, "flips": damages, "erase": erase, "soak": soak,
            "cluster": blows, "fair": turns}  # fmt: skip
    counts = {name: count for name, count in told.items() if count is not None}
    wanted, extent = [*wanted, *map(Measure, counts)], replace(extent, **counts)
    missed = False
    with ExitStack() as stack:
        folder = keep or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="canopy-")))
        for name in wanted or USUAL:
            with terminal.err.status(f"{name} …"):
                report = measure(name, folder, extent)
            missed = missed or not report.held
            if terminal.json:
                line(report.json())
            else:
                terminal.out.print(_shown(report))
    if missed and not quick:
        raise typer.Exit(Exit.NO)


def _simulated(terminal: Terminal, seeds: range) -> None:
    from gateway.bench.simulation.seeds import lived  # noqa: PLC0415  # all of a node

    def hear(outcome: Outcome) -> None:
        if len(seeds) == 1:
            terminal.err.print(Text(outcome.story(len(outcome.trace))))
        elif outcome.violations:
            terminal.err.print(Text(outcome.story(LAST_STEPS)))

    report = lived(seeds, hear)
    if terminal.json:
        line(report.json())
    else:
        terminal.out.print(_shown(report))
    if not report.figures[0].held:
        raise typer.Exit(Exit.NO)


def _shown(report: Report) -> Group:
    rows = [
        (name, value, Text(bar, "faint"), Text(held, "good" if held == "✓" else "bad"))
        for name, value, bar, held in report.rows()
    ]
    title = Text.assemble((report.name, "heading"), (f"  {report.conditions}", "faint"))
    return Group(title, table(("figure", "value>", "bar>", ""), rows), "")

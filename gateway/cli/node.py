"""`canopy up` and its kin: run a node, ask how it is, prove it, make its tables anew."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from rich.console import Group
from rich.table import Table
from rich.text import Text

from gateway.cli.call import Call
from gateway.cli.client import Client
from gateway.cli.config import Data, File, configured
from gateway.cli.exits import Exit, Failure
from gateway.cli.terminal import Terminal, facts, table
from gateway.surroundings import hazards
from gateway.version import VERSION
from schemas.settings import Settings

LONG_S = 3600.0
"""For the node to fold its whole log."""

Port = Annotated[
    int | None,
    typer.Option(help="Port of the gateway; 0 lets the system choose. Else 7770.",
                 min=0, max=65535, show_default=False),
]  # fmt: skip
Host = Annotated[
    str | None,
    typer.Option(help="Address to listen on; else 127.0.0.1.", show_default=False),
]
Nats = Annotated[
    str | None,
    typer.Option(help="External NATS servers, nats://a,b,c; else the embedded broker.",
                 show_default=False),
]  # fmt: skip
Process = Literal["nats", "actors", "gateway"]


def up(
    context: typer.Context,
    data: Data = None,
    port: Port = None,
    host: Host = None,
    nats: Nats = None,
    config: File = None,
) -> None:
    """Run a node: broker, actors and gateway in one process, until Ctrl-C.

    With --json, one line tells when it answers: url, setup_code, data, node, nats_url, pid, seq.
    """
    terminal = Call.of(context).terminal
    settings = _settings(terminal, config, data=data, port=port, host=host, nats=nats)
    from gateway.cli import running  # noqa: PLC0415  # brings in all that a node is made of

    running.run("whole", settings, terminal)


def run(
    context: typer.Context,
    process: Annotated[Process, typer.Argument(help="Which of the three.")],
    data: Data = None,
    port: Port = None,
    host: Host = None,
    nats: Nats = None,
    config: File = None,
) -> None:
    """Run one process of a node alone, until Ctrl-C: what the Procfile names."""
    terminal = Call.of(context).terminal
    settings = _settings(terminal, config, data=data, port=port, host=host, nats=nats)
    from gateway.cli import running  # noqa: PLC0415  # brings in all that a node is made of

    running.run(process, settings, terminal)


def _settings(
    terminal: Terminal,
    config: Path | None,
    *,
    data: Path | None,
    port: int | None,
    host: str | None,
    nats: str | None,
) -> Settings:
    configuration = configured(config, data_directory=data, port=port, host=host, nats_url=nats)
    for hazard in hazards(configuration.settings.data_directory):
        terminal.warn(hazard.what, hazard.remedy)
    for stranger in configuration.strangers:
        terminal.warn(f"No setting is called {stranger}.", "canopy config show")
    return configuration.settings


def status(context: typer.Context) -> None:
    """Say how the node is: positions, lag, clients, how much there is.

    Without the owner's key only what everybody may know. Exit 1 when the node is not ready.
    """
    call = Call.of(context)

    async def talk(client: Client) -> dict[str, Any]:
        answer = await client.probe("/readyz")
        known = {
            "ready": answer.get("ready", False),
            "reason": "" if "ready" in answer else answer.get("detail", ""),
            "version": (await client.get("/version"))["version"],
        }
        try:
            return known | await client.get("/api/v1/node/status")
        except Failure as failure:
            if failure.exit_code is Exit.UNREACHABLE:
                raise
            return known

    told = call.ask(talk)
    call.terminal.answer(told | {"url": call.url}, _status(call.url, told))
    if not told["ready"]:
        raise typer.Exit(Exit.NO)


def _status(url: str, told: dict[str, Any]) -> Any:
    ready = Text("ready", "good") if told["ready"] else Text("not ready", "bad")
    rows: list[tuple[str, str | Text]] = [
        ("node", Text.assemble(url, "  ", ready, (f"  {told['version']}", "faint")))
    ]
    if told["reason"]:
        rows.append(("why not", Text(told["reason"], "bad")))
    if "node" not in told:
        rows.append(("more", Text("with the owner's key in CANOPY_API_KEY", "faint")))
        return facts(rows)
    lag = Text(f"  {told['lag']} behind", "wary") if told["lag"] else Text("  up to date", "faint")
    counts = "  ".join(_counted(number, name) for name, number in told["counts"].items())
    rows += [
        ("name", told["node"]),
        ("up", duration(told["uptime_s"])),
        ("position", Text.assemble((f"{told['position']:,} of {told['head']:,}", "number"), lag)),
        ("epoch", told["epoch"]),
        ("log", _integrity(told["integrity"])),
        ("there are", counts),
        ("live", _counted(told["clients"], "clients")),
    ]
    if told["warning"]:
        rows.append(("but", Text(told["warning"], "bad")))
    return facts(rows)


def _integrity(told: dict[str, Any]) -> Text:
    """Whether the log is what was written, in a few words."""
    if told["damage"]:
        return Text(told["damage"]["text"], "bad")
    read = f"read again {told['read_at']}" if told["read_at"] else "not read again yet"
    return Text.assemble((f"hashed to {told['hashed']:,}", "number"), (f"  {read}", "faint"))


def _counted(number: int, name: str) -> str:
    """*number* of what is called *name* in the plural."""
    return f"{number:,} {name if number != 1 else name.removesuffix('s')}"


def duration(seconds: float) -> str:
    """A span of time for people: its two largest parts."""
    parts: list[str] = []
    left = int(seconds)
    for unit, length in (("d", 86_400), ("h", 3600), ("min", 60), ("s", 1)):
        count, left = divmod(left, length)
        if count or (unit == "s" and not parts):
            parts.append(f"{count} {unit}")
    return " ".join(parts[:2])


def verify(context: typer.Context, data: Data = None, config: File = None) -> None:
    """Prove that the tables are what the log says; exit 1 and the first difference when not.

    Asks the running node; with --data, a node that is stopped.
    """
    call = Call.of(context)
    report = _asked(call, "verify", data, config)
    difference = report["difference"]
    call.terminal.answer(report, _report(report))
    if difference is not None:
        raise typer.Exit(Exit.NO)


def _report(report: dict[str, Any]) -> Group:
    difference = report["difference"]
    if difference is not None:
        verdict = Text.assemble(("✗ ", "bad"), "The tables are not what the log says.")
        return Group(verdict, facts([(name, str(value)) for name, value in difference.items()]))
    rows = [(Text(name, "faint"), f"{count:,}") for name, count in report["tables"].items()]
    verdict = Text.assemble(
        ("✓ ", "good"),
        f"Every commit up to {report['position']:,} is whole, and the tables are what they say.",
    )
    hashed = Text(f"  The log hashes to {report['digest']}.", "faint")
    return Group(table(("table", "rows>"), rows), "", verdict, hashed)


def rebuild(context: typer.Context, data: Data = None, config: File = None) -> None:
    """Make the tables anew from the whole log; reads go on meanwhile.

    Asks the running node; with --data, a node that is stopped.
    """
    call = Call.of(context)
    report = _asked(call, "rebuild", data, config)
    shown = Text.assemble(
        ("✓ ", "good"), f"The tables are made anew, up to {report['position']:,}."
    )
    call.terminal.answer(report, shown)


def vouch(
    context: typer.Context,
    certain: Annotated[
        bool, typer.Option("--yes", help="Do it; else only say what is wrong with the log.")
    ] = False,
    data: Data = None,
    config: File = None,
) -> None:
    """Take the log of a stopped node as it is, so that it can be written again.

    For an owner who knows why it is not what was written. What is missing stays missing: a backup
    is better. Without --yes nothing changes.
    """
    from gateway.cli import stopped  # noqa: PLC0415  # brings in all that a node is made of

    terminal = Call.of(context).terminal
    settings = configured(config, data_directory=data).settings
    report = stopped.vouch(settings, certain=certain)
    terminal.answer(report, _vouched(report))
    if report["fault"] and not certain:
        raise typer.Exit(Exit.NO)


def _vouched(report: dict[str, Any]) -> Text:
    fault = report["fault"]
    if report["vouched"]:
        return Text.assemble(
            ("✓ ", "good"), f"The log is taken as it is, up to {report['head']:,}."
        )
    if fault is None:
        return Text.assemble(
            ("✓ ", "good"), f"Nothing is known to be wrong up to {report['head']:,}."
        )
    what = f"{fault['text']}, from position {fault['seq']:,}."
    return Text.assemble(("✗ ", "bad"), what, (f"\n{fault['remedy']}", "command"))


def _asked(
    call: Call, wish: Literal["verify", "rebuild"], data: Path | None, config: Path | None
) -> dict[str, Any]:
    if data is None:
        return call.ask(lambda client: client.post(f"/api/v1/node/{wish}", timeout_s=LONG_S))
    from gateway.cli import stopped  # noqa: PLC0415  # brings in all that a node is made of

    settings = configured(config, data_directory=data).settings
    return stopped.ask(wish, settings)


def doctor(
    context: typer.Context,
    data: Data = None,
    port: Port = None,
    host: Host = None,
    config: File = None,
) -> None:
    """Look whether this machine and the node are well, and say what to do; exit 1 when not."""
    from gateway.doctor import examine  # noqa: PLC0415  # brings in the broker's client

    terminal = Call.of(context).terminal
    configuration = configured(config, data_directory=data, port=port, host=host)
    findings = asyncio.run(examine(configuration))
    failed = any(finding.state == "fail" for finding in findings)
    rows: list[tuple[Text, str, Text]] = []
    for finding in findings:
        mark = {"ok": ("✓", "good"), "warn": ("!", "wary"), "fail": ("✗", "bad")}[finding.state]
        told = Text(finding.what)
        if finding.remedy:
            told.append(f"\n→ {finding.remedy}", "command")
        rows.append((Text(*mark), finding.check, told))
    report = {"ok": not failed, "findings": [asdict(finding) for finding in findings]}
    terminal.answer(report, _findings(rows))
    if failed:
        raise typer.Exit(Exit.NO)


def _findings(rows: Sequence[tuple[Text, str, Text]]) -> Table:
    shown = Table.grid(padding=(0, 2, 0, 0))
    shown.add_column()
    shown.add_column(style="faint", no_wrap=True)
    shown.add_column(overflow="fold")
    for row in rows:
        shown.add_row(*row)
    return shown


def version(context: typer.Context) -> None:
    """Say which version this is, and which one the node runs, if one answers."""
    call = Call.of(context)
    try:
        node = call.ask(lambda client: client.get("/version"))
    except Failure:
        node = {}
    shown = Text.assemble(("canopy ", "heading"), VERSION)
    if node:
        shown.append(f"\nnode   {node['version']}", "faint")
        shown.append(f"  {call.url}", "faint")
    call.terminal.answer({"version": VERSION, "node": node or None}, shown)

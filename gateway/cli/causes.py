"""`canopy why` and `canopy trace`: what called for something, what it led to, which rule refused
it, and how long each step of it took.
"""

from __future__ import annotations

from typing import Annotated, Any

import typer
from rich.console import Group, RenderableType
from rich.text import Text
from rich.tree import Tree

from gateway.cli.call import Call
from gateway.cli.client import Client, segment
from gateway.cli.lookup import names
from gateway.cli.sentences import Names, place
from gateway.cli.terminal import facts, person, plain, table

Json = dict[str, Any]
Name = Annotated[
    str,
    typer.Argument(
        metavar="ID",
        help="A message, channel, account, commit, command, correlation id, or position.",
    ),
]


def why(context: typer.Context, name: Name) -> None:
    """Tell why: the chain of causes up and down, and for a refusal the rule behind it.

    For a refusal, pass the correlation_id of the error. Processes remember the last ones only.
    """
    call = Call.of(context)

    async def talk(client: Client) -> tuple[Json, Names]:
        return await client.get(f"/api/v1/why/{segment(name)}"), await names(client)

    told, known = call.ask(talk)
    call.terminal.answer(told, _shown(told, known))


def _shown(told: Json, known: Names) -> Group:
    parts: list[RenderableType] = []
    for chain in told["chains"]:
        tree = Tree(Text.assemble(("request ", "faint"), chain["correlation"]), guide_style="faint")
        _grow(tree, chain["commits"], known)
        parts.append(tree)
    parts += [_refusal(one, known) for one in told["refusals"]]
    if told["hidden"]:
        parts.append(Text(f"{told['hidden']} more that you may not see.", "faint"))
    if told["more"]:
        parts.append(Text("There is more than one answer holds.", "wary"))
    return Group(*parts)


def _grow(tree: Tree, commits: list[Json], known: Names) -> None:
    for one in commits:
        _grow(tree.add(_commit(one, known)), one["caused"], known)


def _commit(one: Json, known: Names) -> Text:
    frame = {"noun": one["noun"], "id": one["key"], "events": []}
    what = ", ".join(one["kinds"])
    text = Text.assemble(
        (f"{one['seq']}  ", "heading" if one["asked"] else "faint"),
        (f"{one['time']}  ", "faint"),
        place(frame, known),
        "  ",
        person(known.account(one["author"])),
        "  ",
        Text(what, "heading" if one["asked"] else ""),
    )
    by = f"command {one['command']} " if one["command"] else "command "
    text.append(f"\n{by}{one['cause']} · commit {one['commit']} · node {one['origin']}", "faint")
    return text


def _refusal(one: Json, known: Names) -> Group:
    status = f"{one['status']} " if one["status"] else ""
    author = person(known.account(one["author"])) if one["author"] else Text("nobody", "faint")
    rows: list[tuple[str, str | Text]] = [
        ("asked", plain(one["request"]) or "·"),
        ("by", author),
        ("command", f"{one['command']} {one['cause']}".strip() or "·"),
        ("of", one["aggregate"] or "·"),
        ("rule", one["rule"] or "not remembered any more"),
        ("says", plain(one["means"]) or "·"),
        ("request", one["correlation"] or "·"),
        ("told by", one["process"]),
    ]
    head = Text.assemble(
        ("✗ ", "bad"), (f"{one['time']}  ", "faint"), f"{status}{one['code']}  ",
        plain(one["message"]),
    )  # fmt: skip
    return Group(head, facts(rows))


def trace(context: typer.Context, name: Name) -> None:
    """Show what a command or a request went through, step by step, and how long it took.

    Processes remember their last steps only; of older ones the log tells the commits.
    """
    call = Call.of(context)
    told = call.ask(lambda client: client.get(f"/api/v1/trace/{segment(name)}"))
    call.terminal.answer(told, _steps(told))


def _steps(told: Json) -> Group:
    rows = [row for one in told["steps"] for row in _branch(one, "", "")]
    longest = max((one for *_, one in rows if one), default=0.0)
    cells = [
        (
            Text.assemble((guide, "faint"), name, ("  " + note if note else "", "faint")),
            seq,
            f"{after_ms:,.2f}",
            "·" if took_ms is None else f"{took_ms:,.2f}",
            _bar(after_ms, took_ms, longest),
            Text(process, "faint"),
        )
        for guide, name, note, seq, process, after_ms, took_ms, _ in rows
    ]
    columns = ("step", "position>", "after ms>", "took ms>", "", "process")
    parts: list[RenderableType] = [table(columns, cells)]
    if not told["whole"]:
        text = "Some steps are forgotten by now: of those the log tells the commits."
        parts.append(Text(text, "wary"))
    return Group(*parts)


Branch = tuple[str, str, str, str, str, float, float | None, float]
"""Guide, name, note, position, process, when it began, how long it took, when it ended."""


def _branch(one: Json, guide: str, below: str) -> list[Branch]:
    """The row of a step, and those of the steps within it."""
    seq = "" if one["seq"] is None else str(one["seq"])
    after_ms, took_ms = one["after_ms"], one["took_ms"]
    rows: list[Branch] = [
        (guide, one["name"], one["note"], seq, one["process"], after_ms, took_ms,
         after_ms + (took_ms or 0.0))
    ]  # fmt: skip
    for nth, inner in enumerate(one["steps"], 1):
        last = nth == len(one["steps"])
        rows += _branch(
            inner, below + ("└─ " if last else "├─ "), below + ("   " if last else "│  ")
        )
    return rows


BAR_COLUMNS = 24


def _bar(after_ms: float, took_ms: float | None, longest: float) -> Text:
    """Where a step lies in the whole, which took *longest*."""
    if took_ms is None or not longest:
        return Text("")
    start = min(BAR_COLUMNS - 1, int(after_ms / longest * BAR_COLUMNS))
    width = max(1, min(BAR_COLUMNS - start, round(took_ms / longest * BAR_COLUMNS)))
    return Text(" " * start + "━" * width, "good")

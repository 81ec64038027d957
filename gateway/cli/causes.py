"""`canopy why`: what called for something, what it led to, and which rule refused it."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from rich.console import Group, RenderableType
from rich.text import Text
from rich.tree import Tree

from gateway.cli.call import Call
from gateway.cli.client import Client
from gateway.cli.lookup import names
from gateway.cli.sentences import Names, place
from gateway.cli.terminal import facts, person, plain

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
        return await client.get(f"/api/v1/why/{name}"), await names(client)

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

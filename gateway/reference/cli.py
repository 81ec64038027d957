"""The page of the command line: every command, from the tree that the program itself runs."""

from __future__ import annotations

import re
from collections.abc import Iterator
from enum import EnumType
from typing import Any, Literal, get_args, get_origin

from gateway.cli.app import tree
from gateway.cli.call import PANEL
from gateway.cli.exits import MEANINGS
from gateway.reference.markdown import code, codes, page, paragraph, table
from gateway.reference.shapes import bounds

PROGRAM = "canopy"
NOTED = {"default": "Default", "env var": "From the environment"}
NOTES = re.compile(rf"\[({'|'.join(NOTED)}): ([^\]]+)\]")
"""What some help texts say of themselves, in the manner of the library's own."""


def text() -> str:
    """The page."""
    commands = list(leaves(PROGRAM, tree()))
    return page(
        "Command line",
        "`canopy` speaks to a node through its public API; what needs a node that is stopped takes "
        "`--data`. Answers go to standard output, everything else to standard error.",
        table(("command", "what"), (_line(*one) for one in commands)),
        "## Shared options",
        table(("", "what", "who takes it"), _common(commands)),
        "## How a command ends",
        table(("exit code", "what"), ((code(int(one)), what) for one, what in MEANINGS.items())),
        *(part for name, command in commands for part in _command(name, command)),
    )


def leaves(name: str, group: Any) -> Iterator[tuple[str, Any]]:
    """The commands below *group* that do something themselves, by the words that call them."""
    for word, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from leaves(f"{name} {word}", command)
        elif not command.hidden:
            yield f"{name} {word}", command


def _line(name: str, command: Any) -> tuple[str, str]:
    anchor = name.replace(" ", "-")
    return f"[{code(name)}](#{anchor})", _help(command).partition("\n\n")[0]


def _command(name: str, command: Any) -> Iterator[str]:
    own = [one for one in command.params if not _shared(one)]
    yield f"## `{name}`"
    yield code(" ".join((name, *map(_usage, own))))
    yield _help(command)
    yield _parameters(own)


def _common(commands: list[tuple[str, Any]]) -> Iterator[tuple[str, str, str]]:
    """The options that several of *commands* take, and which of them do."""
    takers: dict[str, tuple[Any, list[str]]] = {}
    for name, command in commands:
        for one in filter(_shared, command.params):
            takers.setdefault(one.name, (one, []))[1].append(name)
    for one, names in takers.values():
        others = [name for name, _ in commands if name not in names]
        yield _spelling(one), _about(one), _who(names, others)


def _who(names: list[str], others: list[str]) -> str:
    """*names*, or all but the *others* when those are fewer."""
    if not others:
        return "every command"
    all_but, few = ("all but ", others) if len(others) < len(names) else ("", names)
    return all_but + codes(name.removeprefix(f"{PROGRAM} ") for name in few)


def _shared(parameter: Any) -> bool:
    """Whether several commands take it."""
    return bool(parameter.rich_help_panel == PANEL)


def _usage(parameter: Any) -> str:
    if _is_argument(parameter):
        name = _argument(parameter)
        return name if parameter.required or name.startswith("[") else f"[{name}]"
    given = parameter.opts[0] + ("" if parameter.is_flag else f" {parameter.name.upper()}")
    return given if parameter.required else f"[{given}]"


def _is_argument(parameter: Any) -> bool:
    return bool(parameter.param_type_name == "argument")


def _argument(parameter: Any) -> str:
    return str(parameter.metavar or parameter.name.upper() + "…" * (parameter.nargs != 1))


def _parameters(parameters: list[Any]) -> str:
    return table(("", "what"), ((_spelling(one), _about(one)) for one in parameters))


def _spelling(parameter: Any) -> str:
    if _is_argument(parameter):
        return code(_argument(parameter).strip("[]…"))
    return codes((*parameter.opts, *parameter.secondary_opts))


def _about(parameter: Any) -> str:
    told = NOTES.findall(parameter.help or "")
    parts = [paragraph(NOTES.sub("", parameter.help or ""))]
    annotation = parameter.type_descriptor.annotation
    if choices := _choices(annotation):
        parts.append(f"One of {codes(choices)}.")
    if within := bounds({"minimum": parameter.min, "maximum": parameter.max}):
        parts.append(f"{within[0].upper()}{within[1:]}.")
    if parameter.show_default and parameter.default:
        told.append(("default", parameter.default))
    if parameter.envvar:
        told.append(("env var", parameter.envvar))
    return " ".join((*parts, *(f"{NOTED[what]}: {code(value)}." for what, value in told)))


def _choices(annotation: Any) -> tuple[str, ...]:
    """The words that may be given; empty when any may."""
    if get_origin(annotation) is list:
        (annotation,) = get_args(annotation)
    if get_origin(annotation) is Literal:
        return get_args(annotation)
    return tuple(annotation) if isinstance(annotation, EnumType) else ()


def _help(command: Any) -> str:
    return paragraph(command.help or "")

"""`canopy sql`: questions over everything one may see, as a table, as JSON, as CSV."""

from __future__ import annotations

import csv
import sys
from typing import Annotated, Any

import orjson
import typer
from rich.console import Group
from rich.markup import escape
from rich.text import Text

from gateway.cli.call import Call
from gateway.cli.client import Client
from gateway.cli.exits import Exit, Failure
from gateway.cli.terminal import line, plain, table

PATH = "/api/v1/sql"


def sql(
    context: typer.Context,
    query: Annotated[
        str,
        typer.Argument(
            metavar="[QUERY]",
            help="One SELECT; - reads it from standard input. Left out: show what can be asked.",
            show_default=False,
        ),
    ] = "",
    words: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[PARAMETER]…",
            help="What stands for $1, $2 and so on: text, whatever it looks like.",
            show_default=False,
        ),
    ] = None,
    parameters: Annotated[
        str | None,
        typer.Option(
            help="All of them as one JSON list instead: '[42, null, \"42\"]'.", show_default=False
        ),
    ] = None,
    as_csv: Annotated[bool, typer.Option("--csv", help="Answer with CSV, a header first.")] = False,
) -> None:
    """Ask in SQL: one SELECT over what you may see.

    A parameter is the text that is typed; `$1::INT` reads a number from it. After `--` it may begin
    with a dash. docs/reference/sql.md has views, columns, functions and limits.
    """
    call = Call.of(context)
    if not query:
        told = call.ask(lambda client: client.get(PATH))
        call.terminal.answer(told, _views(told))
        return
    statement = sys.stdin.read() if query == "-" else query
    if not statement.strip():
        raise Failure(Exit.USAGE, "There is no statement.", 'canopy sql "SELECT * FROM channels"')
    body = {
        "query": statement,
        "parameters": _told(words or [], parameters),
        "at": call.at or None,
    }
    answer = call.ask(lambda client: _asked(client, body))
    _show(call, answer, as_csv=as_csv)


async def _asked(client: Client, body: dict[str, Any]) -> dict[str, Any]:
    return await client.post(PATH, body)


def _told(words: list[str], parameters: str | None) -> Any:
    """What stands for $1, $2 and so on. Raises `Failure`."""
    if parameters is None:
        return words
    if words or not _is_list(parameters):
        raise Failure(
            Exit.USAGE, "--parameters takes all of them, as one JSON list.",
            "canopy sql QUERY --parameters '[42, null, \"42\"]'",
        )  # fmt: skip
    return orjson.Fragment(parameters)  # As it stands: a number keeps all its digits.


def _is_list(text: str) -> bool:
    try:
        return isinstance(orjson.loads(text), list)
    except orjson.JSONDecodeError:
        return False


def _show(call: Call, answer: dict[str, Any], *, as_csv: bool) -> None:
    names = [column["name"] for column in answer["columns"]]
    if call.json:
        line(answer)
    elif as_csv:
        writer = csv.writer(sys.stdout, lineterminator="\n")
        writer.writerow(names)
        writer.writerows([[_cell(value, null="") for value in row] for row in answer["rows"]])
    else:
        rows = [[Text(plain(_cell(value, null="∅"))) for value in row] for row in answer["rows"]]
        count = len(rows)
        told = f"{count:,} row{'' if count == 1 else 's'} at position {answer['position']:,}"
        call.terminal.answer(
            answer, Group(table([escape(plain(name)) for name in names], rows), Text(told, "faint"))
        )
    if answer["truncated"]:
        call.terminal.warn("There are more rows than an answer may hold: add LIMIT or WHERE.")


def _cell(value: Any, null: str) -> str:
    match value:
        case None:
            return null
        case str():
            return value
        case bool():
            return str(value).lower()
        case int() | float():
            return str(value)
    return orjson.dumps(value).decode()


def _views(told: dict[str, Any]) -> Group:
    parts: list[Any] = []
    for view in told["views"]:
        parts += [Text(view["name"], "heading"), Text(view["about"], "faint")]
        columns = [[one["name"], one["type"], one["about"]] for one in view["columns"]]
        parts += [table(("column", "type", ""), columns), ""]
    return Group(*parts)

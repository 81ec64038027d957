"""`canopy log`, `canopy tap`, `canopy replay`: the log as it was, as it is, and as it comes in."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

import orjson
import typer
from rich.console import Group
from rich.text import Text

from gateway.cli import history
from gateway.cli.call import Call
from gateway.cli.client import Client
from gateway.cli.filters import Filter
from gateway.cli.following import Following
from gateway.cli.lines import Lines
from gateway.cli.lookup import complete_filter, names
from gateway.cli.points import just_before, last_at
from gateway.cli.sentences import Frame, Names
from gateway.cli.terminal import Terminal, facts, line, plain

app = typer.Typer(no_args_is_help=True)

Words = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="FILTER",
        help="A noun (message), a kind (message_posted), @author, or a channel's name.",
        show_default=False,
        autocompletion=complete_filter,
    ),
]
After = Annotated[
    int | None, typer.Option(min=0, help="Begin after this position.", show_default=False)
]


@app.command("list")
def list_commits(
    context: typer.Context,
    words: Words = None,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, help="How many commits.")] = 20,
    after: After = None,
    before: Annotated[
        int | None, typer.Option(min=1, help="End before this position.", show_default=False)
    ] = None,
    cause: Annotated[str, typer.Option(help="Only what this command caused.")] = "",
) -> None:
    """Show the last commits, or those after a position; the newest stands last."""
    call = Call.of(context)

    async def talk(client: Client) -> tuple[list[Frame], Names]:
        known = await names(client)
        wanted = Filter.of(words or (), known)
        if after is None:
            source = history.backward(client, wanted, before, cause)
        else:
            source = history.forward(client, wanted, after, before and before - 1, cause)
        found = [frame async for frame in history.first(source, limit)]
        return (found if after is not None else found[::-1]), known

    frames, known = call.ask(talk)
    lines = Lines(known, call.terminal.out)
    shown = [line for frame in frames for line in lines.of(frame)]
    call.terminal.answer({"commits": frames}, Group(*shown) if shown else Text("Nothing.", "faint"))


@app.command("show")
def show_commit(
    context: typer.Context, seq: Annotated[int, typer.Argument(min=1, help="The position.")]
) -> None:
    """Show one commit with its whole header and the data of its events."""
    call = Call.of(context)

    async def talk(client: Client) -> tuple[dict[str, Any], Names]:
        return await client.get(f"/api/v1/log/{seq}"), await names(client)

    commit, known = call.ask(talk)
    call.terminal.answer(commit, _commit(commit, known))


def _commit(commit: dict[str, Any], known: Names) -> Group:
    header = [
        ("position", str(commit["seq"])),
        ("aggregate", f"{commit['noun']} {commit['id']}"),
        ("time", commit["time"]),
        ("author", f"{plain(known.account(commit['author']))}  {commit['author']}"),
        *(
            (name, str(commit[name]))
            for name in ("origin", "commit", "cause", "parent", "correlation", "clock", "digest")
            if commit[name]
        ),
        ("bytes", f"{commit['payload_bytes']:,}"),
    ]
    if commit["traceparent"]:
        header.append(("trace", commit["traceparent"]))
    parts: list[Any] = [facts(header)]
    for event in commit["events"]:
        data = orjson.dumps(event["data"], option=orjson.OPT_INDENT_2).decode()
        parts += ["", Text(event["kind"], "heading"), Text(plain(data, keep_lines=True))]
    return Group(*parts)


def tap(
    context: typer.Context,
    words: Words = None,
    after: After = None,
    last: Annotated[
        int, typer.Option("--last", "-n", min=0, help="Begin with so many earlier commits.")
    ] = 0,
    count: Annotated[int, typer.Option(min=0, help="Stop after so many; 0 goes on for ever.")] = 0,
) -> None:
    """Show what happens as it happens, until Ctrl-C; with --json one commit a line."""
    call = Call.of(context)

    async def talk(client: Client) -> None:
        known = await names(client)
        wanted = Filter.of(words or (), known)
        start = (
            after if after is not None or not last else max(0, await history.head(client) - last)
        )
        following = Following(client, wanted, start, call.terminal.warn)
        if call.terminal.out.is_terminal and not call.json:
            call.terminal.err.print(Text(f"Following {call.url} · Ctrl-C ends", "faint"))
        show = _shower(known, call.terminal)
        async for frame in history.first(following.frames(), count):
            show(frame)

    call.ask(talk)


def replay(
    context: typer.Context,
    words: Words = None,
    start: Annotated[
        str, typer.Option("--from", help="A position, a time, or how long ago (2h).")
    ] = "0",
    end: Annotated[
        str, typer.Option("--to", help="The same; left out: now.", show_default=False)
    ] = "",
    speed: Annotated[
        float, typer.Option(min=0, help="1 is the pace of then; 0 does not wait.")
    ] = 0,
    pause: Annotated[
        float, typer.Option(min=0, help="No pause is longer than so many seconds.")
    ] = 3,
) -> None:
    """Show what happened, from one point of the log to another, at its own pace or faster."""
    call = Call.of(context)

    async def talk(client: Client) -> None:
        known = await names(client)
        wanted = Filter.of(words or (), known)
        now = await history.head(client)
        after = await just_before(client, start, now)
        until = await last_at(client, end, now) if end else now
        source = history.forward(client, wanted, after, until)
        show = _shower(known, call.terminal)
        async for frame in history.paced(source, speed, pause):
            show(frame)

    call.ask(talk)


def _shower(known: Names, terminal: Terminal) -> Callable[[Frame], None]:
    """What prints one commit as it passes."""
    lines = Lines(known, terminal.out)

    def show(frame: Frame) -> None:
        if terminal.json:
            line(frame)
            return
        for text in lines.of(frame):
            terminal.out.print(text, soft_wrap=True)

    return show

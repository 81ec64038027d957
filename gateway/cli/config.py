"""`canopy config`: which settings there are, what they are now, and who set them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.text import Text

from gateway.cli.call import Call
from gateway.cli.exits import Exit, Failure
from gateway.cli.terminal import facts, table
from schemas.configuration import (
    DEFAULT,
    Configuration,
    Explanation,
    Misconfigured,
    default_file,
    load,
)
from schemas.settings import Settings

app = typer.Typer(no_args_is_help=True)

Data = Annotated[
    Path | None,
    typer.Option(
        "--data",
        help="The data directory of the node; or CANOPY_DATA.",
        file_okay=False,
        show_default=False,
    ),
]
File = Annotated[
    Path | None,
    typer.Option(
        "--config",
        help="The configuration file; or CANOPY_CONFIG.",
        dir_okay=False,
        show_default=False,
    ),
]


def configured(file: Path | None = None, **flags: Any) -> Configuration:
    """The configuration that this command runs with. Raises `Failure` when it cannot be used."""
    try:
        return load(flags, file=file)
    except Misconfigured as error:
        remedy = "`canopy config show` lists the settings, `canopy config explain KEY` one of them."
        raise Failure(Exit.USAGE, str(error), remedy, "misconfigured") from error


def complete_key(incomplete: str) -> list[str]:
    """The settings whose names begin so."""
    return [key for key in Settings.model_fields if key.startswith(incomplete)]


@app.command()
def show(
    context: typer.Context,
    data: Data = None,
    config: File = None,
    changed: Annotated[bool, typer.Option(help="Only what somebody has set.")] = False,
) -> None:
    """Show all settings, their values, and who set them."""
    call, configuration = Call.of(context), configured(config, data_directory=data)
    explained = [configuration.explain(key) for key in Settings.model_fields]
    wanted = [one for one in explained if not changed or one.source != DEFAULT]
    rows = [(one.key, _value(one), Text(one.unit, "faint"), _source(one)) for one in wanted]
    shown = table(("setting", "value", "unit", "set by"), rows, "Nothing is set; all is default.")
    call.terminal.answer({one.key: _as_json(one) for one in wanted}, shown)


@app.command()
def explain(
    context: typer.Context,
    key: Annotated[str, typer.Argument(help="The setting.", autocompletion=complete_key)],
    data: Data = None,
    config: File = None,
) -> None:
    """Say what one setting does, what it is now, and who set it."""
    call, configuration = Call.of(context), configured(config, data_directory=data)
    try:
        one = configuration.explain(key.lower())
    except Misconfigured as error:
        raise Failure(Exit.USAGE, str(error), "canopy config show", "unknown_setting") from error
    shown = facts(
        [
            (one.key, one.description),
            ("value", _value(one)),
            ("unit", one.unit),
            ("set by", _source(one)),
            ("default", one.default or "unset"),
            (
                "change it",
                Text(f"CANOPY_{one.key.upper()}=…  or  {one.key} = …  in {_file(configuration)}"),
            ),
        ]
    )
    call.terminal.answer({"key": one.key, **_as_json(one)}, shown)


@app.command()
def path(context: typer.Context, config: File = None) -> None:
    """Say where the configuration file and the data directory are."""
    call, configuration = Call.of(context), configured(config)
    file, there = _file(configuration), configuration.file is not None
    data = configuration.settings.data_directory
    shown = facts(
        [
            (
                "configuration",
                f"{file}" if there else Text.assemble(str(file), (" (not there)", "faint")),
            ),
            ("data", str(data)),
        ]
    )
    call.terminal.answer({"config": str(file), "exists": there, "data": str(data)}, shown)


def _file(configuration: Configuration) -> Path:
    return configuration.file or default_file()


def _value(one: Explanation) -> Text:
    if not one.value:
        return Text("unset", "faint")
    return Text(one.value, "" if one.source == DEFAULT else "good")


def _source(one: Explanation) -> Text:
    return Text(one.source, "faint" if one.source == DEFAULT else "")


def _as_json(one: Explanation) -> dict[str, Any]:
    return {
        "value": one.value,
        "source": one.source,
        "default": one.default,
        "unit": one.unit,
        "description": one.description,
    }

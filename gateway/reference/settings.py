"""The page of the settings."""

from __future__ import annotations

from typing import Any

from gateway.reference.markdown import code, codes, page, table
from gateway.reference.shapes import bounds
from schemas.configuration import CONFIG, OTHERS, PREFIX, SHORT
from schemas.settings import GIB, KIB, MIB, Settings

MADE = {"data_directory": "the user's data directory, `canopy` in it"}
"""Defaults that depend on the machine."""


def text() -> str:
    """The page."""
    return page(
        "Settings",
        "A setting is taken from the first of these that names it: a flag of the command line, the "
        f"environment (`{PREFIX}` and its name in upper case), the configuration file (TOML, one "
        "key each), its default. Lists are parted by commas in the environment. An empty variable "
        "counts as unset.",
        f"The file is `canopy.toml` in the user's configuration directory, or what `{CONFIG}` "
        "names. `canopy config explain KEY` says what a setting is here, and who set it.",
        _table(),
        "## Variables that are no settings",
        table(
            ("variable", "what"),
            (
                *(
                    (code(name), f"short for `{PREFIX}{key.upper()}`")
                    for name, key in SHORT.items()
                ),
                *((code(name), _OTHERS[name]) for name in sorted(OTHERS)),
            ),
        ),
    )


_OTHERS = {
    CONFIG: "the configuration file",
    "CANOPY_URL": "the node that the command line speaks to",
    "CANOPY_API_KEY": "the API key that the command line shows",
    "CANOPY_BACKUP_PASSPHRASE": "the passphrase of the keys in a backup",
    "CANOPY_FAULT": "where a process under test dies, as `<kill point>:<nth time>`",
    "CANOPY_PASSWORD": "a password, for commands that would ask for one",
}


def _table() -> str:
    shape = Settings.model_json_schema()
    return table(
        ("setting", "default", "unit", "bounds", "what for"),
        (
            (code(name), _default(name), _unit(name, part), _bounds(part), part["description"])
            for name, part in shape["properties"].items()
        ),
    )


def _default(name: str) -> str:
    field = Settings.model_fields[name]
    if field.default_factory is not None:
        return MADE[name]
    match field.default:
        case None:
            return "unset"
        case "" | ():
            return "empty"
        case bool() as flag:
            return code(str(flag).lower())
        case value:
            return code(value)


def _unit(name: str, part: dict[str, Any]) -> str:
    default = Settings.model_fields[name].default
    if part["unit"] == "bytes" and default:
        return f"bytes ({_size(default)})"
    return str(part["unit"])


def _bounds(part: dict[str, Any]) -> str:
    if "enum" in part:
        return codes(part["enum"])
    return bounds(part) if part.get("type") in ("integer", "number") else ""


def _size(count: int) -> str:
    factor, name = next((f, n) for f, n in ((GIB, "GiB"), (MIB, "MiB"), (KIB, "KiB")) if count >= f)
    return f"{count // factor} {name}"

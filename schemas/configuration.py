"""Where the settings come from: file under environment under flags, and which of them spoke.

A knob nobody set is *unset* and takes its default; setting it to the default is still setting it,
and `explain` tells the two apart. An empty environment variable counts as unset, because that is
how containers spell "nothing". Commas separate the items of a list.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import platformdirs
from pydantic import SecretStr, ValidationError

from schemas.servers import redacted
from schemas.settings import Settings

PREFIX = "CANOPY_"
CONFIG = "CANOPY_CONFIG"
SHORT = {"CANOPY_DATA": "data_directory"}
"""Variables with a name of their own; the full one (`CANOPY_DATA_DIRECTORY`) wins."""
OTHERS = frozenset(
    {
        CONFIG, "CANOPY_URL", "CANOPY_API_KEY", "CANOPY_PASSWORD", "CANOPY_BACKUP_PASSPHRASE",
        "CANOPY_FAULT",
    }
)  # fmt: skip
"""Variables that speak to the command line and to tests, and are no settings."""
DEFAULT = "default"
URLS = ("URL", "URLs")
"""The units of what may hold a password."""


class Misconfigured(ValueError):
    """The configuration cannot be used: which knob, who set it, and what to do instead."""


@dataclass(frozen=True, slots=True)
class Explanation:
    """One knob. `source` is a file's path, a variable's name, a flag or `default`."""

    key: str
    value: str
    source: str
    default: str
    unit: str
    description: str


@dataclass(frozen=True, slots=True)
class Configuration:
    """The settings, and for each knob that was set, who set it.

    `file` is the configuration file that was read, or None. `strangers` are environment variables
    that look like ours and name no knob (worth a warning: probably misspelt).
    """

    settings: Settings
    sources: Mapping[str, str]
    file: Path | None
    strangers: tuple[str, ...] = ()

    def explain(self, key: str) -> Explanation:
        """What *key* is, and why. Raises `Misconfigured` for a key that does not exist."""
        if key not in Settings.model_fields:
            raise Misconfigured(_unknown(key, "explain"))
        field = Settings.model_fields[key]
        extra = field.json_schema_extra if isinstance(field.json_schema_extra, dict) else {}
        value = _text(getattr(self.settings, key))
        return Explanation(
            key=key,
            value=redacted(value) if extra["unit"] in URLS else value,
            source=self.sources.get(key, DEFAULT),
            default=_text(field.get_default(call_default_factory=True)),
            unit=str(extra["unit"]),
            description=field.description or "",
        )


def load(
    flags: Mapping[str, object] | None = None,
    environ: Mapping[str, str] | None = None,
    file: Path | None = None,
) -> Configuration:
    """The configuration that flags over environment over file over defaults amount to.

    A flag that is None was not given. *file* (or $CANOPY_CONFIG) must exist when it is named; the
    usual place, `canopy.toml` in the user's configuration directory, may be empty.
    Raises `Misconfigured`.
    """
    environ = os.environ if environ is None else environ
    path = _file(file, environ)
    values: dict[str, object] = {}
    sources: dict[str, str] = {}
    for key, value, source in (
        *_from_file(path),
        *_from_environment(environ),
        *_from_flags(flags or {}),
    ):
        if key not in Settings.model_fields:
            raise Misconfigured(_unknown(key, source))
        values[key], sources[key] = value, source
    try:
        settings = Settings(**values)  # type: ignore[arg-type]  # bytes become models here
    except ValidationError as error:
        raise Misconfigured(_invalid(error, sources)) from None
    return Configuration(settings, sources, path, _strangers(environ))


def default_file() -> Path:
    """Where the configuration file lies when nobody names one."""
    return platformdirs.user_config_path("canopy") / "canopy.toml"


def _file(file: Path | None, environ: Mapping[str, str]) -> Path | None:
    named = file or (Path(environ[CONFIG]) if environ.get(CONFIG) else None)
    if named is None:
        usual = default_file()
        return usual if usual.is_file() else None
    if not named.is_file():
        raise Misconfigured(f"There is no configuration file {named}.")
    return named


def _from_file(path: Path | None) -> list[tuple[str, object, str]]:
    if path is None:
        return []
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as error:
        raise Misconfigured(f"{path} cannot be read as TOML: {error}") from error
    return [(key, value, str(path)) for key, value in table.items()]


def _from_environment(environ: Mapping[str, str]) -> list[tuple[str, object, str]]:
    found: list[tuple[str, object, str]] = []
    names = SHORT | {PREFIX + key.upper(): key for key in Settings.model_fields}
    for name, key in names.items():
        field = Settings.model_fields[key]
        text = environ.get(name, "").strip()
        if not text:
            continue
        listed = field.annotation == tuple[str, ...]
        value = tuple(filter(None, map(str.strip, text.split(",")))) if listed else text
        found.append((key, value, name))
    return found


def _from_flags(flags: Mapping[str, object]) -> list[tuple[str, object, str]]:
    return [
        (key, value, "--" + key.replace("_", "-"))
        for key, value in flags.items()
        if value is not None
    ]


def _strangers(environ: Mapping[str, str]) -> tuple[str, ...]:
    known = {PREFIX + key.upper() for key in Settings.model_fields} | SHORT.keys() | OTHERS
    return tuple(sorted(n for n in environ if n.startswith(PREFIX) and n not in known))


def _unknown(key: str, source: str) -> str:
    near = get_close_matches(key, Settings.model_fields, n=1)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    return f"{source}: there is no setting {key!r}.{hint}"


def _invalid(error: ValidationError, sources: Mapping[str, str]) -> str:
    """One line per wrong knob; never its value, which might be a secret."""
    lines = []
    for fault in error.errors(include_input=False, include_url=False):
        key = str(fault["loc"][0])
        lines.append(f"{sources.get(key, DEFAULT)}: {key}: {fault['msg']}")
    return "\n".join(lines)


def _text(value: Any) -> str:
    match value:
        case None:
            return ""
        case bool():
            return "true" if value else "false"
        case tuple():
            return ",".join(map(str, value))
        case SecretStr():
            return "********"
        case _:
            return str(value)

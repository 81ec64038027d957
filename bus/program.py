"""The nats-server program: which one is run, and whether it may open the log that is there.

A server that is too old damages in passing what a newer one wrote: 2.10 takes away what makes the
stream of 2.15 the same stream. So it is asked for its version before it is started, not after.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sysconfig
from pathlib import Path

from bus.files import written
from schemas.settings import Settings

Version = tuple[int, int, int]

VERSION_MIN: Version = (2, 15, 1)
"""Earlier servers did not sync every block under `sync_interval: always` (ADR 0003)."""
KEPT = "version"
"""The file, beside the log, with the version of the server that was last started on it."""
ASK_S = 10.0
NUMBER = re.compile(r"(\d+)\.(\d+)\.(\d+)")


class BrokerUnusable(Exception):
    """The broker does not start; the text says why and what to do."""


def binary(settings: Settings) -> str:
    """The nats-server program: the configured one, else that of our wheel, else one on the PATH."""
    bundled = Path(sysconfig.get_path("scripts"), "nats-server")
    for candidate in (settings.nats_server, str(bundled), "nats-server"):
        found = shutil.which(candidate) if candidate else None
        if found:
            return found
        if candidate and candidate == settings.nats_server:
            raise BrokerUnusable(f"nats_server: there is no program {candidate}")
    raise BrokerUnusable("There is no nats-server: run make setup, or set CANOPY_NATS_SERVER.")


def fitting(settings: Settings, directory: Path) -> str:
    """The program, which may open the store in *directory* and is noted there. Blocks.

    Raises `BrokerUnusable` for one that is older than Canopy needs, or of an earlier series (2.15,
    2.16 …) than the one that was last started there.
    """
    program = binary(settings)
    own = version(program)
    remedy = "run make setup, or name a newer one in CANOPY_NATS_SERVER"
    if own < VERSION_MIN:
        raise BrokerUnusable(
            f"{program} is nats-server {dotted(own)} and {dotted(VERSION_MIN)} is needed; it was "
            f"not started, and has touched nothing: {remedy}"
        )
    note = directory / KEPT
    before = _kept(note) or own
    if own[:2] < before[:2]:
        raise BrokerUnusable(
            f"{program} is nats-server {dotted(own)}, and {dotted(before)} has written this log; "
            f"it was not started, and has touched nothing: {remedy}"
        )
    if own != before or not note.exists():
        written(note, dotted(own))
    return program


def _kept(note: Path) -> Version | None:
    """The version that is noted; None before the first start."""
    try:
        return numbered(note.read_text("ascii"))
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise BrokerUnusable(f"{note} is damaged: remove it") from error


def version(program: str) -> Version:
    """What *program* says it is. Blocks. Raises `BrokerUnusable` when it does not say."""
    try:
        told = subprocess.run(  # noqa: S603  # the program that the node is about to run
            [program, "-v"], capture_output=True, text=True, timeout=ASK_S, check=True
        )
        return numbered(told.stdout)
    except (OSError, subprocess.SubprocessError, ValueError) as error:
        raise BrokerUnusable(f"{program} does not say its version: {error}") from error


def numbered(text: str) -> Version:
    """The first version in *text*, as numbers; what follows a hyphen is left out. Raises ValueError
    where there is none."""
    found = NUMBER.search(text)
    if found is None:
        raise ValueError(f"{text!r} is no version")
    return int(found[1]), int(found[2]), int(found[3])


def dotted(version_: Version) -> str:
    """As people write it."""
    return ".".join(map(str, version_))

"""What `canopy export` and its kin do, and how their ends are told.

Apart from `archive.py` because it brings in everything that a node is made of.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from errno import EDQUOT, ENOSPC
from pathlib import Path
from typing import Any, TypeVar

from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from actors.archive import Archive
from actors.archive_files import Damaged, Taken, opened
from actors.archive_manifest import Manifest, Unsuitable
from actors.projection_file import Poison
from bus.alarm import Broken
from bus.crypto.content import Unsealable
from bus.crypto.passphrase import PassphraseWrong
from bus.faults import arm
from bus.log import Missing, Unstored
from bus.marks import MarksDamaged
from gateway import backup as taking
from gateway import restore as restoring
from gateway.cli.exits import Exit, Failure
from gateway.cli.running import journaled
from gateway.cli.terminal import Terminal
from schemas.settings import Settings

Result = TypeVar("Result")
Work = Callable[[taking.Progress], Coroutine[Any, Any, Result]]


def export(settings: Settings, path: Path, terminal: Terminal) -> dict[str, Any]:
    """What was written into *path*. Raises `Failure`."""
    _require_elsewhere(settings, path)
    manifest = _shown(
        lambda progress: taking.export(settings, path, progress), "copying", settings, terminal
    )
    return _told(path, manifest)


def backup(settings: Settings, path: Path, terminal: Terminal, seal: str | None) -> dict[str, Any]:
    """What was written into *path*; with the keys, sealed under *seal*. Raises `Failure`."""
    _require_elsewhere(settings, path)
    manifest = _shown(
        lambda told: taking.backup(settings, path, told, seal), "copying", settings, terminal
    )
    return _told(path, manifest)


def _require_elsewhere(settings: Settings, path: Path) -> None:
    """Raises `Failure` where a copy would be lost together with what it is a copy of."""
    data = settings.data_directory
    if path.resolve().is_relative_to(data.resolve()):
        problem = f"{path} lies in {data}, the node's own data directory."
        remedy = "Name a place elsewhere, best on another disk."
        raise Failure(Exit.USAGE, problem, remedy, "within_data")


def prove(settings: Settings, path: Path, terminal: Terminal, unseal: str | None) -> dict[str, Any]:
    """What the archive at *path* is, all of which was proven. Raises `Failure`."""
    proven = _shown(
        lambda told: restoring.prove(settings, path, told, unseal), "proving", settings, terminal
    )
    return _proven(path, settings, proven)


def restore(
    settings: Settings, path: Path, terminal: Terminal, wish: restoring.Wish
) -> dict[str, Any]:
    """What was made of the archive at *path*. Raises `Failure`."""
    proven = _shown(
        lambda told: restoring.restore(settings, path, told, wish), "restoring", settings, terminal
    )
    return _proven(path, settings, proven)


def has_keys(path: Path, settings: Settings) -> bool:
    """Whether sealed keys came along with the archive at *path*. Raises `Failure`."""
    with _ends(settings), opened(path) as files:
        return Archive(files).manifest.keys is not None


def _proven(path: Path, settings: Settings, proven: restoring.Proven) -> dict[str, Any]:
    return _told(path, proven.manifest) | {
        "compared": proven.compared,
        "restored": proven.node,
        "data": str(settings.data_directory) if proven.node else "",
    }


def _told(path: Path, manifest: Manifest) -> dict[str, Any]:
    files = path.iterdir() if path.is_dir() else (path,)
    return {
        "path": str(path),
        "node": manifest.node,
        "last": manifest.last,
        "events": manifest.events,
        "chain": manifest.chain,
        "bytes": sum(one.stat().st_size for one in files),
        "keys": manifest.keys is not None,
    }


def _shown(work: Work[Result], what: str, settings: Settings, terminal: Terminal) -> Result:
    """What comes of *work*, whose progress is shown on a terminal. Raises `Failure`."""
    bar = Progress(
        TextColumn("{task.description}"), BarColumn(), TextColumn("{task.completed:,} commits"),
        TimeRemainingColumn(), console=terminal.err, transient=True,
        disable=terminal.json or not terminal.err.is_terminal,
    )  # fmt: skip
    arm(os.environ)
    with _ends(settings), bar:
        task = bar.add_task(what, total=None)
        return asyncio.run(work(lambda done, total: bar.update(task, completed=done, total=total)))


@contextmanager
def _ends(settings: Settings) -> Iterator[None]:
    """What keeps an archive from being made or used, told as a `Failure`."""
    try:
        with journaled(settings), _disk():
            yield
    except Taken as error:
        raise Failure(Exit.NO, f"{error}.", "", "taken") from error
    except taking.NoRoom as error:
        raise Failure(Exit.NO, str(error), "Make room, or write elsewhere.", "disk_full") from error
    except (Broken, MarksDamaged, Missing) as error:
        remedy = "Keep this directory aside, and restore your last backup into another one."
        raise Failure(Exit.NO, f"Not copied: {error}.", remedy, "log_damaged") from error
    except Damaged as error:
        remedy = "Nothing was kept of it. Take another copy; `canopy verify` proves the node's own."
        raise Failure(Exit.NO, f"{error}.", remedy, "damaged") from error
    except PassphraseWrong as error:
        remedy = "Try another; without one, --without-keys restores what needs no key."
        raise Failure(
            Exit.NO, "The passphrase does not open the keys in it.", remedy, "passphrase_wrong"
        ) from error
    except Unsealable as error:
        text = f"The keys in it cannot be opened: {error}."
        remedy = "Take another backup; of this one, --without-keys restores what needs no key."
        raise Failure(Exit.NO, text, remedy, "damaged") from error
    except Poison as error:
        remedy = "This version of Canopy cannot read it: `canopy verify` on the node it came from."
        raise Failure(Exit.NO, f"{error}.", remedy, "damaged") from error
    except Unstored as error:
        raise Failure(Exit.UNAVAILABLE, f"{error}.", "Run the same again.", "unstored") from error
    except Unsuitable as error:
        raise Failure(Exit.NO, f"It cannot be used: {error}.", "", "unsuitable") from error


@contextmanager
def _disk() -> Iterator[None]:
    """What a disk refuses, told of as that: a full one as one that would be, the rest by name."""
    try:
        yield
    except (ConnectionError, TimeoutError):
        raise
    except OSError as error:
        if error.errno in (ENOSPC, EDQUOT):
            text = f"The disk is full: {error.strerror}. Nothing was kept."
            raise taking.NoRoom(text) from error
        where = f"{error.filename}: " if error.filename else ""
        remedy = "Make it readable and writable for you, or name another place."
        raise Failure(Exit.NO, f"{where}{error.strerror}.", remedy, "disk_refused") from error

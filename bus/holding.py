"""One node per data directory: who holds it, and until when.

The kernel's lock on `canopy.lock` is the truth and dies with its holder, however that ends; what
stands in the file only tells the next one whom to look for.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

FILE = "canopy.lock"


@dataclass(frozen=True, slots=True)
class Holder:
    """The process that holds a data directory. `started` is ISO 8601 in UTC, `url` its gateway."""

    pid: int
    started: str
    url: str = ""


class Held(Exception):
    """Another node runs on this data directory. `holder` is None when it has not said who it is."""

    def __init__(self, directory: Path, holder: Holder | None) -> None:
        who = f"pid {holder.pid}, since {holder.started}" if holder else "a node just starting"
        where = f", at {holder.url}" if holder and holder.url else ""
        super().__init__(f"{directory} is in use by another Canopy ({who}{where}).")
        self.holder = holder


class Holding:
    """A held data directory."""

    def __init__(self, descriptor: int, started: str) -> None:
        self._descriptor = descriptor
        self._started = started

    def announce(self, url: str) -> None:
        """Let others know where this node can be reached."""
        text = json.dumps(asdict(Holder(os.getpid(), self._started, url))).encode()
        os.ftruncate(self._descriptor, 0)
        os.pwrite(self._descriptor, text, 0)


@contextmanager
def hold(directory: Path, started: str, url: str = "") -> Iterator[Holding]:
    """*directory* belongs to this process until the block ends. Raises `Held`."""
    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    if directory.stat().st_uid == os.geteuid():
        directory.chmod(0o700)  # Somebody may have made it beforehand, open to others.
    descriptor = os.open(directory / FILE, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise Held(directory, _told(descriptor)) from error
        holding = Holding(descriptor, started)
        holding.announce(url)
        yield holding
    finally:
        os.close(descriptor)


def holder(directory: Path) -> Holder | None:
    """Who holds *directory* at this moment, or None when nobody does (or nobody who says)."""
    try:
        descriptor = os.open(directory / FILE, os.O_RDONLY)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return _told(descriptor)
    else:
        return None
    finally:
        os.close(descriptor)


def _told(descriptor: int) -> Holder | None:
    try:
        return Holder(**json.loads(os.pread(descriptor, 4096, 0)))
    except (ValueError, TypeError):
        return None  # The holder is about to write it.

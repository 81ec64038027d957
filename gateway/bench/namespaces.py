"""Machines that are none: network namespaces on one bridge, for root on Linux.

Each has an address of its own and one cable to the bridge, which can be pulled; or it can be made
deaf to its like and still be heard by everybody else.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from random import SystemRandom
from typing import ClassVar

TOOL_S = 20.0
CHANCE = SystemRandom()


class NoNamespaces(Exception):
    """There can be no machines here; the text says what is missing."""

    remedy: ClassVar[str] = "Run this as root on Linux, with iproute2."


@dataclass(frozen=True)
class Machine:
    """One namespace. Its methods block."""

    name: str
    address: str
    cable: str

    def within(self, *words: str) -> list[str]:
        """The command line that runs *words* there; it becomes that process itself."""
        return ["ip", "netns", "exec", self.name, *words]

    def pull(self) -> None:
        """Nothing comes in or goes out, and nobody is told."""
        _ip("link", "set", self.cable, "down")

    def plug(self) -> None:
        _ip("link", "set", self.cable, "up")

    def deafen(self, *others: Machine) -> None:
        """It can say nothing to *others* any more."""
        for other in others:
            _ip("-n", self.name, "route", "replace", "blackhole", f"{other.address}/32")

    def heal(self, *others: Machine) -> None:
        for other in others:
            _ip("-n", self.name, "route", "del", "blackhole", f"{other.address}/32")


@contextmanager
def machines(count: int) -> Iterator[tuple[Machine, ...]]:
    """*count* machines that reach each other and us. Blocks. Raises `NoNamespaces`."""
    if os.geteuid() != 0 or shutil.which("ip") is None:
        raise NoNamespaces("network namespaces need root and the program ip")
    token = f"{CHANCE.randrange(1 << 24):06x}"
    net = f"10.{CHANCE.randrange(64, 255)}.{CHANCE.randrange(255)}"
    bridge = f"cb{token}"
    made = tuple(
        Machine(f"canopy-{token}-{nth}", f"{net}.{nth}", f"cv{token}{nth}")
        for nth in range(1, count + 1)
    )
    try:
        _ip("link", "add", bridge, "type", "bridge")
        _ip("addr", "add", f"{net}.254/24", "dev", bridge)
        _ip("link", "set", bridge, "up")
        for machine in made:
            _connect(machine, bridge)
        yield made
    finally:
        for machine in made:
            _ip("netns", "del", machine.name, check=False)
            _ip("link", "del", machine.cable, check=False)
        _ip("link", "del", bridge, check=False)


def _connect(machine: Machine, bridge: str) -> None:
    name = machine.name
    _ip("netns", "add", name)
    _ip("link", "add", machine.cable, "type", "veth", "peer", "name", "eth0", "netns", name)
    _ip("link", "set", machine.cable, "master", bridge, "up")
    _ip("-n", name, "addr", "add", f"{machine.address}/24", "dev", "eth0")
    for link in ("lo", "eth0"):
        _ip("-n", name, "link", "set", link, "up")


def _ip(*words: str, check: bool = True) -> None:
    try:
        subprocess.run(  # noqa: S603 - constant words and names of our own
            ["ip", *words],  # noqa: S607 - wherever the system has it
            check=check,
            capture_output=True,
            timeout=TOOL_S,
        )
    except subprocess.CalledProcessError as error:
        raise NoNamespaces(f"ip {' '.join(words)}: {error.stderr.decode().strip()}") from error

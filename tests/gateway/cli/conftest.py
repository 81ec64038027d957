"""A real node in a process of its own, and a hand that types commands against it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import structlog

from gateway.cli.app import main

CANOPY = str(Path(sys.executable).with_name("canopy"))
PASSWORD = "Correct-horse-7"
READY_S = 20.0
STOP_S = 10.0


@dataclass(frozen=True)
class Said:
    """What a command has answered."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """The answer of a command with --json."""
        return json.loads(self.out)

    @property
    def lines(self) -> list[Any]:
        """The answer of a command that says one thing a line."""
        return [json.loads(line) for line in self.out.splitlines()]


Type = Callable[..., Said]


def environment(directory: Path, **more: str) -> dict[str, str]:
    """That of the tests, without any of ours but *more*; configuration below *directory*."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("CANOPY_")}
    return kept | {"XDG_CONFIG_HOME": str(directory / "config"), "NO_COLOR": "1"} | more


@dataclass
class Node:
    """A running `canopy up`."""

    process: subprocess.Popen[str]
    directory: Path
    told: dict[str, Any]

    @property
    def url(self) -> str:
        return str(self.told["url"])

    def stop(self) -> Said:
        """What it says when Ctrl-C ends it."""
        self.process.send_signal(signal.SIGINT)
        out, err = self.process.communicate(timeout=STOP_S)
        return Said(self.process.returncode, out, err)


def started(directory: Path, *words: str) -> Node:
    """`canopy up` on *directory*, once it answers."""
    process = subprocess.Popen(
        [CANOPY, "up", "--json", "--data", str(directory), "--port", "0", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(directory.parent),
    )
    assert process.stdout is not None
    line = process.stdout.readline()
    if not line:
        raise AssertionError(process.communicate(timeout=STOP_S)[1])
    return Node(process, directory, json.loads(line))


def ended(node: Node) -> None:
    """The node has stopped, however."""
    if node.process.poll() is None:
        node.process.terminate()
    node.process.communicate(timeout=STOP_S)


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    """A node that the tests of one module share."""
    running = started(tmp_path_factory.mktemp("cli") / "data")
    yield running
    ended(running)


@pytest.fixture
def type_in(capsys: pytest.CaptureFixture[str]) -> Type:
    """Types one command into this very process."""

    def typed(*words: str) -> Said:
        capsys.readouterr()
        with pytest.raises(SystemExit) as ending:
            main(words)
        out, err = capsys.readouterr()
        structlog.reset_defaults()  # Its journal went to an error stream that ends with the test.
        return Said(int(ending.value.code or 0), out, err)

    return typed


@pytest.fixture(autouse=True)
def nothing_of_ours(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No test sees the settings of whoever runs it."""
    for name in [name for name in os.environ if name.startswith("CANOPY_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))

"""A node in the terminal: how it begins, what it warns of, how it ends, who else may have it."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from time import monotonic
from typing import Any

import duckdb
import pytest

from gateway.cli.exits import Exit
from tests.gateway.cli.conftest import (
    CANOPY,
    PASSWORD,
    Node,
    Said,
    Type,
    ended,
    environment,
    started,
)

STOPPED_S = 8.0
"""3 s are promised and a third of one is usual; tests share the machine with each other."""


@pytest.fixture
def fresh(tmp_path: Path) -> Iterator[Node]:
    """A node of this test alone."""
    running = started(tmp_path / "data")
    yield running
    ended(running)


def refused(directory: Path, *words: str) -> Said:
    """What a `canopy up` says that cannot start."""
    done = subprocess.run(
        [CANOPY, "up", "--data", str(directory), "--port", "0", *words],
        env=environment(directory),
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )
    return Said(done.returncode, done.stdout, done.stderr)


def tables(directory: Path) -> Path:
    (file,) = (directory / "projection").glob("*.duckdb")
    return file


def test_one_line_of_json_tells_how_to_go_on(fresh: Node) -> None:
    told = fresh.told

    assert set(told) == {"url", "setup_code", "data", "node", "nats_url", "pid", "seq"}
    assert told["pid"] == fresh.process.pid
    assert told["data"] == str(fresh.directory)
    assert told["setup_code"]


def test_a_second_node_is_told_who_has_the_data(fresh: Node) -> None:
    said = refused(fresh.directory)
    for_a_program = refused(fresh.directory, "--json")

    assert said.code == Exit.NO
    assert f"pid {fresh.process.pid}" in said.err
    assert fresh.url in said.err
    assert f"kill {fresh.process.pid}" in said.err
    assert json.loads(for_a_program.err)["url"] == fresh.url
    assert for_a_program.out == ""


def test_a_node_stops_when_asked_and_says_no_code_once_it_has_an_owner(
    fresh: Node, type_in: Type, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CANOPY_PASSWORD", PASSWORD)
    key = type_in("user", "add", "ann", "--url", fresh.url, "--json").json["api_key"]
    began = monotonic()
    said = fresh.stop()
    took_s = monotonic() - began
    again = started(fresh.directory)
    listed = type_in("log", "list", "--url", again.url, "--key", key, "--json").json
    ended(again)

    assert said.code == Exit.OK
    assert took_s < STOPPED_S
    assert again.told["setup_code"] == ""
    assert again.told["node"] == fresh.told["node"]
    assert listed["commits"]


def test_a_stopped_node_is_proved_from_its_data(fresh: Node, type_in: Type) -> None:
    data = ("--data", str(fresh.directory))
    held = type_in("verify", *data)
    fresh.stop()

    proved = type_in("verify", *data, "--json")
    rebuilt = type_in("rebuild", *data, "--json")
    with duckdb.connect(str(tables(fresh.directory))) as connection:
        connection.execute("UPDATE channel SET name = 'forged'").fetchall()
    forged = type_in("verify", *data, "--json")
    mended = type_in("rebuild", *data)
    proved_again = type_in("verify", *data)

    assert held.code == Exit.NO
    assert f"pid {fresh.process.pid}" in held.err
    assert proved.code == Exit.OK
    assert proved.json["tables"]["channel"] == 1
    assert rebuilt.json["position"] == proved.json["position"]
    assert forged.code == Exit.NO
    assert forged.json["difference"] == {
        "table": "channel", "seq": 1, "reason": "the tables differ",
    }  # fmt: skip
    assert mended.code == Exit.OK
    assert proved_again.code == Exit.OK


def test_a_taken_port_is_named(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        said = refused(tmp_path / "data", "--port", str(port))

    assert said.code == Exit.NO
    assert f"127.0.0.1:{port}" in said.err
    assert "canopy doctor" in said.err


def test_a_data_directory_in_a_git_work_tree_is_warned_of(tmp_path: Path) -> None:
    (tmp_path / ".git").mkdir()
    running = started(tmp_path / "data")
    said = running.stop()

    assert said.code == Exit.OK
    assert "git work tree" in json.loads(said.err.splitlines()[0])["warning"]


def test_a_setting_that_cannot_be_is_named(tmp_path: Path) -> None:
    said = refused(tmp_path / "data", "--host", "")

    assert said.code == Exit.USAGE
    assert "--host" in said.err


class Parts:
    """The three processes of the Procfile."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._env = environment(directory.parent)
        self.running: list[subprocess.Popen[str]] = []

    def start(self, part: str, *words: str) -> subprocess.Popen[str]:
        words = (CANOPY, "run", part, "--json", "--data", str(self._directory), *words)
        process = subprocess.Popen(
            words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=self._env
        )
        self.running.append(process)
        return process

    def stop(self) -> list[int]:
        """Ask all to end, the broker last; their exit codes."""
        for process in reversed(self.running):
            process.send_signal(signal.SIGTERM)
            process.communicate(timeout=10)
        return [process.returncode for process in self.running]


def test_the_parts_of_a_node_run_alone(
    tmp_path: Path, type_in: Type, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CANOPY_PASSWORD", PASSWORD)
    parts = Parts(tmp_path / "data")
    try:
        parts.start("nats")
        parts.start("actors")
        gateway = parts.start("gateway", "--port", "0")
        assert gateway.stdout is not None
        told: dict[str, Any] = json.loads(gateway.stdout.readline())
        at = ("--url", told["url"])
        made = type_in("user", "add", "ann", "--code", told["setup_code"], *at, "--json").json
        posted = type_in("post", "general", "Hi.", *at, "--key", made["api_key"], "--json").json
    finally:
        codes = parts.stop()

    assert posted["message"]["content"] == "Hi."
    assert codes == [Exit.OK, Exit.OK, Exit.OK]


def test_a_measure_answers_with_its_figures(type_in: Type, tmp_path: Path) -> None:
    said = type_in("bench", "sockets", "--quick", "--keep", str(tmp_path), "--json")

    report = said.json
    assert said.code == Exit.OK
    assert report["name"] == "sockets"
    assert [figure["unit"] for figure in report["figures"]] == ["KiB", "MiB", "MiB"]


def test_one_gateway_too_many_on_the_same_data_is_told_so(fresh: Node, tmp_path: Path) -> None:
    """In one line with a way out, not in a traceback."""
    data = tmp_path / "data"
    done = subprocess.run(
        [CANOPY, "run", "gateway", "--data", str(data), "--port", "0"],
        env=environment(data) | {"CANOPY_GATEWAYS_MAX": "1"},
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )

    assert done.returncode == Exit.NO
    assert "1 gateways read" in " ".join(done.stderr.split())
    assert "Traceback" not in done.stderr

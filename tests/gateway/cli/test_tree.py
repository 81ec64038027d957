"""The tree of commands: what holds for every one of them."""

from __future__ import annotations

import subprocess
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from gateway.cli.app import ALONE, tree
from gateway.cli.exits import MEANINGS, Exit
from tests.gateway.cli.conftest import CANOPY, Type, environment

NOWHERE = "http://127.0.0.1:9"


def commands(group: Any, *path: str) -> list[tuple[str, ...]]:
    """The words of every command below *group*."""
    found: list[tuple[str, ...]] = []
    for name, command in group.commands.items():
        below = commands(command, *path, name) if hasattr(command, "commands") else []
        found += below or [(*path, name)]
    return found


ALL = commands(tree())


def test_the_commands_that_were_promised_are_there() -> None:
    promised = {
        "up", "run", "status", "tap", "log list", "log show", "replay", "rebuild", "verify",
        "vouch",
        "key create", "key list", "key revoke", "user add", "user list", "user approve",
        "user suspend", "user reinstate", "user code", "channel list", "channel create",
        "channel show", "channel archive", "channel members", "channel add", "channel remove",
        "post", "bench", "doctor", "config show", "config explain", "config path", "version",
    }  # fmt: skip

    assert promised <= {" ".join(words) for words in ALL}


@pytest.mark.parametrize("words", ALL, ids=" ".join)
def test_every_command_explains_itself_and_takes_json(
    words: tuple[str, ...], type_in: Type
) -> None:
    said = type_in(*words, "--help")

    assert said.code == Exit.OK
    assert "--json" in said.out
    assert ("--url" in said.out) == (words[0] not in ALONE)


def test_the_exit_codes_are_documented(type_in: Type) -> None:
    told = " ".join(type_in("--help").out.split())

    assert all(f"{int(code)} {meaning}" in told for code, meaning in MEANINGS.items())


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        (["chanel", "list"], "'channel'"),
        (["log", "lst"], "'list'"),
        (["user", "suspnd", "x"], "'suspend'"),
        (["log", "list", "--limt", "3"], "--limit"),
    ],
)
def test_a_mistyped_word_gets_a_suggestion(typed: list[str], meant: str, type_in: Type) -> None:
    said = type_in(*typed)

    assert said.code == Exit.USAGE
    assert meant in said.err


@pytest.mark.parametrize(
    "words", [["status"], ["tap"], ["channel", "list"], ["log", "list"], ["post", "general", "x"]]
)
def test_a_node_that_is_not_there_is_named_with_a_remedy(words: list[str], type_in: Type) -> None:
    said = type_in(*words, "--url", NOWHERE)

    assert said.code == Exit.UNREACHABLE
    assert said.out == ""
    assert NOWHERE in said.err
    assert "canopy up" in said.err


def test_a_failure_is_json_for_a_program(type_in: Type) -> None:
    said = type_in("status", "--json", "--url", NOWHERE)

    assert said.out == ""
    assert '"error":"unreachable"' in said.err
    assert '"exit":4' in said.err


def test_what_is_no_address_is_a_mistake_of_the_caller(type_in: Type) -> None:
    assert type_in("status", "--url", "nonsense").code == Exit.USAGE


def test_the_version_is_known_without_a_node(type_in: Type) -> None:
    said = type_in("version", "--json", "--url", NOWHERE)

    assert said.code == Exit.OK
    assert said.json["node"] is None


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_speaks_every_shell(shell: str, tmp_path: Path) -> None:
    env = environment(tmp_path, _CANOPY_COMPLETE=f"source_{shell}")

    script = subprocess.run([CANOPY], env=env, capture_output=True, text=True, check=True).stdout

    assert "_CANOPY_COMPLETE" in script


def test_completion_knows_the_commands(tmp_path: Path) -> None:
    env = environment(
        tmp_path, _CANOPY_COMPLETE="complete_bash", COMP_WORDS="canopy ch", COMP_CWORD="1"
    )

    answer = subprocess.run([CANOPY], env=env, capture_output=True, text=True, check=False)

    assert answer.stdout.split() == ["channel"]


def test_completion_knows_the_settings(tmp_path: Path) -> None:
    env = environment(
        tmp_path,
        _CANOPY_COMPLETE="complete_bash",
        COMP_WORDS="canopy config explain nats_st",
        COMP_CWORD="3",
    )

    answer = subprocess.run([CANOPY], env=env, capture_output=True, text=True, check=False)

    assert answer.stdout.split() == ["nats_start_timeout_s", "nats_stop_timeout_s"]


def test_other_commands_do_not_wait_for_what_a_node_is_made_of() -> None:
    program = "import sys, gateway.cli.app; print({'duckdb', 'nats', 'pyarrow'} & set(sys.modules))"

    loaded = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )

    assert loaded.stdout.strip() == "set()"


def test_settings_are_shown_with_who_set_them(
    type_in: Type, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("CANOPY_PORT", "7000")
    monkeypatch.setenv("CANOPY_DATA", str(tmp_path))

    shown = type_in("config", "show", "--json", "--changed").json

    assert set(shown) == {"port", "data_directory"}
    assert shown["port"]["value"] == "7000"
    assert shown["port"]["source"] == "CANOPY_PORT"


def test_a_setting_is_explained(type_in: Type) -> None:
    said = type_in("config", "explain", "read_wait_s")

    assert "A read waits" in said.out
    assert "seconds" in said.out
    assert "CANOPY_READ_WAIT_S" in said.out


def test_a_setting_that_is_none_gets_a_suggestion(type_in: Type) -> None:
    said = type_in("config", "explain", "prot")

    assert said.code == Exit.USAGE
    assert "'port'" in said.err


def test_a_configuration_that_cannot_be_used_names_who_set_it(
    type_in: Type, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CANOPY_PORT", "many")

    said = type_in("config", "show")

    assert said.code == Exit.USAGE
    assert "CANOPY_PORT: port" in said.err


def test_the_configuration_file_has_a_place(type_in: Type, tmp_path: Path) -> None:
    path = type_in("config", "path", "--json").json

    assert path["config"] == str(tmp_path / "config" / "canopy" / "canopy.toml")
    assert path["exists"] is False


def test_another_program_at_the_address_is_told_apart(type_in: Type) -> None:
    with ThreadingHTTPServer(("127.0.0.1", 0), Stranger) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_address[1]}"
        said = type_in("status", "--url", url)
        server.shutdown()

    assert said.code == Exit.UNREACHABLE
    assert "is not a Canopy node" in said.err


class Stranger(BaseHTTPRequestHandler):
    """A web server that is none of ours."""

    def do_GET(self) -> None:  # the name that http.server calls
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"<h1>It works!</h1>")

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Nothing worth telling."""

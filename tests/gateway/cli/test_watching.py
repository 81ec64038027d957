"""The log at the command line: list, show, tap, replay, verify, rebuild; across kill -9 too."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

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


@dataclass
class Desk:
    """The owner's terminal."""

    type_in: Type
    node: Node
    key: str

    def __call__(self, *words: str) -> Said:
        said = self.type_in(*words, "--url", self.node.url, "--key", self.key)
        assert said.code == Exit.OK, said.err
        return said


@pytest.fixture(scope="module")
def key(node: Node) -> str:
    """The key of ann, who owns the workspace, and has said something."""
    env = environment(node.directory.parent, CANOPY_URL=node.url, CANOPY_PASSWORD=PASSWORD)

    def typed(*words: str, **more: str) -> Any:
        words = (CANOPY, *words, "--json")
        told = subprocess.run(words, env=env | more, capture_output=True, text=True, check=True)
        return json.loads(told.stdout)

    api_key = str(typed("user", "add", "ann")["api_key"])
    typed("channel", "create", "ops", CANOPY_API_KEY=api_key)
    for text in ("One.", "Two.", "Three."):
        typed("post", "ops", text, CANOPY_API_KEY=api_key)
    return api_key


@pytest.fixture
def owner(node: Node, key: str, type_in: Type) -> Desk:
    return Desk(type_in, node, key)


def texts(frames: list[Any]) -> list[str]:
    """What was posted, in the order of *frames*."""
    events = [event for frame in frames for event in frame["events"]]
    return [event["data"]["content"] for event in events if event["kind"] == "message_posted"]


def test_the_log_is_listed_with_the_newest_last(owner: Desk) -> None:
    listed = owner("log", "list", "-n", "4", "--json").json["commits"]
    seqs = [one["seq"] for one in listed]

    assert texts(listed) == ["Two.", "Three."]
    assert [one["noun"] for one in listed] == ["message", "receipt"] * 2
    assert seqs == list(range(seqs[0], seqs[0] + 4))


def test_the_log_is_listed_from_a_position(owner: Desk) -> None:
    listed = owner("log", "list", "--after", "0", "-n", "1", "--json").json["commits"]

    assert [one["seq"] for one in listed] == [1]


@pytest.mark.parametrize(
    "words", [["message", "ops"], ["message_posted", "@ann"], ["#ops", "message", "@ann"]]
)
def test_the_log_is_filtered_by_words(words: list[str], owner: Desk) -> None:
    listed = owner("log", "list", *words, "--json").json["commits"]

    assert texts(listed) == ["One.", "Two.", "Three."]


def test_a_commit_leads_to_all_that_its_command_caused(owner: Desk) -> None:
    (commit,) = owner("log", "list", "message", "-n", "1", "--json").json["commits"]

    caused = owner("log", "list", "--cause", commit["cause"], "--json").json["commits"]

    assert caused == [commit]


def test_the_log_is_readable(owner: Desk) -> None:
    said = owner("log", "list")

    assert "#ops" in said.out
    assert "ann" in said.out
    assert "One." in said.out
    assert "opened #ops (public)" in said.out


def test_one_commit_is_shown_whole_and_without_secrets(owner: Desk) -> None:
    registered = owner("log", "list", "account_registered", "--json").json["commits"][0]

    said = owner("log", "show", str(registered["seq"]))

    assert "digest" in said.out
    assert '"username": "ann"' in said.out
    assert "password_sealed" not in said.out
    assert "secret_hash" not in said.out


def test_a_position_that_is_not_there_is_refused(node: Node, key: str, type_in: Type) -> None:
    said = type_in("log", "show", "999999", "--url", node.url, "--key", key)

    assert said.code == Exit.REFUSED


def test_the_log_is_the_owners(node: Node, type_in: Type, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CANOPY_PASSWORD", PASSWORD)
    guest = type_in("user", "add", "guest", "--url", node.url, "--json").json["api_key"]

    said = type_in("log", "list", "--url", node.url, "--key", guest)

    assert said.code == Exit.REFUSED
    assert "delete_data" in said.err


def test_tap_begins_with_what_was(owner: Desk) -> None:
    said = owner("tap", "ops", "message", "--after", "0", "--count", "3", "--json")

    assert texts(said.lines) == ["One.", "Two.", "Three."]


def test_tap_is_readable(owner: Desk) -> None:
    said = owner("tap", "--after", "0", "--count", "1")

    assert "opened #general (general)" in said.out


def test_replay_ends_where_it_is_told(owner: Desk) -> None:
    messages = owner("log", "list", "message", "--json").json["commits"]
    second = messages[1]

    by_position = owner("replay", "message", "--to", str(second["seq"]), "--json")
    by_time = owner("replay", "message", "--to", second["time"], "--json")
    from_there = owner("replay", "message", "--from", str(second["seq"]), "--json")

    assert texts(by_position.lines) == ["One.", "Two."]
    assert texts(by_time.lines) == ["One.", "Two."]
    assert texts(from_there.lines) == ["Two.", "Three."]


def test_replay_at_its_own_pace_says_the_same(owner: Desk) -> None:
    paced = owner("replay", "message", "--speed", "1000", "--pause", "0.01", "--json")

    assert texts(paced.lines) == ["One.", "Two.", "Three."]


def test_a_running_node_proves_its_tables_and_makes_them_anew(owner: Desk) -> None:
    proved = owner("verify", "--json").json
    rebuilt = owner("rebuild", "--json").json
    again = owner("verify")

    assert proved["difference"] is None
    assert proved["tables"]["message"] == 3
    assert rebuilt["position"] == proved["position"]
    assert "✓ Every commit" in again.out


@pytest.fixture
def mortal(tmp_path: Path) -> Iterator[Node]:
    """A node that a test may kill."""
    running = started(tmp_path / "data")
    yield running
    ended(running)


def test_tap_misses_nothing_when_the_node_is_killed(mortal: Node, tmp_path: Path) -> None:
    env = environment(tmp_path, CANOPY_URL=mortal.url, CANOPY_PASSWORD=PASSWORD)

    def typed(*words: str) -> str:
        words = (CANOPY, *words)
        return subprocess.run(words, env=env, capture_output=True, text=True, check=True).stdout

    env["CANOPY_API_KEY"] = json.loads(typed("user", "add", "ann", "--json"))["api_key"]
    words = [CANOPY, "tap", "message", "--count", "2", "--json"]
    typed("post", "general", "Before.")
    tap = subprocess.Popen(
        [*words, "--after", "0"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=env
    )
    assert tap.stdout is not None
    first = json.loads(tap.stdout.readline())
    mortal.process.send_signal(signal.SIGKILL)
    mortal.process.communicate(timeout=10)
    revived = started(mortal.directory, "--port", str(urlsplit(mortal.url).port))
    try:
        typed("post", "general", "After.")
        out, err = tap.communicate(timeout=20)
    finally:
        ended(revived)

    assert texts([first, json.loads(out)]) == ["Before.", "After."]
    assert "The node went away" in err
    assert "The node is back" in err
    assert tap.returncode == Exit.OK


def test_ctrl_c_ends_a_tap_without_a_word(node: Node, key: str, tmp_path: Path) -> None:
    env = environment(tmp_path, CANOPY_URL=node.url, CANOPY_API_KEY=key)
    tap = subprocess.Popen(
        [CANOPY, "tap", "--after", "0", "--json"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=env,
    )  # fmt: skip
    assert tap.stdout is not None
    tap.stdout.readline()
    tap.send_signal(signal.SIGINT)
    _, err = tap.communicate(timeout=10)

    assert tap.returncode == Exit.INTERRUPTED
    assert "Traceback" not in err


@pytest.mark.parametrize("form", ["--json", "--no-json"])
def test_a_reader_that_has_read_enough_is_no_trouble(
    form: str, node: Node, key: str, tmp_path: Path
) -> None:
    env = environment(tmp_path, CANOPY_URL=node.url, CANOPY_API_KEY=key)
    tap = subprocess.Popen(
        [CANOPY, "tap", "--after", "0", *([form] if form == "--json" else [])],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=env,
    )  # fmt: skip
    assert tap.stdout is not None
    assert tap.stderr is not None
    tap.stdout.readline()
    tap.stdout.close()
    posted = [CANOPY, "post", "general", "Into the void."]
    while tap.poll() is None:
        subprocess.run(posted, env=env, capture_output=True, check=True)
    err = tap.stderr.read()
    tap.stderr.close()

    assert tap.returncode == Exit.OK
    assert "Traceback" not in err


def test_how_it_stood_is_asked_with_at(owner: Desk) -> None:
    """By position, and by how long ago; what came later is not there."""
    commits = owner("log", "list", "message_posted", "--json").json["commits"]
    first = commits[0]["seq"]
    then = owner("channel", "show", "ops", "--at", str(first), "--json").json
    ago = owner("channel", "list", "--at", "0s", "--json").json
    listed = owner("log", "list", "--at", str(first), "--json").json["commits"]

    assert [one["content"] for one in then["messages"]] == ["One."]
    assert "ops" in [one["name"] for one in ago["channels"]]
    assert listed[-1]["seq"] == first


@pytest.mark.parametrize("moment", ["noon", ""])
def test_what_is_no_moment_is_a_mistake_of_use(
    moment: str, type_in: Type, node: Node, key: str
) -> None:
    """An empty one too: whoever names none with a variable that is not set wants no present."""
    said = type_in("channel", "list", "--at", moment, "--url", node.url, "--key", key)

    assert said.code == Exit.USAGE, said.out
    assert repr(moment) in said.err


@pytest.mark.parametrize("name", ["../channels", "../why/1", "1?limit=1", "1#b", "..", "a%2Fb"])
@pytest.mark.parametrize("word", ["why", "trace"])
def test_an_id_is_asked_for_as_it_was_typed(
    word: str, name: str, node: Node, key: str, type_in: Type
) -> None:
    """It leads to no other page of the node, and loses nothing on the way."""
    said = type_in(word, name, "--url", node.url, "--key", key)

    assert said.code == Exit.REFUSED, said.out


@pytest.mark.parametrize(
    "moment",
    ["9999999d", "99999999999w", "9" * 5000, "1" * 400 + "h", "9999-12-31T23:59", "0001-01-01"],
    ids=lambda text: text[:20],
)
def test_a_moment_that_no_calendar_holds_is_a_mistake_of_use(
    moment: str, node: Node, key: str, type_in: Type, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Wherever the reader is: west of Greenwich the last year ends too late, east the first too
    early."""
    zone = "Etc/GMT+12" if moment.startswith("9") else "Etc/GMT-12"
    with monkeypatch.context() as there:
        there.setenv("TZ", zone)
        time.tzset()
        at = type_in("channel", "list", "--at", moment, "--url", node.url, "--key", key)
        since = type_in("replay", "--from", moment, "--url", node.url, "--key", key)
    time.tzset()

    assert (at.code, since.code) == (Exit.USAGE, Exit.USAGE)
    assert "no point in the log" in at.err


def test_why_answers_the_id_that_the_log_prints(owner: Desk) -> None:
    (commit,) = owner("log", "list", "message_posted", "-n", "1", "--json").json["commits"]

    told = owner("why", commit["id"], "--json").json
    traced = owner("trace", commit["id"], "--json").json

    assert commit["id"].count(".") == 1
    assert commit["seq"] in [one["seq"] for one in told["chains"][0]["commits"]]
    assert traced["id"] == commit["id"]

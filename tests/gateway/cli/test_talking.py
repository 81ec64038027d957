"""People, keys, channels and messages at the command line, on a real node."""

from __future__ import annotations

import io
import os
import re
import subprocess
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import pytest

from gateway.cli.channel import shown_message
from gateway.cli.exits import Exit
from tests.gateway.cli.conftest import CANOPY, PASSWORD, Node, Said, Type, environment


@dataclass
class Desk:
    """A terminal at which somebody types with a key of their own."""

    type_in: Type
    url: str
    key: str = ""

    def __call__(self, *words: str) -> Said:
        return self.type_in(*words, "--url", self.url, "--key", self.key)

    def ok(self, *words: str) -> Any:
        """The JSON answer of a command that succeeds."""
        said = self(*words, "--json")
        assert said.code == Exit.OK, said.err
        return said.json


@pytest.fixture
def owner(node: Node, type_in: Type, monkeypatch: pytest.MonkeyPatch) -> Desk:
    """The desk of ann, who owns the workspace."""
    monkeypatch.setenv("CANOPY_PASSWORD", PASSWORD)
    desk = Desk(type_in, node.url)
    kept = node.directory / "ann.key"
    if not kept.exists():
        kept.write_text(desk.ok("user", "add", "ann", "--display-name", "Ann Lee")["api_key"])
    desk.key = kept.read_text()
    return desk


def test_the_first_account_owns_the_workspace_and_its_key_may_everything(owner: Desk) -> None:
    status = owner.ok("status")

    assert status["ready"] is True
    assert status["lag"] == 0
    assert status["node"].startswith("n")


def test_status_without_a_key_tells_what_everybody_may_know(owner: Desk) -> None:
    said = Desk(owner.type_in, owner.url)("status")

    assert said.code == Exit.OK
    assert "ready" in said.out
    assert "CANOPY_API_KEY" in said.out


def test_a_new_key_is_shown_once_with_what_to_do_with_it(owner: Desk) -> None:
    said = owner("key", "create", "--scope", "read_feed", "--label", "reader")

    exported = re.search(r"export CANOPY_API_KEY=(cnp_key_\S+)", said.out)
    assert exported
    reader = Desk(owner.type_in, owner.url, exported[1])
    assert reader("channel", "list").code == Exit.OK
    assert reader("post", "general", "No.").code == Exit.REFUSED


def test_a_key_can_be_made_with_the_password_alone(owner: Desk) -> None:
    stranger = Desk(owner.type_in, owner.url)

    made = stranger.ok("key", "create", "--user", "ann", "--all", "--expires-days", "3")
    revoked = stranger.ok("key", "revoke", made["api_key"].split("_")[2], "--user", "ann")
    later = Desk(owner.type_in, owner.url, made["api_key"])("channel", "list")

    assert revoked["message"]
    assert later.code == Exit.REFUSED
    assert "canopy key create" in later.err


def test_a_wrong_password_is_refused(owner: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CANOPY_PASSWORD", "Wrong-horse-7")

    said = owner("key", "create", "--user", "ann")

    assert said.code == Exit.REFUSED


def test_nobody_to_ask_for_a_password_is_said(owner: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CANOPY_PASSWORD")

    said = owner("key", "list", "--user", "ann")

    assert said.code == Exit.USAGE
    assert "CANOPY_PASSWORD" in said.err


def test_keys_are_listed_without_themselves(owner: Desk) -> None:
    said = owner("key", "list")

    assert "do everything" in said.out
    assert "cnp_key" not in said.out


def test_keys_are_listed_as_they_were(owner: Desk) -> None:
    before = owner.ok("key", "create", "--label", "before")
    made = owner.ok("key", "create", "--label", "later")

    then = {one["id"] for one in owner.ok("key", "list", "--at", str(before["seq"]))["keys"]}
    now = {one["id"] for one in owner.ok("key", "list")["keys"]}

    assert before["id"] in then
    assert made["id"] in now - then


def test_a_key_is_revoked_by_all_of_its_id(owner: Desk) -> None:
    made = owner.ok("key", "create")

    assert owner("key", "revoke", f"{made['id']}?really").code == Exit.REFUSED
    assert owner("key", "revoke", made["id"]).code == Exit.OK


def test_a_code_lets_one_in(owner: Desk) -> None:
    stranger = Desk(owner.type_in, owner.url)

    code = owner.ok("user", "code", "--label", "bob")["code"]
    made = stranger.ok("user", "add", "bob", "--code", code)

    assert made["is_owner"] is False
    assert made["status"] == "active"


def test_an_agent_gets_a_password_nobody_chose(
    owner: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CANOPY_PASSWORD")

    made = owner.ok("user", "add", "scout", "--agent")

    assert made["account_type"] == "agent"
    assert len(made["password"]) == 24


def test_the_owner_decides_who_stays(owner: Desk) -> None:
    made = owner.ok("user", "add", "eve")
    eve = Desk(owner.type_in, owner.url, made["api_key"])

    owner.ok("user", "suspend", "eve")
    outside = eve("channel", "list")
    owner.ok("user", "reinstate", "@eve")
    inside = eve("channel", "list")
    refused = eve("user", "suspend", "ann")
    approved = owner("user", "approve", "eve")

    assert outside.code == Exit.REFUSED
    assert inside.code == Exit.OK
    assert refused.code == Exit.REFUSED
    assert "eve is active now" in approved.out


def test_users_are_listed(owner: Desk) -> None:
    said = owner("user", "list")
    suspended = owner.ok("user", "list", "--status", "suspended")

    assert "Ann Lee" in said.out
    assert all(one["status"] == "suspended" for one in suspended["accounts"])


def test_an_unknown_user_gets_a_suggestion(owner: Desk) -> None:
    said = owner("user", "suspend", "anne")

    assert said.code == Exit.REFUSED
    assert "'ann'" in said.err


def test_a_channel_from_its_opening_to_its_end(owner: Desk) -> None:
    owner.ok("user", "add", "cy")

    opened = owner.ok("channel", "create", "#workshop", "--description", "Tools")["channel"]
    added = owner("channel", "add", "workshop", "cy", "--role", "admin")
    posted = owner.ok("post", "workshop", "Hello", "there.")
    answered = owner.ok("post", "#workshop", "Yes?", "--reply-to", posted["message"]["id"])
    shown = owner("channel", "show", "workshop")
    members = owner.ok("channel", "members", opened["id"])
    removed = owner("channel", "remove", "workshop", "cy")
    archived = owner("channel", "archive", "workshop")
    closed = owner.ok("channel", "show", "workshop")
    reopened = owner("channel", "archive", "workshop", "--undo")
    listed = owner("channel", "list")

    assert "cy is in #workshop" in added.out
    assert posted["message"]["content"] == "Hello there."
    assert answered["message"]["thread_id"] == posted["message"]["id"]
    assert "Hello there." in shown.out
    assert [one["username"] for one in members["members"]] == ["ann", "cy"]
    assert "cy is out of #workshop" in removed.out
    assert "is archived" in archived.out
    assert closed["channel"]["lifecycle_status"] == "archived"
    assert "is open again" in reopened.out
    assert "#workshop" in listed.out


def test_what_is_gone_is_named_and_not_left_blank(owner: Desk) -> None:
    owner.ok("channel", "create", "ruins")
    posted = owner.ok("post", "ruins", "Gone soon.")
    message, headers = posted["message"], {"X-API-Key": owner.key}
    url = f"{owner.url}/api/v1/channels/{message['channel_id']}/messages/{message['id']}"
    with urlopen(Request(url, headers=headers, method="DELETE")) as answer:
        assert answer.status == HTTPStatus.OK

    shown = owner("channel", "show", "ruins", "--at", str(posted["seq"]))
    states = ("erased", "damaged")
    gone = [shown_message(message | {"content": "", "crypto_state": one}) for one in states]

    assert "ann  (withheld: deleted)" in shown.out
    assert [one.plain.rpartition("ann  ")[2] for one in gone] == ["(erased)", "(damaged)"]


def test_a_public_channel_can_be_joined(owner: Desk) -> None:
    dan = Desk(owner.type_in, owner.url, owner.ok("user", "add", "dan")["api_key"])
    owner.ok("channel", "create", "square")

    joinable = dan.ok("channel", "list", "--joinable")
    joined = dan("channel", "join", "square")

    assert "square" in [one["name"] for one in joinable["channels"]]
    assert "You are in #square" in joined.out
    assert dan("post", "square", "Hi.").code == Exit.OK


def test_an_unknown_channel_gets_a_suggestion(owner: Desk) -> None:
    said = owner("channel", "show", "generl")

    assert said.code == Exit.REFUSED
    assert "'general'" in said.err


def test_what_to_say_may_come_from_another_program(
    owner: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("line one\nline two\n"))

    posted = owner.ok("post", "general", "-")

    assert posted["message"]["content"] == "line one\nline two"


def test_piped_output_has_no_colour_and_is_not_cut(owner: Desk, tmp_path: Path) -> None:
    text = "word " * 100
    owner.ok("post", "general", text.strip())
    env = environment(tmp_path, CANOPY_URL=owner.url, CANOPY_API_KEY=owner.key) | {
        "COLUMNS": "60",
        "TERM": "xterm-256color",
    }
    env.pop("NO_COLOR")

    piped = subprocess.run(
        [CANOPY, "log", "list", "message", "-n", "1"],
        env=env,
        capture_output=True,
        text=True,
        check=True,
    )

    assert "\x1b" not in piped.stdout
    assert piped.stdout.count("word") == 100
    assert len(piped.stdout.splitlines()) == 1


def test_names_complete_from_the_node(owner: Desk, tmp_path: Path) -> None:
    owner.ok("channel", "create", "harbour")
    env = environment(
        tmp_path,
        CANOPY_URL=owner.url,
        CANOPY_API_KEY=owner.key,
        _CANOPY_COMPLETE="complete_bash",
        COMP_WORDS="canopy channel show harb",
        COMP_CWORD="3",
    )

    answer = subprocess.run([CANOPY], env=env, capture_output=True, text=True, check=False)

    assert answer.stdout.split() == ["harbour"]
    assert os.environ.get("CANOPY_URL") is None

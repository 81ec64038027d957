"""Commands for a node that is stopped: what they say of one that cannot become itself."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from bus.crypto.identity import Identity
from bus.crypto.passphrase import Cost
from bus.identity_file import FILE, identify
from bus.vault_file import vault_in
from gateway.cli.exits import Exit
from tests.gateway.cli.conftest import PASSWORD, Type

CHEAP = Cost(passes=1, memory_bytes=8192)
SEALED = "correct horse battery"
STOPPED = [("verify",), ("rebuild",), ("vouch",), ("user", "password", "ann")]
"""The commands that run on the data directory of a node that is stopped."""


@pytest.mark.parametrize("words", [*STOPPED, ("up", "--port", "0"), ("backup", "b")], ids=" ".join)
def test_a_wrong_passphrase_is_told_as_that(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, type_in: Type, words: tuple[str, ...]
) -> None:
    identify(tmp_path / "data", SEALED, CHEAP)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CANOPY_PASSWORD", PASSWORD)
    monkeypatch.setenv("CANOPY_PASSPHRASE", "correct horse staples")
    said = type_in(*words, "--data", str(tmp_path / "data"), "--json")
    told = json.loads(said.err)

    assert (said.code, told["error"]) == (Exit.USAGE, "identity_unusable")
    assert "is sealed under another passphrase" in told["message"]


def test_what_a_passphrase_opens_asks_for_one(tmp_path: Path, type_in: Type) -> None:
    identify(tmp_path / "data", SEALED, CHEAP)
    said = type_in("up", "--port", "0", "--data", str(tmp_path / "data"), "--json")

    assert json.loads(said.err)["remedy"] == "Set CANOPY_PASSPHRASE."


def test_no_node_is_sealed_under_a_passphrase_that_can_be_guessed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, type_in: Type
) -> None:
    identify(tmp_path / "data")
    monkeypatch.setenv("CANOPY_PASSPHRASE", "eleven sign")
    said = type_in("vouch", "--data", str(tmp_path / "data"), "--json")
    told = json.loads(said.err)

    assert (said.code, told["error"]) == (Exit.USAGE, "passphrase_weak")
    assert "some words" in told["remedy"]


def vault_gone(data: Path, node: Identity) -> None:
    vault_in(data, node).close()
    shutil.rmtree(data / "vault")


def vault_of_another(data: Path, node: Identity) -> None:
    vault_gone(data, node)
    vault_in(data / "other", identify(data / "other")).close()
    (data / "other/vault").rename(data / "vault")


def identity_damaged(data: Path, _: Identity) -> None:
    (data / FILE).write_text("{}")


def identity_gone(data: Path, _: Identity) -> None:
    (data / FILE).unlink()
    (data / "nats/jetstream/CANOPY").mkdir(parents=True)


@pytest.mark.parametrize(
    ("harm", "words"),
    [
        (vault_gone, "is not there. Put back"),
        (vault_of_another, "another node's"),
        (identity_damaged, "is damaged: restore it"),
        (identity_gone, "holds a log but no"),
    ],
)
def test_no_passphrase_is_asked_for_what_none_opens(
    tmp_path: Path, type_in: Type, harm: Callable[[Path, Identity], None], words: str
) -> None:
    """What to do stands in the words themselves."""
    data = tmp_path / "data"
    harm(data, identify(data))
    said = type_in("up", "--port", "0", "--data", str(data), "--json")
    told = json.loads(said.err.splitlines()[-1])

    assert words in told["message"]
    assert (said.code, told["error"], told["remedy"]) == (Exit.USAGE, "identity_unusable", "")


@pytest.mark.parametrize("words", [*STOPPED, ("backup", "b")], ids=" ".join)
def test_where_no_node_is_none_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, type_in: Type, words: tuple[str, ...]
) -> None:
    """Neither for a name that is misspelt, nor within a node."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CANOPY_PASSWORD", PASSWORD)
    marks = tmp_path / "data/marks"
    marks.mkdir(parents=True)
    (marks / "tip").touch()
    misspelt = type_in(*words, "--data", str(tmp_path / "dat"), "--json")
    within = type_in(*words, "--data", str(marks), "--json")

    for said in (misspelt, within):
        told = json.loads(said.err)
        assert (said.code, told["error"]) == (Exit.USAGE, "node_absent")
        assert told["remedy"] == "Name it with --data."
    assert [one.name for one in tmp_path.iterdir()] == ["data"]
    assert [one.name for one in marks.iterdir()] == ["tip"]

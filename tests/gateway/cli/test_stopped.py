"""Commands for a node that is stopped: what they say of one that cannot become itself."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bus.crypto.passphrase import Cost
from bus.identity_file import identify
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

"""`canopy vouch`: what is wrong with the log, and the owner's word that it is taken as it is."""

from __future__ import annotations

from pathlib import Path

from bus.alarm import Fault, sound
from bus.identity_file import identify
from gateway.cli.exits import Exit
from schemas.settings import Settings
from tests.gateway.cli.conftest import Type, ended, started


def test_an_owner_looks_first_and_then_vouches(tmp_path: Path, type_in: Type) -> None:
    data = tmp_path / "data"
    ended(started(data))
    whole = type_in("vouch", "--data", str(data))
    (data / "marks/tip").write_bytes(b"")
    found = type_in("vouch", "--data", str(data), "--json")
    looked = type_in("vouch", "--data", str(data))
    vouched = type_in("vouch", "--yes", "--data", str(data))
    again = type_in("vouch", "--data", str(data), "--json")

    assert (whole.code, looked.code, vouched.code) == (Exit.OK, Exit.NO, Exit.OK)
    assert "holds no whole record" in looked.out
    assert "canopy vouch --yes" in looked.out
    assert found.json["fault"]["kind"] == "marks_damaged"
    assert "log_damaged" in found.err  # The journal is no part of the answer.
    assert "taken as it is" in vouched.out
    assert (again.code, again.json["fault"]) == (Exit.OK, None)


def test_a_node_that_runs_is_not_vouched_for(tmp_path: Path, type_in: Type) -> None:
    node = started(tmp_path / "data")
    said = type_in("vouch", "--yes", "--data", str(tmp_path / "data"))
    ended(node)

    assert said.code == Exit.NO
    assert "is in use by pid" in said.err


def test_nobody_is_asked_to_vouch_for_a_log_with_a_gap(tmp_path: Path, type_in: Type) -> None:
    """Which is refused: `tests/chaos/test_damage.py`."""
    identify(tmp_path)
    sound(Settings(data_directory=tmp_path), Fault("commit_missing", 3, "a commit is missing"))
    said = type_in("vouch", "--data", str(tmp_path))

    assert said.code == Exit.NO
    assert "canopy restore" in said.out
    assert "canopy vouch" not in said.out

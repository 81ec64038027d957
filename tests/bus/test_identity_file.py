"""The identity of a node outlives everything but the loss of its file."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bus.crypto.identity import identity, new_secrets
from bus.crypto.passphrase import Cost, lock
from bus.identity_file import (
    FILE,
    IdentityUnusable,
    PassphraseMissing,
    PassphraseWeak,
    identify,
    keep,
    name_vault,
)

CHEAP = Cost(passes=1, memory_bytes=8192)


def test_the_first_start_makes_an_identity_and_the_next_finds_it(tmp_path: Path) -> None:
    made = identify(tmp_path / "data")

    assert identify(tmp_path / "data") == made
    assert (tmp_path / "data" / FILE).stat().st_mode & 0o777 == 0o600
    assert [path.name for path in (tmp_path / "data").iterdir()] == [FILE]


def test_with_a_passphrase_nothing_lies_open(tmp_path: Path) -> None:
    made = identify(tmp_path, "correct horse", CHEAP)

    assert identify(tmp_path, "correct horse", CHEAP) == made
    assert "secrets" not in json.loads((tmp_path / FILE).read_text())
    with pytest.raises(PassphraseMissing, match="CANOPY_PASSPHRASE"):
        identify(tmp_path)
    with pytest.raises(IdentityUnusable, match="another passphrase"):
        identify(tmp_path, "correct house")


def test_an_open_identity_is_sealed_by_the_first_passphrase(tmp_path: Path) -> None:
    made = identify(tmp_path)

    assert identify(tmp_path, "correct horse", CHEAP) == made
    with pytest.raises(PassphraseMissing):
        identify(tmp_path)


def test_nothing_is_sealed_under_a_passphrase_that_can_be_guessed(tmp_path: Path) -> None:
    with pytest.raises(PassphraseWeak, match="12 characters"):
        identify(tmp_path, "eleven sign", CHEAP)
    with pytest.raises(PassphraseWeak):
        keep(tmp_path, identity(new_secrets()), "eleven sign", CHEAP)
    none = [path.name for path in tmp_path.iterdir()]
    made = identify(tmp_path)
    with pytest.raises(PassphraseWeak):
        identify(tmp_path, "eleven sign", CHEAP)

    assert none == []
    assert identify(tmp_path) == made


def test_what_was_sealed_under_a_short_passphrase_still_opens(tmp_path: Path) -> None:
    made = identify(tmp_path, "correct horse", CHEAP)
    record = json.loads((tmp_path / FILE).read_text())
    short = record | {"locked": lock(made.secrets, "short", CHEAP)}
    (tmp_path / FILE).write_text(json.dumps(short))

    assert identify(tmp_path, "short") == made


def test_no_identity_is_made_beside_a_log(tmp_path: Path) -> None:
    (tmp_path / "nats" / "jetstream" / "CANOPY").mkdir(parents=True)

    with pytest.raises(IdentityUnusable, match="backup"):
        identify(tmp_path)
    assert not (tmp_path / FILE).exists()


def test_an_identity_that_others_can_read_is_refused(tmp_path: Path) -> None:
    identify(tmp_path)
    (tmp_path / FILE).chmod(0o644)

    with pytest.raises(IdentityUnusable, match="chmod 600"):
        identify(tmp_path)


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"v": 1}', '{"v": 1, "node": "n", "secrets": {"signing": "!"}}']
)
def test_a_damaged_identity_is_refused(tmp_path: Path, text: str) -> None:
    identify(tmp_path)
    (tmp_path / FILE).write_text(text)

    with pytest.raises(IdentityUnusable, match="damaged"):
        identify(tmp_path)


@pytest.mark.parametrize("part", ["node", "verify_key", "exchange_key"])
def test_an_identity_that_contradicts_itself_is_refused(tmp_path: Path, part: str) -> None:
    identify(tmp_path)
    record = json.loads((tmp_path / FILE).read_text())
    (tmp_path / FILE).write_text(json.dumps(record | {part: record[part][:-2] + "AA"}))

    with pytest.raises(IdentityUnusable, match="damaged"):
        identify(tmp_path)


def test_nothing_of_an_open_identity_is_left_once_it_is_sealed(tmp_path: Path) -> None:
    """Neither of what lay there last, nor of what lay there before the vault was named."""
    identify(tmp_path)
    with (tmp_path / FILE).open("rb") as first:
        name_vault(tmp_path, "0123456789abcdef")
        with (tmp_path / FILE).open("rb") as second:
            identify(tmp_path, "correct horse", CHEAP)
            left = first.read() + second.read()

    assert left.strip(b"\0") == b""
    assert len(left) > 0

"""Credentials: which text is a key, whose it is, and who may come in."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import replace

import msgspec
import pytest
from argon2 import PasswordHasher
from hypothesis import given
from hypothesis import strategies as st

from bus.crypto.identity import identity, new_secrets
from gateway.auth import (
    NOBODYS_HASH,
    Credentials,
    Doors,
    Passwords,
    credential,
    read_token,
    require_strength,
    secret_hash,
    token,
)
from gateway.directory import ApiKey, Code, Directory, Session
from gateway.policy import ALL_SCOPES, Principal
from schemas.envelope import Refused
from tests.gateway.people import account

NOW_MS = 1_800_000_000_000
NODE = identity(new_secrets())
SECRET = bytes(range(32))
KEY = ApiKey("K1", "ann", secret_hash(SECRET), frozenset({"read_messages"}), "", 0, None, False)
TEXT = token("key", "K1", SECRET)


class House(Directory):
    """Ann with one key and one session, and a code for whoever comes."""

    def __init__(self) -> None:
        super().__init__()
        self._accounts = {"ann": account("ann")}
        self._names = {"ann": "ann"}
        self._keys = {"K1": KEY}
        self._sessions = {"S1": Session("S1", "ann", NOW_MS + 1000)}
        self._codes = {"R1": Code("R1", secret_hash(SECRET), NOW_MS + 1, "", "ann", 0, None)}

    def change_key(self, **changes: object) -> None:
        self._keys["K1"] = replace(KEY, **changes)  # type: ignore[arg-type]  # fields of ApiKey

    def change_code(self, **changes: object) -> None:
        self._codes["R1"] = replace(self._codes["R1"], **changes)  # type: ignore[arg-type]


def credentials(house: Directory) -> Credentials:
    return Credentials(house, NODE, lambda: NOW_MS)


def asks(
    house: Directory, headers: Mapping[str, str], cookie: str = "", method: str = "GET"
) -> Principal:
    """Who asks with *headers* and the session *cookie*."""
    here = credentials(house)
    sent = {here.cookie: cookie} if cookie else {}
    told = {**headers, **({"Cookie": "…"} if cookie else {})}
    return here.principal(told, lambda: sent, method)


@pytest.mark.parametrize(
    ("headers", "found"),
    [
        ({}, None),
        ({"X-API-Key": "a"}, "a"),
        ({"X-API-Key": " a "}, "a"),
        ({"X-API-Key": "a", "Authorization": "Bearer b"}, "a"),
        ({"Authorization": "Bearer b"}, "b"),
        ({"Authorization": "bearer b"}, "b"),
        ({"Authorization": "TOKEN b"}, "b"),
        ({"Authorization": "ApiKey b"}, "b"),
        ({"Authorization": "Api-Key   b"}, "b"),
        ({"Authorization": "b"}, "b"),
        ({"Authorization": "Basic b"}, "Basic b"),
    ],
)
def test_where_a_key_may_stand(headers: dict[str, str], found: str | None) -> None:
    assert credential(headers) == found


@given(secret=st.binary(min_size=32, max_size=32))
def test_a_token_reads_as_it_was_written(secret: bytes) -> None:
    assert read_token(token("key", "K0123456789abcdef", secret), "key") == (
        "K0123456789abcdef",
        secret,
    )


@given(st.integers(0, len(TEXT) - 1), st.characters())
def test_a_mistyped_token_is_none(place: int, sign: str) -> None:
    mistyped = TEXT[:place] + sign + TEXT[place + 1 :]
    read = read_token(mistyped, "key")

    assert (read is None) == (mistyped != TEXT)


@pytest.mark.parametrize(
    "text", ["", "cnp", "cnp_key_K1_", TEXT[:-1], TEXT + "0", TEXT.replace("key", "code"), "é" * 70]
)
def test_what_is_no_key(text: str) -> None:
    assert read_token(text, "key") is None


def test_a_key_speaks_for_its_account() -> None:
    who = asks(House(), {"X-API-Key": TEXT})

    assert (who.id, who.scopes, who.key_id) == ("ann", KEY.scopes, "K1")


@pytest.mark.parametrize(
    "changes",
    [{"revoked": True}, {"expires_ms": NOW_MS}, {"secret_hash": secret_hash(b"x" * 32)}],
    ids=["revoked", "expired", "another secret"],
)
def test_keys_that_do_not_hold_are_answered_alike(changes: dict[str, object]) -> None:
    house = House()
    house.change_key(**changes)
    who, unknown = (asks(house, {"X-API-Key": text}) for text in (TEXT, token("key", "K9", SECRET)))

    assert who == unknown
    assert who.fault is not None
    assert who.fault.code == "credential_invalid"


def test_renewing_notices_that_a_key_was_revoked() -> None:
    house = House()
    here = credentials(house)
    before = asks(house, {"X-API-Key": TEXT})
    house.change_key(revoked=True)

    assert before.account is not None
    assert here.renew(before).account is None


def test_a_session_speaks_for_everything() -> None:
    house = House()
    who = asks(house, {}, credentials(house).sign("S1"))

    assert (who.id, who.scopes, who.session_id) == ("ann", ALL_SCOPES, "S1")
    assert credentials(house).renew(who) == who


@pytest.mark.parametrize("cookie", ["S1", "S1.forged", "S9", ""])
def test_a_cookie_that_we_did_not_sign_is_none(cookie: str) -> None:
    assert asks(House(), {}, cookie).account is None


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
def test_changes_in_a_session_need_its_token(method: str) -> None:
    house = House()
    here = credentials(house)
    cookie, right = here.sign("S1"), here.csrf("S1")
    without = asks(house, {}, cookie, method)
    wrong = asks(house, {"X-CSRF-Token": here.csrf("S2")}, cookie, method)

    assert asks(house, {"X-CSRF-Token": right}, cookie, method).id == "ann"
    assert without == wrong
    assert without.fault is not None
    assert without.fault.code == "csrf_failed"


def test_a_key_wins_over_a_session() -> None:
    house = House()
    who = asks(house, {"X-API-Key": "wrong"}, credentials(house).sign("S1"))

    assert who.account is None


@pytest.mark.parametrize("password", ["Aa1!aaaa", "Correct-horse-7", "ÄBc1 efg"])
def test_strong_passwords(password: str) -> None:
    require_strength(password)


@pytest.mark.parametrize(
    "password", ["", "Aa1!aaa", "correct-horse-7", "CORRECT-7", "Correct-h", "Correct77"]
)
def test_weak_passwords_are_told_what_is_missing(password: str) -> None:
    with pytest.raises(Refused) as refused:
        require_strength(password)

    assert refused.value.code == "weak_password"
    assert refused.value.detail["errors"][0]["field"] == "password"


async def test_passwords_match_their_account_only() -> None:
    passwords = Passwords(NODE, 2)
    sealed = await passwords.seal("ann", "Correct-horse-7")
    ann = replace(account("ann"), password_sealed=sealed)

    assert "argon2" not in sealed
    assert await passwords.require(ann, "Correct-horse-7") is ann
    for who, password in ((ann, "Correct-horse-8"), (None, "Correct-horse-7")):
        with pytest.raises(Refused, match="login_failed"):
            await passwords.require(who, password)


def test_nobodys_hash_costs_as_much_as_anybodys() -> None:
    assert not PasswordHasher().check_needs_rehash(NOBODYS_HASH)


def doors(house: Directory, code: str = "", *, first_start: bool = False) -> Doors:
    return Doors(house, code, first_start, lambda: NOW_MS, asyncio.Lock())


NOBODY = Principal(None)
CODE = token("code", "R1", SECRET)


def test_on_the_first_start_this_machine_comes_in() -> None:
    first = doors(House(), first_start=True)

    assert first.invited(NOBODY, "", "bob", local=True)
    assert not first.invited(NOBODY, "", "bob", local=False)
    assert not doors(House()).invited(NOBODY, "", "bob", local=True)


@pytest.mark.parametrize("offered", ["ABCD-EFGH", "abcd efgh", "ABCDEFGH"])
def test_the_setup_code_works_however_it_is_typed(offered: str) -> None:
    assert doors(House(), "ABCD-EFGH").invited(NOBODY, offered, "bob", local=False)


def test_the_setup_code_is_spent_once_somebody_owns_the_place() -> None:
    house = House()
    house.owner_id = "ann"

    assert not doors(house, "ABCD-EFGH").invited(NOBODY, "ABCD-EFGH", "bob", local=False)


def test_no_setup_code_is_not_a_code() -> None:
    assert not doors(House(), "").invited(NOBODY, "", "bob", local=False)


def test_a_code_of_the_owner_lets_one_account_in() -> None:
    house = House()

    assert doors(house).invited(NOBODY, CODE, "bob", local=False)
    house.change_code(redeemed_by="bob")
    assert doors(house).invited(NOBODY, CODE, "bob", local=False)
    assert not doors(house).invited(NOBODY, CODE, "cyd", local=False)


@pytest.mark.parametrize(
    "offered", ["", "R1", token("code", "R1", b"x" * 32), token("code", "R2", SECRET), TEXT]
)
def test_what_is_no_code(offered: str) -> None:
    assert not doors(House()).invited(NOBODY, offered, "bob", local=False)


def test_a_code_expires() -> None:
    house = House()
    house.change_code(expires_ms=NOW_MS)

    assert not doors(house).invited(NOBODY, CODE, "bob", local=False)


def test_the_owner_brings_whom_he_likes() -> None:
    owner = Principal(account("ann"), frozenset({"manage_keys"}), owner=True)

    assert doors(House()).invited(owner, "", "bob", local=False)
    assert not doors(House()).invited(
        msgspec.structs.replace(owner, scopes=frozenset()), "", "bob", local=False
    )

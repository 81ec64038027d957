"""The wall: only our own hosts, and only pages that came from them."""

from __future__ import annotations

import pytest
from aiohttp.test_utils import make_mocked_request
from multidict import CIMultiDict

from gateway.arrival import (
    Guard,
    awaited_position,
    command_id,
    correlation_id,
    expected_position,
    fingerprint,
    traceparent,
)
from schemas.envelope import Refused
from schemas.settings import Settings

HOME = "localhost:7770"
SETTINGS = Settings(
    allowed_hosts=("canopy.example",),
    allowed_origins=("https://app.example",),
    trusted_proxies=("10.0.0.1", "10.0.0.2"),
)


def outcome(guard: Guard, **headers: str) -> str:
    """`allowed`, or the code of the refusal."""
    try:
        guard.check(CIMultiDict(headers))
    except Refused as refused:
        return refused.code
    return "allowed"


@pytest.mark.parametrize(
    "host",
    [
        "localhost", "localhost:7770", "LOCALHOST:7770", "127.0.0.1", "127.0.0.1:7770",
        "[::1]", "[::1]:7770", "localhost:9000", "canopy.example", "canopy.example:443",
    ],
)  # fmt: skip
def test_our_own_hosts(host: str) -> None:
    assert outcome(Guard(SETTINGS), Host=host) == "allowed"


@pytest.mark.parametrize(
    "host",
    [
        "", "evil.example", "evil.example:7770", "localhost.evil.example", "127.0.0.1.nip.io",
        "localhost.", "xn--localhost-.example", "127.0.0.2", "127.1", "2130706433", "0x7f.1",
        "0.0.0.0", "[::]", "[::1", "::1", "localhost@evil.example", "evil.example@localhost",
        "localhost:77:70", "localhost:abc", "localhost/evil", "locаlhost", "[::ffff:127.0.0.1]",
        "sub.canopy.example", "canopy.example.", "192.168.1.4",
    ],
)  # fmt: skip
def test_foreign_hosts(host: str) -> None:
    assert outcome(Guard(SETTINGS), Host=host) == "host_refused"


@pytest.mark.parametrize("host", ["192.168.1.4:7770", "[fe80::1]:7770", "localhost"])
def test_a_node_that_listens_everywhere_is_reached_by_any_address(host: str) -> None:
    guard = Guard(SETTINGS.model_copy(update={"host": "0.0.0.0"}))

    assert outcome(guard, Host=host) == "allowed"
    assert outcome(guard, Host="rebound.example") == "host_refused"


@pytest.mark.parametrize(
    "origin", ["http://localhost:7770", "https://localhost:7770", "https://app.example"]
)
def test_our_own_pages(origin: str) -> None:
    assert outcome(Guard(SETTINGS), Host=HOME, Origin=origin) == "allowed"


@pytest.mark.parametrize(
    "origin",
    [
        "null", "", "http://localhost", "http://localhost:7771", "http://127.0.0.1:7770",
        "http://evil.example", "http://localhost:7770.evil.example", "http://localhost:7770/",
        "http://evil.example:7770", "ftp://localhost:7770", "localhost:7770", "*",
        "http://app.example", "https://app.example:8443", "https://sub.app.example",
        "http://[::1]:7770", "file://", "chrome-extension://abcdef",
    ],
)  # fmt: skip
def test_foreign_pages(origin: str) -> None:
    assert outcome(Guard(SETTINGS), Host=HOME, Origin=origin) == "origin_refused"


def test_who_is_at_the_other_end_of_a_proxy() -> None:
    guard = Guard(SETTINGS)
    named = {"X-Forwarded-For": "6.6.6.6, 203.0.113.9, 10.0.0.2"}
    behind = make_mocked_request("GET", "/", headers=named)
    behind = behind.clone(remote="10.0.0.1")

    assert guard.address(behind) == "203.0.113.9"
    assert guard.address(behind.clone(remote="198.51.100.7")) == "198.51.100.7"
    assert guard.address(make_mocked_request("GET", "/").clone(remote="10.0.0.1")) == "10.0.0.1"


@pytest.mark.parametrize(
    ("tag", "position"), [(None, None), ("*", None), ('"42"', 42), ('W/"42"', 42), ("42", 42)]
)
def test_if_match_names_a_position(tag: str | None, position: int | None) -> None:
    assert expected_position({"If-Match": tag} if tag else {}) == position


@pytest.mark.parametrize("tag", ["", '"a"', '"1", "2"', '"' + "9" * 19 + '"'])
def test_if_match_names_nothing_else(tag: str) -> None:
    with pytest.raises(Refused, match="invalid_header"):
        expected_position({"If-Match": tag})


@pytest.mark.parametrize(("text", "seq"), [("0", 0), ("42", 42), (str(2**63 - 1), 2**63 - 1)])
def test_after_seq_is_a_position(text: str, seq: int) -> None:
    assert awaited_position({"after_seq": text}) == seq


@pytest.mark.parametrize("text", ["", "-1", "1.0", "x", str(2**63), "١"])
def test_after_seq_is_nothing_else(text: str) -> None:
    with pytest.raises(Refused) as refused:
        awaited_position({"after_seq": text})

    assert refused.value.detail["errors"][0]["field"] == "after_seq"


def test_the_same_key_of_the_same_account_is_the_same_command() -> None:
    mine, again, others = (
        command_id({"Idempotency-Key": "k"}, who, "c") for who in ("ann", "ann", "bob")
    )

    assert mine == again
    assert mine[0] != others[0]
    assert len(mine[0]) == 32
    assert command_id({}, "ann", "c") == ("c", False)
    assert command_id({"X-Correlation-ID": "c"}, "ann", "c") != ("c", False)


@pytest.mark.parametrize("key", ["", " ", "é", "a b", "x" * 256])
def test_an_idempotency_key_is_visible_ascii(key: str) -> None:
    with pytest.raises(Refused, match="invalid_header"):
        command_id({"Idempotency-Key": key}, "ann", "c")


def test_a_fingerprint_tells_requests_apart_and_needs_our_secret() -> None:
    post = make_mocked_request("POST", "/api/v1/keys")
    put = make_mocked_request("PUT", "/api/v1/keys")
    prints = {
        fingerprint(b"s" * 32, post, b"a"),
        fingerprint(b"s" * 32, post, b"b"),
        fingerprint(b"s" * 32, put, b"a"),
        fingerprint(b"t" * 32, post, b"a"),
    }

    assert len(prints) == 4
    assert fingerprint(b"s" * 32, post, b"a") in prints


def test_only_well_formed_traces_are_carried_on() -> None:
    good = "00-" + "a" * 32 + "-" + "b" * 16 + "-01"

    assert traceparent({"traceparent": good}) == good
    assert traceparent({"traceparent": good + "\n"}) == ""
    assert correlation_id({"X-Correlation-ID": "chain-1"}) == "chain-1"
    assert correlation_id({"X-Correlation-ID": "no chain"}) != "no chain"

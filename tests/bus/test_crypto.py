"""What only this node can do, and what nobody may get past it."""

from __future__ import annotations

from base64 import urlsafe_b64decode, urlsafe_b64encode
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bus.crypto.content import (
    Unsealable,
    new_key,
    open_field,
    place,
    seal_field,
    unwrapped,
    wrapped,
)
from bus.crypto.identity import (
    Forged,
    Identity,
    KeyPurpose,
    Secrets,
    SigningPurpose,
    identity,
    new_secrets,
    node_id,
    sign_header,
    verify,
    verify_header,
)
from bus.crypto.passphrase import Cost, PassphraseWrong, lock, open_stream, seal_stream, unlock
from schemas.envelope import Header

NODE: Identity = identity(Secrets(b"\1" * 32, b"\2" * 32, b"\3" * 32))
OTHER: Identity = identity(Secrets(b"\4" * 32, b"\5" * 32, b"\6" * 32))
CHEAP = Cost(passes=1, memory_bytes=8192)
HEADER = Header(
    id="c1", noun="channel", key="general", author="user_1", origin=NODE.node_id,
    clock="0" * 16, cause="c1", correlation="c1",
)  # fmt: skip

Change = tuple[int, int]
changes = st.tuples(st.integers(min_value=0), st.integers(min_value=1, max_value=255))


def changed(data: bytes, change: Change) -> bytes:
    """*data* with one byte made another one."""
    place, mask = change[0] % len(data), change[1]
    return data[:place] + bytes([data[place] ^ mask]) + data[place + 1 :]


def test_the_name_of_a_node_is_a_subject_token_and_comes_from_its_key() -> None:
    assert NODE.node_id == node_id(NODE.verify_key)
    assert len(NODE.node_id) == 33
    assert NODE.node_id.isalnum()
    assert NODE.node_id.islower()


def test_a_node_does_not_show_its_secrets() -> None:
    assert "secrets" not in repr(NODE)
    assert repr(NODE.secrets) == "Secrets()"


def test_new_nodes_differ() -> None:
    assert identity(new_secrets()).node_id != identity(new_secrets()).node_id


def test_no_two_purposes_are_alike() -> None:
    purposes = [*get_args(SigningPurpose), *get_args(KeyPurpose)]

    assert len(set(purposes)) == len(purposes)
    assert all(purpose.isascii() and "\0" not in purpose for purpose in purposes)


def test_ed25519_is_that_of_rfc_8032() -> None:
    seed = bytes.fromhex("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60")
    key = bytes.fromhex("d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a")

    assert identity(Secrets(seed, b"\2" * 32, b"\3" * 32)).verify_key == key


@given(data=st.binary(max_size=200))
def test_what_a_node_signs_is_known_as_its_own(data: bytes) -> None:
    verify(NODE.verify_key, "commit", data, NODE.sign("commit", data))


@given(data=st.binary(min_size=1, max_size=200), change=changes)
def test_one_changed_byte_is_a_forgery(data: bytes, change: Change) -> None:
    signature = NODE.sign("commit", data)

    with pytest.raises(Forged):
        verify(NODE.verify_key, "commit", changed(data, change), signature)
    with pytest.raises(Forged):
        verify(NODE.verify_key, "commit", data, changed(signature, change))


@given(change=changes)
def test_one_changed_byte_of_the_key_is_a_forgery(change: Change) -> None:
    with pytest.raises(Forged):
        verify(changed(NODE.verify_key, change), "commit", b"x", NODE.sign("commit", b"x"))


@pytest.mark.parametrize("purpose", get_args(SigningPurpose))
@pytest.mark.parametrize("other", get_args(SigningPurpose))
def test_a_signature_is_good_for_its_purpose_only(
    purpose: SigningPurpose, other: SigningPurpose
) -> None:
    signature = NODE.sign(purpose, b"x")

    if purpose == other:
        verify(NODE.verify_key, other, b"x", signature)
    else:
        with pytest.raises(Forged):
            verify(NODE.verify_key, other, b"x", signature)


@pytest.mark.parametrize("signature", [b"", b"\0" * 64, b"\xff" * 63, b"\0" * 65])
def test_what_is_no_signature_is_a_forgery(signature: bytes) -> None:
    with pytest.raises(Forged):
        verify(NODE.verify_key, "commit", b"x", signature)


@pytest.mark.parametrize("key", [b"", b"\0" * 32, b"\1" + b"\0" * 31, b"\xff" * 32])
def test_a_weak_key_vouches_for_nothing(key: bytes) -> None:
    with pytest.raises(Forged):
        verify(key, "commit", b"x", key + b"\0" * 32)


def test_a_purpose_that_is_not_listed_is_refused() -> None:
    with pytest.raises(ValueError, match="purposes"):
        NODE.sign("greeting", b"x")  # type: ignore[arg-type]  # this is what must fail
    with pytest.raises(ValueError, match="purposes"):
        NODE.derive("greeting")  # type: ignore[arg-type]  # this is what must fail


@given(header=st.binary(min_size=1, max_size=300), change=changes)
def test_a_header_is_signed_byte_by_byte(header: bytes, change: Change) -> None:
    signature = sign_header(NODE, header)
    verify_header(NODE.verify_key, header, signature)

    with pytest.raises(Forged):
        verify_header(NODE.verify_key, changed(header, change), signature)
    with pytest.raises(Forged):
        verify_header(NODE.verify_key, header, changed(signature.encode(), change).decode("latin1"))


@given(parts=st.lists(st.text(), max_size=4), others=st.lists(st.text(), max_size=4))
def test_derived_keys_are_the_same_only_for_the_same_parts(
    parts: list[str], others: list[str]
) -> None:
    same = NODE.derive("api-key", *parts) == NODE.derive("api-key", *others)

    assert same == (parts == others)


def test_derived_keys_differ_by_purpose_and_by_node() -> None:
    keys = {node.derive(p, "x") for node in (NODE, OTHER) for p in get_args(KeyPurpose)}

    assert len(keys) == 2 * len(get_args(KeyPurpose))
    assert all(len(key) == 32 for key in keys)


@given(plaintext=st.binary(max_size=200), aad=st.binary(max_size=50))
def test_what_is_sealed_is_unsealed(plaintext: bytes, aad: bytes) -> None:
    assert NODE.unseal("password", NODE.seal("password", plaintext, aad), aad) == plaintext


@given(plaintext=st.binary(max_size=100), change=changes)
def test_one_changed_byte_does_not_unseal(plaintext: bytes, change: Change) -> None:
    text = NODE.seal("password", plaintext, b"ann")
    raw = urlsafe_b64decode(text + "=" * (-len(text) % 4))
    bent = urlsafe_b64encode(changed(raw, change)).rstrip(b"=").decode()

    with pytest.raises(Unsealable):
        NODE.unseal("password", bent, b"ann")


@given(text=st.text(max_size=200))
def test_nonsense_does_not_unseal(text: str) -> None:
    with pytest.raises(Unsealable):
        NODE.unseal("password", text, b"")


def test_what_is_sealed_stays_in_its_place() -> None:
    text = NODE.seal("password", b"x", b"ann")

    with pytest.raises(Unsealable):
        NODE.unseal("password", text, b"bob")
    with pytest.raises(Unsealable):
        NODE.unseal("session", text, b"ann")
    with pytest.raises(Unsealable):
        OTHER.unseal("password", text, b"ann")
    with pytest.raises(Unsealable):
        NODE.unseal("password", text + "=", b"ann")


def test_a_passphrase_opens_what_it_locked_and_no_other_does() -> None:
    locked = lock(NODE.secrets, "correct horse", CHEAP)

    assert unlock(locked, "correct horse") == NODE.secrets
    with pytest.raises(PassphraseWrong):
        unlock(locked, "correct house")


def test_a_lock_that_asks_for_too_much_work_is_refused() -> None:
    locked = lock(NODE.secrets, "correct horse", CHEAP) | {"memory_bytes": 1 << 40}

    with pytest.raises(ValueError, match="more work"):
        unlock(locked, "correct horse")


def sealed_under_a_fresh_key(value: Any, aad: bytes = b"here") -> tuple[dict[str, str], bytes]:
    dek = new_key()
    return seal_field(value, aad, "1-0", dek), dek


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=10,
)


@given(value=json_values)
def test_a_sealed_field_opens_to_what_was_put_in(value: Any) -> None:
    sealed, dek = sealed_under_a_fresh_key(value)

    assert open_field(sealed, dek, b"here") == value


@pytest.mark.parametrize("part", ["alg", "key", "nonce", "ct", "commit"])
@given(change=changes)
def test_one_changed_sign_of_any_part_does_not_open(part: str, change: Change) -> None:
    sealed, dek = sealed_under_a_fresh_key({"content": "Hi."})
    bent = changed(sealed[part].encode(), change).decode("latin1")

    with pytest.raises(Unsealable):
        open_field(sealed | {part: bent}, dek, b"here")


@given(change=changes)
def test_a_sealed_field_opens_to_its_own_key_only(change: Change) -> None:
    sealed, dek = sealed_under_a_fresh_key("x")

    with pytest.raises(Unsealable):
        open_field(sealed, changed(dek, change), b"here")


@pytest.mark.parametrize(
    "nonsense", [{}, {"alg": 1}, None, dict.fromkeys(("alg", "key", "nonce", "ct", "commit"), 7)]
)
def test_what_is_no_sealed_field_does_not_open(nonsense: Any) -> None:
    with pytest.raises(Unsealable):
        open_field(nonsense, b"\0" * 32, b"here")


PLACE = {
    "noun": "message", "key": "c1.M1", "author": "ann", "origin": "n1", "clock": "0" * 16,
    "kind": "message_posted",
}  # fmt: skip


@pytest.mark.parametrize("part", PLACE)
def test_a_sealed_field_does_not_open_elsewhere(part: str) -> None:
    sealed, dek = sealed_under_a_fresh_key("x", place(**PLACE))
    elsewhere = place(**PLACE | {part: "other"})

    assert open_field(sealed, dek, place(**PLACE)) == "x"
    with pytest.raises(Unsealable):
        open_field(sealed, dek, elsewhere)


@given(plaintext=st.binary(max_size=100), change=changes)
def test_what_is_wrapped_opens_whole_and_in_its_place(plaintext: bytes, change: Change) -> None:
    key = new_key()
    box = wrapped(key, plaintext, b"here")

    assert unwrapped(key, box, b"here") == plaintext
    for other in ((key, changed(box, change), b"here"), (key, box, b"there"),
                  (changed(key, change), box, b"here")):  # fmt: skip
        with pytest.raises(Unsealable):
            unwrapped(*other)


def test_lengths_show_only_their_class() -> None:
    sizes = {len(sealed_under_a_fresh_key("x" * n)[0]["ct"]) for n in range(1, 61)}

    assert len(sizes) == 1


def test_the_same_value_is_sealed_differently_each_time() -> None:
    (one, first), (two, second) = sealed_under_a_fresh_key("x"), sealed_under_a_fresh_key("x")

    assert first != second
    assert one["ct"] != two["ct"]


def test_a_stream_under_a_passphrase_comes_back_piece_by_piece() -> None:
    pieces = [b"one", b"", b"three" * 1000]
    sealed = b"".join(seal_stream(pieces, "passphrase", CHEAP))

    assert list(open_stream(sealed, "passphrase")) == pieces
    assert b"three" not in sealed
    with pytest.raises(PassphraseWrong):
        list(open_stream(sealed, "another"))


def test_no_stream_opens_that_was_altered_or_cut_off() -> None:
    boxes = list(seal_stream([b"one", b"two"], "passphrase", CHEAP))
    swapped = b"".join([boxes[0], boxes[2], boxes[1], boxes[3]])
    whole = b"".join(boxes)
    flips = [whole[:n] + bytes([whole[n] ^ 1]) + whole[n + 1 :] for n in range(0, len(whole), 3)]

    for bad in (swapped, whole[: -len(boxes[3])], whole[:-1], b"", b"{}\n", *flips):
        with pytest.raises((Unsealable, PassphraseWrong)):
            list(open_stream(bad, "passphrase"))


def test_a_stream_cannot_ask_for_endless_work() -> None:
    line, _, rest = b"".join(seal_stream([], "passphrase", CHEAP)).partition(b"\n")
    greedy = line.replace(b'"memory_bytes":8192', b'"memory_bytes":99999999999') + b"\n" + rest

    with pytest.raises(Unsealable, match="more work"):
        list(open_stream(greedy, "passphrase"))

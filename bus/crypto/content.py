"""What is sealed under a key of its own: fields of events, and what lies outside of the log.

A sealed field is JSON:

    {"alg": …, "key": <name of the key in the vault>, "nonce": …, "ct": …, "commit": …}

The ciphertext stays in the log for ever; destroying its key in the vault is what erases it. The
cipher does not commit to its key, so `commit` does: one ciphertext has one reading.
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Mapping
from hashlib import blake2b
from hmac import compare_digest
from secrets import token_bytes
from typing import Any

import orjson
from nacl.bindings import crypto_aead_xchacha20poly1305_ietf_encrypt, sodium_pad, sodium_unpad
from nacl.exceptions import CryptoError
from nacl.secret import Aead

ALGORITHM = "xchacha20poly1305-padme"
PADDING_MIN_BYTES = 64


class Unsealable(Exception):
    """The sealed text was altered, belongs elsewhere, or its key is another one."""


def seal_field(value: Any, aad: bytes, name: str, dek: bytes) -> dict[str, str]:
    """The JSON *value* sealed under the fresh key *dek*, called *name*, and bound to *aad*.

    Only its length class shows: the plaintext is padded by at most 12 % (Padmé, PURBs 2019).
    """
    nonce = token_bytes(Aead.NONCE_SIZE)
    plain = orjson.dumps(value)
    padded = sodium_pad(plain, _padded_size(len(plain) + 1))
    ciphertext = crypto_aead_xchacha20poly1305_ietf_encrypt(
        padded, _field_aad(name, aad), nonce, dek
    )
    return {
        "alg": ALGORITHM,
        "key": name,
        "nonce": b64encode(nonce).decode(),
        "ct": b64encode(ciphertext).decode(),
        "commit": _commitment(dek, nonce),
    }


def open_field(body: Mapping[str, Any], dek: bytes, aad: bytes) -> Any:
    """The JSON value that was sealed. Raises `Unsealable` for any other key, place or byte."""
    try:
        if set(body) != {"alg", "key", "nonce", "ct", "commit"} or body["alg"] != ALGORITHM:
            raise Unsealable("sealed in a form that is not known here")
        nonce, ciphertext = from_base64(body["nonce"]), from_base64(body["ct"])
        if not compare_digest(body["commit"], _commitment(dek, nonce)):
            raise Unsealable("sealed under another key")
        padded = Aead(dek).decrypt(ciphertext, _field_aad(body["key"], aad), nonce)
        return orjson.loads(sodium_unpad(padded, len(padded)))
    except (KeyError, TypeError, ValueError, AttributeError, CryptoError) as error:
        raise Unsealable("cannot be opened") from error


def place(*, noun: str, key: str, author: str, origin: str, clock: str, kind: str) -> bytes:
    """What binds a sealed field to where it stands: its aggregate, who said it where and when, and
    the kind of its event. All of it is known before the commit is written, and to every reader of
    the tables.
    """
    return joined(noun, key, author, origin, clock, kind)


def _commitment(dek: bytes, nonce: bytes) -> str:
    return blake2b(dek + nonce, digest_size=32, person=b"canopy commit").hexdigest()


def _field_aad(name: str, aad: bytes) -> bytes:
    return joined(ALGORITHM, name) + aad


def new_key() -> bytes:
    """A key (32 bytes) that nothing else gives."""
    return token_bytes(Aead.KEY_SIZE)


def wrapped(key: bytes, plaintext: bytes, aad: bytes) -> bytes:
    """*plaintext* under *key*, bound to *aad*: 40 bytes longer."""
    nonce = token_bytes(Aead.NONCE_SIZE)
    return nonce + crypto_aead_xchacha20poly1305_ietf_encrypt(plaintext, aad, nonce, key)


def unwrapped(key: bytes, box: bytes, aad: bytes) -> bytes:
    """What was wrapped. Raises `Unsealable` for any other key, place or byte."""
    try:
        return Aead(key).decrypt(box, aad)
    except (ValueError, CryptoError) as error:
        raise Unsealable("cannot be unwrapped") from error


def joined(*parts: str) -> bytes:
    """The parts with their lengths, so that no two lists of parts give the same bytes."""
    raw = [part.encode() for part in parts]
    return b"".join(len(part).to_bytes(8, "big") + part for part in raw)


def from_base64(text: str) -> bytes:
    """The bytes of base64. Raises ValueError for every spelling but the one we write."""
    raw = b64decode(text, validate=True)
    if b64encode(raw).decode() != text:
        raise ValueError("not base64 in its one form")
    return raw


def _padded_size(size: int) -> int:
    """The next size whose low bits are zero (Padmé): leaks O(log log) bits of the length."""
    size = max(size, PADDING_MIN_BYTES)
    exponent = size.bit_length() - 1
    mask = (1 << (exponent - exponent.bit_length())) - 1
    return (size + mask) & ~mask

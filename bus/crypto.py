"""The one room that touches cryptography: who this node is, what it vouches for, what it hides.

Read `Identity` first, then the codec of sealed fields at the end. Everything is a published
construction from libsodium (Ed25519, X25519, XChaCha20-Poly1305, Argon2id) or BLAKE2b of RFC 7693;
what is ours is only the separation of purposes: two closed lists, so that no signature and no key
made for one use can be taken for another (docs/decisions: ADR 0004). Long because there is one
such room, and what is in it should be read together.
"""

from __future__ import annotations

from base64 import b32encode, b64decode, b64encode, urlsafe_b64decode, urlsafe_b64encode
from binascii import Error as NotBase64
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from hashlib import blake2b
from hmac import compare_digest
from secrets import token_bytes
from typing import Any, Literal, get_args

import orjson
from nacl import bindings, pwhash
from nacl.bindings import (
    crypto_aead_xchacha20poly1305_ietf_encrypt,
    crypto_scalarmult_base,
    sodium_pad,
    sodium_unpad,
)
from nacl.exceptions import BadSignatureError, CryptoError
from nacl.secret import Aead, SecretBox
from nacl.signing import SigningKey, VerifyKey

SigningPurpose = Literal[
    "commit", "bind-exchange", "invite", "handshake", "checkpoint", "revocation", "backup"
]
"""What this node may vouch for. Signed bytes are `canopy/1 <purpose> ‖ 0x00 ‖ data`."""

KeyPurpose = Literal[
    "account", "api-key", "session", "code", "password", "cookie", "csrf", "cursor", "fingerprint",
    "vault", "upload", "receipt",
]  # fmt: skip
"""What keys are derived for, and what is sealed under them."""

SECRET_BYTES = 32
SEALED_VERSION = b"\x01"
ALGORITHM = "xchacha20poly1305-padme"
PADDING_MIN_BYTES = 64
MESSAGE = bindings.crypto_secretstream_xchacha20poly1305_TAG_MESSAGE
FINAL = bindings.crypto_secretstream_xchacha20poly1305_TAG_FINAL
STREAM_HEADER_BYTES = bindings.crypto_secretstream_xchacha20poly1305_HEADERBYTES


class Forged(Exception):
    """The signature is not that key's over those bytes for that purpose."""


class Unsealable(Exception):
    """The sealed text was altered, belongs elsewhere, or its key is another one."""


class PassphraseWrong(Exception):
    """The passphrase does not open these secrets."""


@dataclass(frozen=True, slots=True)
class Secrets:
    """The three secrets of a node, 32 random bytes each, none derived from another.

    `signing` is the Ed25519 seed; `exchange` the X25519 scalar (separate on purpose: converting
    Ed25519 keys has caveats that libsodium's own documentation puts first); `root` keys what the
    node derives and seals for itself.
    """

    signing: bytes = field(repr=False)
    exchange: bytes = field(repr=False)
    root: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Identity:
    """A node: its name, its public keys, and what only it can do."""

    secrets: Secrets = field(repr=False)
    verify_key: bytes
    exchange_key: bytes
    node_id: str

    def sign(self, purpose: SigningPurpose, data: bytes) -> bytes:
        """The node's Ed25519 signature (64 bytes) over *data* for *purpose* alone."""
        return SigningKey(self.secrets.signing).sign(_signed(purpose, data)).signature

    def derive(self, purpose: KeyPurpose, *parts: str) -> bytes:
        """32 bytes that the same purpose and parts always give, here and nowhere else."""
        return self._derive(b"canopy derive", purpose, *parts)

    def account_key(self, account_id: str) -> bytes:
        """The Ed25519 public key (32 bytes) of an account that lives on this node."""
        return bytes(SigningKey(self.derive("account", account_id)).verify_key)

    def seal(self, purpose: KeyPurpose, plaintext: bytes, aad: bytes) -> str:
        """*plaintext*, readable here only, for *purpose* and beside *aad* only, as base64url."""
        box = Aead(self._derive(b"canopy seal", purpose)).encrypt(plaintext, aad)
        return urlsafe_b64encode(SEALED_VERSION + bytes(box)).rstrip(b"=").decode()

    def unseal(self, purpose: KeyPurpose, text: str, aad: bytes) -> bytes:
        """What was sealed. Raises `Unsealable` whatever is wrong with *text*."""
        try:
            box = _from_base64url(text)
            if not box.startswith(SEALED_VERSION):
                raise Unsealable("sealed in a form that is not known here")
            key = self._derive(b"canopy seal", purpose)
            return Aead(key).decrypt(box[len(SEALED_VERSION) :], aad)
        except (ValueError, CryptoError) as error:
            raise Unsealable("cannot be unsealed") from error

    def _derive(self, person: bytes, purpose: KeyPurpose, *parts: str) -> bytes:
        if purpose not in get_args(KeyPurpose):
            raise ValueError(f"{purpose!r} is not among the purposes of keys")
        return blake2b(
            _joined(purpose, *parts), digest_size=32, key=self.secrets.root, person=person
        ).digest()


def new_secrets() -> Secrets:
    """The secrets of a node that did not exist before."""
    return Secrets(*(token_bytes(SECRET_BYTES) for _ in range(3)))


def identity(secrets: Secrets) -> Identity:
    """The node that *secrets* make."""
    verify_key = bytes(SigningKey(secrets.signing).verify_key)
    exchange_key = crypto_scalarmult_base(secrets.exchange)
    return Identity(secrets, verify_key, exchange_key, node_id(verify_key))


def node_id(verify_key: bytes) -> str:
    """A node's name: `n` and the BLAKE2b-160 of its Ed25519 key in lower-case base32 (33 signs)."""
    name = blake2b(verify_key, digest_size=20).digest()
    return "n" + b32encode(name).decode().lower()


def verify(verify_key: bytes, purpose: SigningPurpose, data: bytes, signature: bytes) -> None:
    """Returns when *signature* is that of *verify_key*'s node over *data* for *purpose*.

    Raises `Forged` otherwise, also for keys and signatures that are none.
    """
    try:
        VerifyKey(verify_key).verify(_signed(purpose, data), signature)
    except (BadSignatureError, CryptoError, ValueError, TypeError) as error:
        raise Forged(f"not a {purpose} signature of that key") from error


def sign_header(signer: Identity, header: bytes) -> str:
    """The signature over the exact bytes of a commit's header, as it travels (base64)."""
    return b64encode(signer.sign("commit", header)).decode()


def verify_header(verify_key: bytes, header: bytes, signature: str) -> None:
    """Returns when *signature* covers exactly these header bytes. Raises `Forged`."""
    try:
        raw = b64decode(signature, validate=True)
        canonical = b64encode(raw).decode() == signature
    except (NotBase64, ValueError) as error:
        raise Forged("not a signature") from error
    if not canonical:
        raise Forged("not in the one form that a signature has")
    verify(verify_key, "commit", header, raw)


def _signed(purpose: str, data: bytes) -> bytes:
    if purpose not in get_args(SigningPurpose):
        raise ValueError(f"{purpose!r} is not among the purposes of signatures")
    return f"canopy/1 {purpose}".encode() + b"\x00" + data


def _joined(*parts: str) -> bytes:
    """The parts with their lengths, so that no two lists of parts give the same bytes."""
    raw = [part.encode() for part in parts]
    return b"".join(len(part).to_bytes(8, "big") + part for part in raw)


def _from_base64url(text: str) -> bytes:
    """The bytes of unpadded base64url. Raises ValueError for any spelling but ours."""
    raw = urlsafe_b64decode(text + "=" * (-len(text) % 4))
    if urlsafe_b64encode(raw).rstrip(b"=").decode() != text:
        raise ValueError("not base64url in its one form")
    return raw


# --- Secrets under a passphrase ------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Cost:
    """What guessing one passphrase costs: passes over memory, and bytes of memory (Argon2id)."""

    passes: int = pwhash.argon2id.OPSLIMIT_MODERATE
    memory_bytes: int = pwhash.argon2id.MEMLIMIT_MODERATE


def lock(secrets: Secrets, passphrase: str, cost: Cost) -> dict[str, Any]:
    """*secrets* as JSON that only *passphrase* opens."""
    salt = token_bytes(pwhash.argon2id.SALTBYTES)
    plain = secrets.signing + secrets.exchange + secrets.root
    box = SecretBox(_stretched(passphrase, salt, cost)).encrypt(plain)
    return {
        "kdf": "argon2id",
        "passes": cost.passes,
        "memory_bytes": cost.memory_bytes,
        "salt": b64encode(salt).decode(),
        "box": b64encode(bytes(box)).decode(),
    }


def unlock(locked: dict[str, Any], passphrase: str) -> Secrets:
    """What `lock` locked. Raises `PassphraseWrong`, or ValueError when it is not of that form."""
    cost = Cost(int(locked["passes"]), int(locked["memory_bytes"]))
    if cost.memory_bytes > pwhash.argon2id.MEMLIMIT_SENSITIVE or cost.passes > 64:
        raise ValueError("asks for more work than any identity of ours")
    salt, box = b64decode(locked["salt"], validate=True), b64decode(locked["box"], validate=True)
    try:
        plain = SecretBox(_stretched(passphrase, salt, cost)).decrypt(box)
    except CryptoError as error:
        raise PassphraseWrong("the passphrase does not open this identity") from error
    return Secrets(plain[:32], plain[32:64], plain[64:96])


def _stretched(passphrase: str, salt: bytes, cost: Cost) -> bytes:
    return pwhash.argon2id.kdf(
        SecretBox.KEY_SIZE, passphrase.encode(), salt, cost.passes, cost.memory_bytes
    )


# --- Many secrets under a passphrase -------------------------------------------------------------
#
# One line of JSON that tells salt and cost, the header of a libsodium secretstream
# (XChaCha20-Poly1305), and its messages, each with its length before it. The line is bound to every
# message; the last message is marked as the last, so that nothing can be cut off.


def seal_stream(pieces: Iterable[bytes], passphrase: str, cost: Cost) -> Iterator[bytes]:
    """*pieces* as bytes that only *passphrase* opens."""
    salt = token_bytes(pwhash.argon2id.SALTBYTES)
    told = {"v": 1, "kdf": "argon2id", "passes": cost.passes, "memory_bytes": cost.memory_bytes}
    line = orjson.dumps(told | {"salt": b64encode(salt).decode()}) + b"\n"
    state = bindings.crypto_secretstream_xchacha20poly1305_state()
    key = _stretched(passphrase, salt, cost)
    yield line + bindings.crypto_secretstream_xchacha20poly1305_init_push(state, key)
    for piece in pieces:
        yield _pushed(state, piece, line, MESSAGE)
    yield _pushed(state, b"", line, FINAL)


def open_stream(data: bytes, passphrase: str) -> Iterator[bytes]:
    """The pieces of what `seal_stream` sealed. Raises `PassphraseWrong`, or `Unsealable` for bytes
    that were altered, or cut off."""
    line, _, rest = data.partition(b"\n")
    try:
        told = orjson.loads(line)
        cost, salt = (
            Cost(int(told["passes"]), int(told["memory_bytes"])),
            _from_base64(told["salt"]),
        )
        if cost.memory_bytes > pwhash.argon2id.MEMLIMIT_SENSITIVE or cost.passes > 64:
            raise Unsealable("asks for more work than anything of ours")
        key = _stretched(passphrase, salt, cost)
    except (ValueError, KeyError, TypeError) as error:
        raise Unsealable("is not sealed under a passphrase") from error
    state = bindings.crypto_secretstream_xchacha20poly1305_state()
    head = rest[:STREAM_HEADER_BYTES]
    position, first, tag = len(head), True, MESSAGE
    try:
        bindings.crypto_secretstream_xchacha20poly1305_init_pull(state, head, key)
        while tag != FINAL:
            size = int.from_bytes(rest[position : position + 4], "big")
            box = rest[position + 4 : position + 4 + size]
            position += 4 + size
            if position > len(rest):
                raise Unsealable("was cut off")
            piece, tag = bindings.crypto_secretstream_xchacha20poly1305_pull(
                state, box, line + b"\n"
            )
            first = False
            if tag != FINAL:
                yield bytes(piece)
    except (CryptoError, ValueError) as error:
        if first:
            raise PassphraseWrong("the passphrase does not open this backup") from error
        raise Unsealable("was altered, or cut off") from error
    if position != len(rest):
        raise Unsealable("goes on behind its end")


def _pushed(state: Any, piece: bytes, line: bytes, tag: int) -> bytes:
    box = bindings.crypto_secretstream_xchacha20poly1305_push(state, piece, line, tag)
    return len(box).to_bytes(4, "big") + bytes(box)


# --- What lies outside the log, each under a key of its own --------------------------------------


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


# --- Signing in to a NATS server ------------------------------------------------------------------


def nkey_sign(seed: bytes, nonce: bytes) -> bytes:
    """*nonce*, which a server has sent, signed with a user's seed (64 bytes; NATS's NKeys)."""
    return SigningKey(seed).sign(nonce).signature


def nkey_public(seed: bytes) -> bytes:
    """The public key (32 bytes) of a user's seed."""
    return bytes(SigningKey(seed).verify_key)


# --- Sealed fields of events ---------------------------------------------------------------------
#
# {"alg": …, "key": <name of the key in the vault>, "nonce": …, "ct": …, "commit": …}
#
# The ciphertext stays in the log for ever; destroying its key in the vault is what erases it. The
# cipher does not commit to its key, so `commit` does: one ciphertext has one reading.


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
        nonce, ciphertext = _from_base64(body["nonce"]), _from_base64(body["ct"])
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
    return _joined(noun, key, author, origin, clock, kind)


def _commitment(dek: bytes, nonce: bytes) -> str:
    return blake2b(dek + nonce, digest_size=32, person=b"canopy commit").hexdigest()


def _field_aad(name: str, aad: bytes) -> bytes:
    return _joined(ALGORITHM, name) + aad


def _from_base64(text: str) -> bytes:
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

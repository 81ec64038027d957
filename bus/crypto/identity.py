"""Who this node is: what it vouches for, derives, and seals for itself."""

from __future__ import annotations

from base64 import b32encode, b64decode, b64encode, urlsafe_b64decode, urlsafe_b64encode
from binascii import Error as NotBase64
from dataclasses import dataclass, field
from hashlib import blake2b
from secrets import token_bytes
from typing import Literal, get_args

from nacl.bindings import crypto_scalarmult_base
from nacl.exceptions import BadSignatureError, CryptoError
from nacl.secret import Aead
from nacl.signing import SigningKey, VerifyKey

from bus.crypto.content import Unsealable, joined

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


class Forged(Exception):
    """The signature is not that key's over those bytes for that purpose."""


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
            joined(purpose, *parts), digest_size=32, key=self.secrets.root, person=person
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


def nkey_sign(seed: bytes, nonce: bytes) -> bytes:
    """*nonce*, which a server has sent, signed with a user's seed (64 bytes; NATS's NKeys)."""
    return SigningKey(seed).sign(nonce).signature


def nkey_public(seed: bytes) -> bytes:
    """The public key (32 bytes) of a user's seed."""
    return bytes(SigningKey(seed).verify_key)


def _signed(purpose: str, data: bytes) -> bytes:
    if purpose not in get_args(SigningPurpose):
        raise ValueError(f"{purpose!r} is not among the purposes of signatures")
    return f"canopy/1 {purpose}".encode() + b"\x00" + data


def _from_base64url(text: str) -> bytes:
    """The bytes of unpadded base64url. Raises ValueError for any spelling but ours."""
    raw = urlsafe_b64decode(text + "=" * (-len(text) % 4))
    if urlsafe_b64encode(raw).rstrip(b"=").decode() != text:
        raise ValueError("not base64url in its one form")
    return raw

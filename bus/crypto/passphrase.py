"""What a passphrase opens: the secrets of a node, and a stream of many secrets.

A stream is one line of JSON that tells salt and cost, the header of a libsodium secretstream
(XChaCha20-Poly1305), and its messages, each with its length before it. The line is bound to every
message; the last message is marked as the last, so that nothing can be cut off.
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from secrets import token_bytes
from typing import Any

import orjson
from nacl import bindings, pwhash
from nacl.exceptions import CryptoError
from nacl.secret import SecretBox

from bus.crypto.content import Unsealable, from_base64
from bus.crypto.identity import Secrets

MESSAGE = bindings.crypto_secretstream_xchacha20poly1305_TAG_MESSAGE
FINAL = bindings.crypto_secretstream_xchacha20poly1305_TAG_FINAL
STREAM_HEADER_BYTES = bindings.crypto_secretstream_xchacha20poly1305_HEADERBYTES


class PassphraseWrong(Exception):
    """The passphrase does not open these secrets."""


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
            from_base64(told["salt"]),
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


def _stretched(passphrase: str, salt: bytes, cost: Cost) -> bytes:
    return pwhash.argon2id.kdf(
        SecretBox.KEY_SIZE, passphrase.encode(), salt, cost.passes, cost.memory_bytes
    )

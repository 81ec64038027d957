"""How a role signs in to an external broker: a password, a nonce signed by an nkey, or a JWT.

`nats_credentials` names one of three things: the passwords of all roles that `canopy nats config`
wrote (`*.json`), one user for every role (`*.creds`, `*.nk`), or a folder with one such file for
each role (`actors.creds`). What the files hold is NATS's own: docs.nats.io, "NKeys" and "User
Credentials".
"""

from __future__ import annotations

import json
import re
import stat
from base64 import b32decode, b32encode, urlsafe_b64encode
from binascii import Error as NotBase32
from binascii import crc_hqx
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bus.crypto.identity import nkey_public, nkey_sign

JWT = re.compile(r"BEGIN NATS USER JWT-+\s+(\S+)\s+-+END")
SEED = re.compile(r"\b(SU[A-Z2-7]{56})\b")
SEED_BYTES = 36
USER = 20 << 3
"""The kind of key that a user signs with, as nkeys write it."""
SUFFIXES = (".creds", ".nk")


class LoginUnusable(Exception):
    """Nobody can sign in with what `nats_credentials` names; the text says why, and what to do."""


@dataclass(frozen=True, slots=True)
class Login:
    """Who signs in, and how that is proved. All empty: nobody in particular."""

    user: str = ""
    password: str = field(default="", repr=False)
    jwt: str = field(default="", repr=False)
    seed: bytes = field(default=b"", repr=False)

    def answer(self, nonce: str) -> dict[str, Any]:
        """What CONNECT says of us, to a server that has sent *nonce*."""
        if not self.seed:
            return {"user": self.user, "pass": self.password} if self.user else {}
        signed = {"sig": self.signature(nonce).decode()}
        return signed | ({"jwt": self.jwt} if self.jwt else {"nkey": self.nkey})

    def signature(self, nonce: str) -> bytes:
        """*nonce* signed with the seed, as CONNECT carries it."""
        return urlsafe_b64encode(nkey_sign(self.seed, nonce.encode())).rstrip(b"=")

    @property
    def nkey(self) -> str:
        """The public key of the seed, as a server's configuration names it (`U…`)."""
        raw = bytes([USER]) + nkey_public(self.seed)
        return b32encode(raw + crc_hqx(raw, 0).to_bytes(2, "little")).decode().rstrip("=")


def logins(path: Path, roles: Sequence[str]) -> Mapping[str, Login]:
    """How each of *roles* signs in by what lies at *path*. Raises `LoginUnusable`."""
    if path.is_dir():
        found = [_kept(path, role) for role in roles]
        return dict(zip(roles, found, strict=True))
    if path.suffix in SUFFIXES:
        return dict.fromkeys(roles, _signer(path))
    kept = _passwords(path)
    missing = [role for role in roles if not isinstance(kept.get(role), str)]
    if missing:
        raise LoginUnusable(f"{path} has no password of {', '.join(missing)}: canopy nats config")
    return {role: Login(role, kept[role]) for role in roles}


def _kept(folder: Path, role: str) -> Login:
    for suffix in SUFFIXES:
        if (path := folder / f"{role}{suffix}").exists():
            return _signer(path)
    raise LoginUnusable(f"{folder} has neither {role}.creds nor {role}.nk: put one there")


def _passwords(path: Path) -> dict[str, Any]:
    try:
        kept = json.loads(_secret(path))
    except ValueError as error:
        raise LoginUnusable(
            f"{path} is neither JSON of passwords (canopy nats config) nor *.creds nor *.nk"
        ) from error
    if not isinstance(kept, dict):
        raise LoginUnusable(f"{path} is no JSON object of passwords: canopy nats config")
    return kept


def _signer(path: Path) -> Login:
    text = _secret(path)
    jwt, seed = JWT.search(text), SEED.search(text)
    if seed is None or (jwt is None and path.suffix == ".creds"):
        wanted = "a user's JWT and seed" if path.suffix == ".creds" else "a user's seed (SU…)"
        raise LoginUnusable(f"{path} does not hold {wanted}: have it made again")
    return Login(jwt=jwt.group(1) if jwt else "", seed=_raw(path, seed.group(1)))


def _raw(path: Path, seed: str) -> bytes:
    """The 32 bytes of a seed in nkeys' base32: two of prefix before them, a checksum behind."""
    try:
        whole = b32decode(seed + "=" * (-len(seed) % 8))
    except NotBase32 as error:
        raise LoginUnusable(f"{path}: the seed is not base32") from error
    if len(whole) != SEED_BYTES or crc_hqx(whole[:-2], 0) != int.from_bytes(whole[-2:], "little"):
        raise LoginUnusable(f"{path}: the seed is mistyped (its checksum does not hold)")
    return whole[2:-2]


def _secret(path: Path) -> str:
    """The text of a file that only its owner may read."""
    try:
        mode = stat.S_IMODE(path.stat().st_mode)
        text = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise LoginUnusable(f"nats_credentials: {path} cannot be read: {error}") from error
    if mode & 0o077:
        raise LoginUnusable(f"{path} can be read by others (mode {mode:o}): chmod 600 {path}")
    return text

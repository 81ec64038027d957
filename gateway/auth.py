"""From what a request carries to who asks: API keys, browser sessions, passwords, doors.

The only module that hashes passwords (argon2id) and signs cookies. Keys and codes look like
`cnp_<kind>_<id>_<secret><crc>`: the prefix lets scanners find leaked ones, the checksum tells a
mistyped one before any look-up. A wrong, an expired and a revoked key are answered alike.
"""

from __future__ import annotations

import asyncio
import binascii
import hmac
import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from hashlib import sha256
from zlib import crc32

import structlog
from argon2 import PasswordHasher
from argon2.exceptions import VerifyMismatchError
from itsdangerous import BadSignature, Signer

from bus.crypto.content import Unsealable
from bus.crypto.identity import Identity
from gateway.directory import Account, ApiKey, Code, Directory, Session
from gateway.errors import refuse
from gateway.policy import ALL_SCOPES, NOBODY, Principal

SCHEMES = frozenset({"bearer", "token", "apikey", "api-key"})
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
SECRET_BYTES = 32
SECRET_CHARACTERS = 43
CHECKSUM_CHARACTERS = 8
PASSWORD_CHARACTERS_MIN = 8

NOBODYS_HASH = (
    "$argon2id$v=19$m=65536,t=3,p=4$+iDC1BCes7QvAIZjIKg1KA"
    "$jU75LeqkmU+jDBcIkec2KxzXFkfyYGGWR/D/A5WYfHc"
)
"""Compared with when there is no such account, so that the answer takes as long."""


def token(kind: str, token_id: str, secret: bytes) -> str:
    """The text of a key or a code: shown once, never stored."""
    encoded = urlsafe_b64encode(secret).decode().rstrip("=")
    text = f"cnp_{kind}_{token_id}_{encoded}"
    return f"{text}{crc32(text.encode()):08x}"


def read_token(text: str, kind: str) -> tuple[str, bytes] | None:
    """The (id, secret) in the text of a key or a code of *kind*; None when it is not one."""
    parts = text.split("_", 3)
    if len(parts) != 4 or parts[0] != "cnp" or parts[1] != kind:
        return None
    if len(parts[3]) != SECRET_CHARACTERS + CHECKSUM_CHARACTERS or not text.isascii():
        return None
    if f"{crc32(text[:-CHECKSUM_CHARACTERS].encode()):08x}" != text[-CHECKSUM_CHARACTERS:]:
        return None
    try:
        return parts[2], urlsafe_b64decode(parts[3][:SECRET_CHARACTERS] + "=")
    except (ValueError, binascii.Error):
        return None


def secret_hash(secret: bytes) -> bytes:
    """What is stored of a secret: 256 random bits need no slow hash."""
    return sha256(secret).digest()


def credential(headers: Mapping[str, str]) -> str | None:
    """The API key that a request carries, None when it carries none.

    `X-API-Key` wins; then `Authorization` with a known scheme; then its whole value.
    """
    key = headers.get("X-API-Key")
    if key is not None:
        return key.strip()
    text = headers.get("Authorization")
    if text is None:
        return None
    scheme, _, rest = text.strip().partition(" ")
    return rest.strip() if rest and scheme.lower() in SCHEMES else text.strip()


def require_strength(password: str) -> None:
    """Raises `Refused` (weak_password) unless *password* has what it takes."""
    classes = (r"[A-Z]", r"[a-z]", r"\d", r"[^A-Za-z0-9]")
    long_enough = len(password) >= PASSWORD_CHARACTERS_MIN
    if not long_enough or not all(re.search(kind, password) for kind in classes):
        remedy = refuse("weak_password").message
        fault = {"field": "password", "message": remedy, "code": "weak"}
        raise refuse("weak_password", errors=[fault])


log = structlog.get_logger()


class Passwords:
    """Hashing and checking, in threads, few at once: each takes 64 MiB for some 50 ms."""

    def __init__(self, identity: Identity, in_flight_max: int) -> None:
        self._identity = identity
        self._hasher = PasswordHasher()
        self._places = asyncio.Semaphore(in_flight_max)

    async def seal(self, account_id: str, password: str) -> str:
        """What is stored of a password: its argon2id hash, sealed for this node and account."""
        async with self._places:
            hashed = await asyncio.to_thread(self._hasher.hash, password)
        return self._identity.seal("password", hashed.encode(), account_id.encode())

    async def require(self, account: Account | None, password: str) -> Account:
        """*account*, if *password* is its own. Raises `Refused` (login_failed), for nobody after
        the same time.
        """
        if not await self._match(account, password) or account is None:
            raise refuse("login_failed")
        return account

    async def _match(self, account: Account | None, password: str) -> bool:
        hashed = NOBODYS_HASH
        if account is not None:
            sealed, bound = account.password_sealed, account.id.encode()
            try:
                hashed = self._identity.unseal("password", sealed, bound).decode()
            except Unsealable:  # Restored without keys: nobody's password, until it is set anew.
                log.warning("password_unusable", id=account.id, remedy="canopy user password")
        async with self._places:
            return await asyncio.to_thread(self._verify, hashed, password)

    def _verify(self, hashed: str, password: str) -> bool:
        try:
            return self._hasher.verify(hashed, password)
        except VerifyMismatchError:
            return False


class Credentials:
    """Turns what a request carries into a principal. Looks up, never waits."""

    def __init__(
        self, directory: Directory, identity: Identity, wall_ms: Callable[[], int]
    ) -> None:
        self._directory = directory
        self._wall_ms = wall_ms
        self._identity = identity
        self._signer = Signer(identity.derive("cookie"), digest_method=sha256)
        self.cookie = f"canopy_{identity.node_id[:8]}"
        """The name of the session cookie; nodes on one host must not overwrite each other's."""

    def principal(
        self, headers: Mapping[str, str], cookies: Callable[[], Mapping[str, str]], method: str
    ) -> Principal:
        """Who asks. A credential that is none gives nobody, with the reason as `fault`."""
        key = credential(headers)
        if key is not None:
            return self._by_key(key)
        if "Cookie" in headers and (cookie := cookies().get(self.cookie)):
            return self._by_session(cookie, headers.get("X-CSRF-Token", ""), method)
        return NOBODY

    def renew(self, principal: Principal) -> Principal:
        """The same credential as it stands now: nobody, with a fault, once it holds no longer."""
        if principal.key_id:
            key = self._directory.key(principal.key_id)
            return self._of_key(key) if key and self._holds(key) else _faulty("credential_invalid")
        session = self._directory.session(principal.session_id)
        if session is None or session.expires_ms <= self._wall_ms():
            return _faulty("credential_invalid")
        return self._of_session(session)

    def _by_key(self, text: str) -> Principal:
        parsed = read_token(text, "key")
        key = self._directory.key(parsed[0]) if parsed else None
        if parsed is None or key is None:
            return _faulty("credential_invalid")
        right = hmac.compare_digest(key.secret_hash, secret_hash(parsed[1]))
        return self._of_key(key) if right and self._holds(key) else _faulty("credential_invalid")

    def _holds(self, key: ApiKey) -> bool:
        return not key.revoked and (key.expires_ms is None or key.expires_ms > self._wall_ms())

    def _of_key(self, key: ApiKey) -> Principal:
        account = self._directory.account(key.account_id)
        owner = self._directory.owner_id == key.account_id
        return Principal(account, key.scopes, owner, key_id=key.id)

    def _by_session(self, cookie: str, csrf: str, method: str) -> Principal:
        session = self._session(cookie)
        if session is None:
            return NOBODY
        right = hmac.compare_digest(csrf.encode(), self.csrf(session.id).encode())
        if method not in SAFE_METHODS and not right:
            return _faulty("csrf_failed")
        return self._of_session(session)

    def _of_session(self, session: Session) -> Principal:
        account = self._directory.account(session.account_id)
        owner = self._directory.owner_id == session.account_id
        return Principal(account, ALL_SCOPES, owner, session_id=session.id)

    def _session(self, cookie: str) -> Session | None:
        try:
            session_id = self._signer.unsign(cookie).decode()
        except BadSignature:
            return None
        session = self._directory.session(session_id)
        return session if session and session.expires_ms > self._wall_ms() else None

    def sign(self, session_id: str) -> str:
        """The value of the session cookie."""
        return self._signer.sign(session_id).decode()

    def csrf(self, session_id: str) -> str:
        """What a page of this session sends along with every change (32 hex digits)."""
        return self._identity.derive("csrf", session_id).hex()[:32]


def _faulty(code: str) -> Principal:
    return Principal(None, fault=refuse(code))


@dataclass(frozen=True, slots=True)
class Doors:
    """Who may register: see `invited`. `one_at_a_time` keeps two from using one code at once."""

    directory: Directory
    setup_code: str
    first_start: bool
    wall_ms: Callable[[], int]
    one_at_a_time: asyncio.Lock

    def invited(self, principal: Principal, offered: str, account_id: str, *, local: bool) -> bool:
        """Whether somebody who offers the code *offered* may register the account *account_id*.

        Yes on this machine while the node runs for the first time; with the setup code while
        nobody owns the workspace; with a one-time code of the owner; and by the owner himself.
        """
        return (
            (local and self.first_start)
            or self._is_setup_code(offered)
            or self.usable(offered, account_id) is not None
            or (principal.owner and "manage_keys" in principal.scopes)
        )

    def _is_setup_code(self, offered: str) -> bool:
        waiting = bool(self.setup_code) and self.directory.owner_id is None
        right = hmac.compare_digest(_plain(offered), _plain(self.setup_code))
        return waiting and right

    def usable(self, offered: str, account_id: str) -> Code | None:
        """The owner's code in *offered*, if it is still good for *account_id*."""
        parsed = read_token(offered, "code")
        code = self.directory.code(parsed[0]) if parsed else None
        if parsed is None or code is None:
            return None
        right = hmac.compare_digest(code.secret_hash, secret_hash(parsed[1]))
        fresh = code.expires_ms is not None and code.expires_ms > self.wall_ms()
        unused = code.redeemed_by in (None, account_id)
        return code if right and fresh and unused else None


def _plain(code: str) -> bytes:
    """A typed code without what people add: case, spaces, hyphens."""
    return re.sub(r"[\s-]", "", code).casefold().encode()

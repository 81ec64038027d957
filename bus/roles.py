"""Who may say what to the broker: one user per role, each with exactly the subjects it needs.

The broker is reachable from this machine only, but a machine has many programs. Whoever may create
a consumer may read a stream without any right on its subjects, so the API subjects of JetStream
are granted one by one.
"""

from __future__ import annotations

import json
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from secrets import token_urlsafe
from typing import Any, Literal, get_args
from urllib.parse import unquote, urlsplit

from bus.files import written
from bus.logins import Login
from bus.servers import Servers
from bus.subjects import COMMANDS, EVENTS, QUEUE, STREAM

Role = Literal["supervisor", "actors", "gateway", "notary", "tap", "system"]
"""`supervisor` makes streams and consumers; `notary` reads the log to prove it; `tap` only looks
on; `system` asks about health."""

ACCOUNT = "CANOPY"
SYSTEM_ACCOUNT = "SYS"
BUCKET_STREAM = "KV_SNAPSHOT"
TAP_INBOX = "_INBOX_tap"
INBOX = "_INBOX.>"
EPHEMERAL = "eph.>"

_READ_LOG = (
    f"$JS.API.STREAM.INFO.{STREAM}",
    f"$JS.API.STREAM.MSG.GET.{STREAM}",
    f"$JS.API.DIRECT.GET.{STREAM}",
    f"$JS.API.DIRECT.GET.{STREAM}.>",
)
_CONSUME_LOG = (
    f"$JS.API.CONSUMER.INFO.{STREAM}.*",
    f"$JS.API.CONSUMER.MSG.NEXT.{STREAM}.*",
    "$JS.ACK.>",
)
_BUCKET = (
    f"$JS.API.STREAM.INFO.{BUCKET_STREAM}",
    f"$JS.API.STREAM.MSG.GET.{BUCKET_STREAM}",
    f"$JS.API.DIRECT.GET.{BUCKET_STREAM}",
    f"$JS.API.DIRECT.GET.{BUCKET_STREAM}.>",
    "$KV.SNAPSHOT.>",
)
_SUPERVISE = tuple(
    f"$JS.API.{verb}"
    for stream in (STREAM, BUCKET_STREAM)
    for verb in (f"STREAM.CREATE.{stream}", f"STREAM.UPDATE.{stream}", f"STREAM.INFO.{stream}")
) + tuple(
    f"$JS.API.CONSUMER.{verb}"
    for verb in (
        f"CREATE.{STREAM}.>",
        f"DURABLE.CREATE.{STREAM}.*",
        f"INFO.{STREAM}.*",
        f"LIST.{STREAM}",
        f"NAMES.{STREAM}",
        f"DELETE.{STREAM}.*",
    )
)
_LOOK = (
    "$JS.API.STREAM.NAMES",
    "$JS.API.STREAM.LIST",
    *_READ_LOG,
    f"$JS.API.STREAM.INFO.{BUCKET_STREAM}",
    f"$JS.API.CONSUMER.INFO.{STREAM}.*",
    f"$JS.API.CONSUMER.LIST.{STREAM}",
    f"$JS.API.CONSUMER.NAMES.{STREAM}",
)

PUBLISH: Mapping[Role, tuple[str, ...]] = {
    "supervisor": ("$JS.API.INFO", *_SUPERVISE),
    # Actors answer commands into inboxes, and reactors send commands of their own.
    "actors": (EVENTS, COMMANDS, EPHEMERAL, INBOX, *_READ_LOG, *_CONSUME_LOG, *_BUCKET),
    "gateway": (COMMANDS, EPHEMERAL, *_READ_LOG),
    "notary": _READ_LOG,
    "tap": ("$JS.API.INFO", *_LOOK),
}
SUBSCRIBE: Mapping[Role, tuple[str, ...]] = {
    "supervisor": (INBOX,),
    "actors": (INBOX, EPHEMERAL, f"{COMMANDS} {QUEUE}"),
    "gateway": (INBOX, EPHEMERAL),
    "notary": (INBOX, EPHEMERAL),
    # An inbox of its own: the answers to others are none of its business.
    "tap": (f"{TAP_INBOX}.>", EVENTS, COMMANDS, EPHEMERAL),
}


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A broker: where it is, and how each role signs in there.

    `log_bytes_max` is what the broker keeps for the log, or 0 when that is not ours to say. One
    that is not ours has `servers`, and perhaps `logins`, servers of its own for the role `system`,
    and certificates.
    """

    url: str
    passwords: Mapping[str, str] = field(repr=False)
    log_bytes_max: int = 0
    servers: Servers | None = field(default=None, repr=False)
    system_servers: Servers | None = field(default=None, repr=False)
    logins: Mapping[str, Login] = field(default_factory=dict, repr=False)
    tls: ssl.SSLContext | None = field(default=None, repr=False)

    def login(self, role: Role) -> tuple[str, str]:
        """User and password of *role*; on a foreign broker those in its URL, for every role."""
        signed = self.sign_in(role, self.addresses(role)[0])
        return signed.user, signed.password

    def sign_in(self, role: Role, address: str) -> Login:
        """How *role* signs in at *address*."""
        if role in self.passwords:
            return Login(role, self.passwords[role])
        parts = urlsplit(address)
        if role in self.logins and not (role == "system" and parts.username):
            return self.logins[role]
        return Login(unquote(parts.username or ""), unquote(parts.password or ""))

    def addresses(self, role: Role) -> tuple[str, ...]:
        """The URLs at which *role* may connect, the most promising first."""
        servers = self.servers_of(role)
        return servers.in_turn if servers is not None else (self.url,)

    def servers_of(self, role: Role) -> Servers | None:
        """The servers that *role* chooses from; None when there is one, and it is ours."""
        if role == "system" and self.system_servers is not None:
            return self.system_servers
        return self.servers

    @property
    def external(self) -> bool:
        """Whether somebody else runs the broker."""
        return self.servers is not None

    def inbox(self, role: Role) -> str:
        """The prefix under which *role* awaits its answers."""
        return TAP_INBOX if role == "tap" else "_INBOX"


def passwords(path: Path) -> dict[str, str]:
    """The passwords of all roles kept at *path* (mode 0600), made at first use."""
    kept: dict[str, str] = json.loads(path.read_text("utf-8")) if path.exists() else {}
    missing = [role for role in get_args(Role) if role not in kept]
    if missing:
        kept |= {role: token_urlsafe(32) for role in missing}
        written(path, json.dumps(kept, indent=1))
    return kept


def accounts(kept: Mapping[str, str], file_bytes_max: int) -> dict[str, Any]:
    """The broker's `accounts`: ours with its limits and users, and the one for its health."""
    limits = {"max_file": file_bytes_max, "max_mem": 0, "max_streams": 4, "max_consumers": 256}
    return {
        ACCOUNT: {"jetstream": limits, "users": [_user(role, kept[role]) for role in PUBLISH]},
        SYSTEM_ACCOUNT: {"users": [{"user": "system", "password": kept["system"]}]},
    }


def _user(role: Role, password: str) -> dict[str, Any]:
    return {
        "user": role,
        "password": password,
        "permissions": {
            "publish": {"allow": list(PUBLISH[role])},
            "subscribe": {"allow": list(SUBSCRIBE[role])},
        },
    }


def write_context(endpoint: Endpoint, environ: Mapping[str, str]) -> Path:
    """Let `nats --context canopy …` look on: writes the context of the `nats` program (mode 0600).

    Returns where it lies: `$XDG_CONFIG_HOME/nats/context/canopy.json`.
    """
    named = environ.get("XDG_CONFIG_HOME")
    home = Path(named) if named else Path.home() / ".config"
    path = home / "nats" / "context" / "canopy.json"
    user, password = endpoint.login("tap")
    context = {
        "description": "Canopy on this machine, to look on",
        "url": endpoint.url,
        "user": user,
        "password": password,
        "inbox_prefix": TAP_INBOX,
    }
    written(path, json.dumps(context, indent=1))
    return path

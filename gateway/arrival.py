"""What a request says about itself before anybody reads its body: host, origin, sender, headers.

`Guard` is the wall against pages of other sites (cross-site requests, DNS rebinding): a Host that
is not ours and an Origin that is not the Host's own are refused, whatever the method.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from hashlib import blake2b
from ipaddress import ip_address

from aiohttp import web

from bus.clock import derived_id, new_id
from gateway.errors import refuse, wrong
from schemas.settings import Settings

LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
EVERYWHERE = frozenset({"0.0.0.0", "::"})  # noqa: S104  # compared with, not bound to
HOSTS_REMEMBERED_MAX = 256

_HOST = re.compile(r"(?:\[(?P<six>[0-9A-Fa-f:.]+)\]|(?P<name>[^:\[\]@/\s]+))(?::[0-9]{1,5})?")
_TOKEN = re.compile(r"[A-Za-z0-9_-]{1,100}")
_VISIBLE = re.compile(r"[!-~]{1,255}")
_ENTITY_TAG = re.compile(r'(?:W/)?"?([0-9]{1,18})"?')
_TRACEPARENT = re.compile(r"00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")
_POSITION = re.compile(r"[0-9]{1,19}")
POSITION_MAX = 2**63 - 1


class Guard:
    """Which hosts are ours, and which origins may speak to them."""

    def __init__(self, settings: Settings) -> None:
        names = LOOPBACK | {settings.host, *settings.allowed_hosts}
        self._names = frozenset(name.lower() for name in names)
        self._anywhere = settings.host in EVERYWHERE
        self._origins = frozenset(settings.allowed_origins)
        self._proxies = frozenset(settings.trusted_proxies)
        self._known: set[str] = set()

    def check(self, headers: Mapping[str, str]) -> None:
        """Raises `Refused` for a foreign Host or a foreign Origin."""
        host = headers.get("Host", "")
        if host not in self._known:
            self._learn(host)
        origin = headers.get("Origin")
        if origin is not None and origin not in self._origins:
            ours = (f"http://{host}", f"https://{host}")
            if origin.lower() not in (ours[0].lower(), ours[1].lower()):
                raise refuse("origin_refused")

    def _learn(self, host: str) -> None:
        if not self._is_ours(host):
            raise refuse("host_refused")
        if len(self._known) < HOSTS_REMEMBERED_MAX:
            self._known.add(host)

    def _is_ours(self, host: str) -> bool:
        parts = _HOST.fullmatch(host)
        if parts is None:
            return False
        name = (parts["six"] or parts["name"]).lower()
        # Only names can be made to point elsewhere: an address in Host is what was connected to.
        return name in self._names or (self._anywhere and _is_address(name))

    def address(self, request: web.Request) -> str:
        """Who is at the other end: behind trusted proxies, whom the nearest of them names."""
        remote = request.remote or ""
        if remote in self._proxies:
            hops = request.headers.get("X-Forwarded-For", "").split(",")
            strangers = [hop.strip() for hop in hops if hop.strip() not in self._proxies]
            return strangers[-1] if strangers and strangers[-1] else remote
        return remote


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True


def is_local(request: web.Request) -> bool:
    """Whether the request comes from this machine itself, handed on by nobody."""
    handed_on = "X-Forwarded-For" in request.headers or "Forwarded" in request.headers
    remote = request.remote or ""
    return not handed_on and _is_address(remote) and ip_address(remote).is_loopback


def correlation_id(headers: Mapping[str, str]) -> str:
    """The name of this chain of causes: the caller's X-Correlation-ID, or a new one."""
    given = headers.get("X-Correlation-ID", "")
    return given if _TOKEN.fullmatch(given) else new_id()


def command_id(headers: Mapping[str, str], account_id: str, correlation: str) -> tuple[str, bool]:
    """The id of the command to come, and whether it derives from an Idempotency-Key.

    A chain of causes that begins here has the name of its first command.
    """
    key = visible(headers, "Idempotency-Key")
    if key is None:
        return new_id() if "X-Correlation-ID" in headers else correlation, False
    return derived_id("", account_id, key, digits=32), True


def visible(headers: Mapping[str, str], name: str) -> str | None:
    """The header *name*, None when it is absent. Raises `Refused` for what cannot be seen."""
    text = headers.get(name)
    if text is not None and not _VISIBLE.fullmatch(text):
        raise refuse("invalid_header", f"{name} must be 1 to 255 visible ASCII characters.")
    return text


def fingerprint(
    secret: bytes, request: web.Request, body: bytes, scopes: Iterable[str] = ()
) -> str:
    """Tells two requests apart (16 hex digits), and says nothing about them to who reads the log:
    a body may hold a password.

    What the request is based on (If-Match) and what its credential may do (*scopes*) are part of
    it: an answer must not be given to a narrower key.
    """
    condition = request.headers.get("If-Match", "")
    told = [request.method, request.path_qs, condition, *sorted(scopes), ""]
    return blake2b("\0".join(told).encode() + body, digest_size=8, key=secret).hexdigest()


def expected_position(headers: Mapping[str, str]) -> int | None:
    """The position that If-Match names; None when it is absent or `*`."""
    text = headers.get("If-Match")
    if text is None or text.strip() == "*":
        return None
    tag = _ENTITY_TAG.fullmatch(text.strip())
    if tag is None:
        raise refuse("invalid_header", 'If-Match must be one ETag, like "42", or *.')
    return int(tag[1])


def told_once(query: Mapping[str, str]) -> Mapping[str, str]:
    """*query*. Raises `Refused` for a parameter that is there twice: one would be passed over."""
    names = set[str]()
    for name, _ in query.items():  # noqa: PERF102  # keys tell a name once
        if name in names:
            raise wrong(name, f"{name} is there more than once: send it once.", kind="repeated")
        names.add(name)
    return query


def awaited_position(query: Mapping[str, str]) -> int:
    """The position that `?after_seq=` asks for, 0 for none."""
    text = query.get("after_seq")
    if text is None:
        return 0
    if not _POSITION.fullmatch(text) or int(text) > POSITION_MAX:
        message = "after_seq must be a position: an integer from 0 to 2^63 - 1."
        fault = {"field": "after_seq", "message": message, "code": "position"}
        raise refuse("invalid_request", message, errors=[fault])
    return int(text)


def traceparent(headers: Mapping[str, str]) -> str:
    """The caller's trace context (W3C), empty when it sent none that is well formed."""
    given = headers.get("traceparent", "")
    return given if _TRACEPARENT.fullmatch(given) else ""

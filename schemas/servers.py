"""The addresses of a NATS cluster, as people write them: `nats://user:password@a,b:4223,c`."""

from __future__ import annotations

from urllib.parse import urlsplit

SCHEMES = ("nats", "tls")
PORT = 4222
SERVERS_MAX = 32


def server_urls(text: str) -> tuple[str, ...]:
    """The URL of each server in *text*, whole: scheme, who signs in, host and port.

    What a later one leaves out (scheme, user and password) it takes from the first; a port that is
    left out is 4222. Raises ValueError, which names the address and what would be right.
    """
    urls: list[str] = []
    scheme, user = SCHEMES[0], ""
    for word in filter(None, map(str.strip, text.split(","))):
        given, colons, rest = word.rpartition("://")
        scheme = given if colons else scheme
        signed, at, host = rest.rpartition("@")
        user = signed + at if at else user
        urls.append(f"{scheme}://{user}{_place(scheme, host)}")
    if len(urls) > SERVERS_MAX:
        raise ValueError(f"{len(urls)} servers; name {SERVERS_MAX} at most, they tell of the rest")
    return tuple(dict.fromkeys(urls))


def _place(scheme: str, host: str) -> str:
    """Host and port of one address."""
    shown = f"{scheme}://{host}"
    if scheme not in SCHEMES:
        raise ValueError(f"{shown}: write nats:// or tls:// before the first server")
    try:
        parts = urlsplit(shown)
        name, port = parts.hostname, parts.port
    except ValueError as error:
        raise ValueError(f"{shown}: {error}; write host or host:port") from error
    if not name or parts.path not in ("", "/") or parts.query:
        raise ValueError(f"{shown}: write host or host:port, and commas between servers")
    return f"[{name}]:{port or PORT}" if ":" in name else f"{name}:{port or PORT}"

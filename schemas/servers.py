"""The addresses of a NATS cluster, as people write them: `nats://user:password@a,b:4223,c`.

A mistyped one may show a password anywhere, so what is wrong with it is told by its place in the
list, and nothing of it is quoted.
"""

from __future__ import annotations

import re
from urllib.parse import urlsplit

SCHEMES = ("nats", "tls")
PORT = 4222
SERVERS_MAX = 32
NAME = re.compile(r"[\w.-]+")
WRITTEN_OUT = re.compile(r"\s*[a-z]+://[^@/:]+(:[^@/:]+)?@[^@/]*")
"""One address that says all of who signs in, and with no sign that could be meant otherwise."""
SCHEME = re.compile(r"\s*(nats|tls|https?)://")
HIDDEN = "****"
WANTED = "write host or host:port, and commas between servers"


def server_urls(text: str) -> tuple[str, ...]:
    """The URL of each server in *text*, whole: scheme, who signs in, host and port.

    What a later one leaves out (scheme, user and password) it takes from the first; a port that is
    left out is 4222. Raises ValueError, which tells which address it is and what would be right.
    """
    urls: list[str] = []
    scheme, user = SCHEMES[0], ""
    for nth, word in enumerate(filter(None, map(str.strip, text.split(","))), 1):
        given, colons, rest = word.rpartition("://")
        scheme = given if colons else scheme
        signed, at, host = rest.rpartition("@")
        user = signed + at if at else user
        try:
            urls.append(_url(scheme, user, host))
        except ValueError as error:
            raise ValueError(f"address {nth}: {error}") from None
    if len(urls) > SERVERS_MAX:
        raise ValueError(f"{len(urls)} servers; name {SERVERS_MAX} at most, they tell of the rest")
    return tuple(dict.fromkeys(urls))


def redacted(text: str) -> str:
    """*text*, which may be no address at all, without anybody who signs in.

    That is all there is before the last `@`, unless every address in it is written out.
    """
    words = text.split(",")
    whole = all(map(WRITTEN_OUT.fullmatch, words))
    return ",".join(map(_redacted, words if whole else [text]))


def _redacted(text: str) -> str:
    before, at, place = text.rpartition("@")
    scheme = SCHEME.match(before)
    return f"{scheme[0] if scheme else ''}{HIDDEN}@{place}" if at else text


def _url(scheme: str, user: str, host: str) -> str:
    """The whole of one address."""
    if scheme not in SCHEMES:
        raise ValueError("write nats:// or tls:// before the first server")
    url = f"{scheme}://{user}{_place(host)}"
    try:
        understood = url == f"{scheme}://{urlsplit(url).netloc}"
    except ValueError:
        understood = False
    if not understood:
        raise ValueError("write / ? # [ ] in a user or password as %2F %3F %23 %5B %5D")
    return url


def _place(host: str) -> str:
    """Host and port of one address."""
    try:
        parts = urlsplit(f"//{host}")
        name, port = parts.hostname or "", parts.port
    except ValueError:
        raise ValueError(WANTED) from None
    if parts.netloc != host.removesuffix("/") or not (":" in name or NAME.fullmatch(name)):
        raise ValueError(WANTED)
    return f"[{name}]:{port or PORT}" if ":" in name else f"{name}:{port or PORT}"

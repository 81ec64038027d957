"""Somebody who is signed in: a caller whose credential is a cookie and a token."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tests.canopy import PASSWORD, Canopy


@dataclass(frozen=True)
class Browser:
    """One signed-in browser."""

    canopy: Canopy
    cookie: str
    csrf: str

    async def call(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        """(status, JSON) of one request in the session."""
        headers = {"Cookie": self.cookie, "X-CSRF-Token": self.csrf}
        status, _, answer = await self.canopy.nobody.call(method, path, body, headers)
        return status, answer

    async def key(self, *permissions: str) -> str:
        """A new key with *permissions*."""
        _, made = await self.call("POST", "/keys", {"permissions": list(permissions)})
        return str(made["api_key"])


async def signed_in(canopy: Canopy, username: str, password: str = PASSWORD) -> Browser:
    """*username* in a fresh browser."""
    status, headers, session = await canopy.nobody.call(
        "POST", "/session", {"username": username, "password": password}
    )
    assert status == 201, session
    return Browser(canopy, headers["Set-Cookie"].split(";")[0], session["csrf_token"])

"""The public API as the command line uses it: one call, one answer, or a `Failure` with a remedy.

Writes carry an Idempotency-Key of their own and are sent again when the node is away for a moment:
the log makes sure that a wish sent twice comes true once.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import quote

import aiohttp
import orjson
from yarl import URL

from bus.clock import new_id
from gateway.cli.exits import Exit, Failure

Json = dict[str, Any]

TIMEOUT_S = 60.0
ATTEMPTS_MAX = 4
BACKOFF_S = 0.25
PASSING = frozenset({502, 503})
"""Statuses after which the same write is sent again."""

REMEDIES: Mapping[str, str] = {
    "credential_required": "export CANOPY_API_KEY=…  (`canopy key create` makes one)",
    "credential_invalid": "Check CANOPY_API_KEY; `canopy key create` makes a new key.",
    "login_failed": "Check name and password, then try again.",
    "registration_closed": "Pass the one-time code with --code; `canopy user code` issues one.",
    "code_absent": "The owner issues a new one with `canopy user code`.",
    "code_used": "The owner issues a new one with `canopy user code`.",
    "not_owner": "Use a key of the workspace's owner.",
    "scope_missing": "Make a key that holds it: canopy key create --scope …",
    "pending_approval": "The owner approves it with `canopy user approve NAME`.",
    "account_suspended": "The owner reinstates it with `canopy user reinstate NAME`.",
    "channel_absent": "`canopy channel list` shows your channels.",
    "account_absent": "`canopy user list` shows who is here.",
    "username_taken": "Choose another name.",
    "rate_limited": "Wait a moment, then try again.",
    "host_refused": "Add the name to the node's setting allowed_hosts.",
    "log_damaged": "`canopy doctor` tells what is wrong with the log, and what to do.",
    "vault_unusable": "`canopy doctor` on the node's machine tells what is wrong with the vault.",
    "log_full": "Free disk space on the node; `canopy doctor` tells how much there is.",
}


class Client:
    """A node, reached over HTTP."""

    def __init__(self, url: str, session: aiohttp.ClientSession) -> None:
        self.url = url
        self._session = session
        self._headers: dict[str, str] = {}
        self.at = ""
        """The moment that reads ask about; empty for the present."""

    @classmethod
    @asynccontextmanager
    async def open(cls, url: str, key: str = "") -> AsyncIterator[Client]:
        """A client of the node at *url* that shows *key*. Raises `Failure` for what is no URL."""
        if not URL(url).absolute or URL(url).scheme not in ("http", "https"):
            raise Failure(
                Exit.USAGE,
                f"{url!r} is no address of a node.",
                "Give one like http://127.0.0.1:7770",
            )
        headers = {"X-API-Key": key} if key else {}
        timeout = aiohttp.ClientTimeout(total=TIMEOUT_S, connect=5)
        # Keys never follow a cookie, a proxy of the environment, or a redirect to elsewhere.
        async with aiohttp.ClientSession(
            headers=headers, timeout=timeout, cookie_jar=aiohttp.CookieJar(unsafe=True)
        ) as session:
            yield cls(url.rstrip("/"), session)

    async def get(self, path: str, /, **query: Any) -> Json:
        """The answer to GET *path*; a query value of None is left out."""
        query = {"at": self.at or None} | query
        params = {name: str(value) for name, value in query.items() if value is not None}
        return await self._ask("GET", path, params=params)

    async def post(self, path: str, body: Json | None = None, /, timeout_s: float = 0) -> Json:
        return await self._write("POST", path, body, timeout_s)

    async def patch(self, path: str, body: Json, /) -> Json:
        return await self._write("PATCH", path, body)

    async def put(self, path: str, body: Json, /) -> Json:
        return await self._write("PUT", path, body)

    async def delete(self, path: str, /) -> Json:
        return await self._write("DELETE", path, None)

    async def sign_in(self, username: str, password: str) -> Json:
        """Open a session; what follows is asked in the name of *username*, without any key."""
        answer = await self.post("/api/v1/session", {"username": username, "password": password})
        self._session.headers.popall("X-API-Key", None)
        self._headers["X-CSRF-Token"] = answer["csrf_token"]
        return answer

    async def sign_out(self) -> None:
        """Close the session that `sign_in` opened."""
        await self.delete("/api/v1/session")

    async def probe(self, path: str, /) -> Json:
        """The answer to GET *path*, whatever its status: for questions after health."""
        try:
            return await self.get(path)
        except Failure as failure:
            if failure.exit_code is not Exit.UNAVAILABLE:
                raise
            return failure.answer

    def live(self, after: int | str | None, channel: str = "", noun: str = "") -> Any:
        """A WebSocket that tells what happens after the position *after* (None: from now on)."""
        query = {"after": after, "channel": channel, "noun": noun}
        return self._session.ws_connect(
            self.url + "/api/v1/live",
            params={name: str(value) for name, value in query.items() if value not in (None, "")},
            heartbeat=20,
            max_msg_size=0,  # A commit is as large as the node allows, and the node is trusted.
            autoclose=True,
        )

    async def _write(self, method: str, path: str, body: Json | None, timeout_s: float = 0) -> Json:
        headers = self._headers | {"Idempotency-Key": new_id()}
        if body is not None:
            headers["Content-Type"] = "application/json"
        options: Json = {"data": orjson.dumps(body) if body is not None else None}
        if timeout_s:
            options["timeout"] = aiohttp.ClientTimeout(total=timeout_s, connect=5)
        for attempt in range(1, ATTEMPTS_MAX):
            try:
                return await self._ask(method, path, headers=headers, **options)
            except Failure as failure:
                if not failure.passing:
                    raise
                await asyncio.sleep(BACKOFF_S * 2**attempt)
        return await self._ask(method, path, headers=headers, **options)

    async def _ask(self, method: str, path: str, **options: Any) -> Json:
        try:
            async with self._session.request(
                method, self.url + path, allow_redirects=False, **options
            ) as response:
                return self._read(response, await response.read())
        except aiohttp.ClientConnectorError as error:
            raise self.unreachable(str(error)) from error
        except aiohttp.ServerTimeoutError as error:
            raise self.unreachable("no answer in time") from error
        except aiohttp.ClientConnectionError as error:
            raise self.unreachable(str(error), passing=True) from error
        except TimeoutError as error:
            raise self.unreachable("no answer in time") from error

    def _read(self, response: aiohttp.ClientResponse, body: bytes) -> Json:
        try:
            answer = orjson.loads(body) if body else {}
        except orjson.JSONDecodeError as error:
            raise self._stranger(response.status) from error
        if not isinstance(answer, dict):
            raise self._stranger(response.status)
        if response.status >= 400:
            raise refused(response.status, answer)
        if seq := response.headers.get("Canopy-Seq"):
            answer.setdefault("seq", int(seq))
        return answer

    def unreachable(self, reason: str, *, passing: bool = False) -> Failure:
        """No node is there, or it is gone; *passing* when it was there a moment ago."""
        return Failure(
            Exit.UNREACHABLE,
            f"No node answers at {self.url}.",
            "Start one with `canopy up`, or name another with --url or CANOPY_URL.",
            detail={"reason": reason, "url": self.url},
            passing=passing,
        )

    def _stranger(self, status: int) -> Failure:
        return Failure(
            Exit.UNREACHABLE,
            f"What answers at {self.url} (status {status}) is not a Canopy node.",
            "Name the node with --url or CANOPY_URL.",
            detail={"url": self.url, "status": status},
        )


def segment(name: str) -> str:
    """What somebody typed, as one segment of a path, whatever it holds."""
    return quote(name, safe="")


def refused(status: int, problem: Json) -> Failure:
    """The `Failure` that a problem (RFC 9457) amounts to."""
    code = str(problem.get("code") or f"http_{status}")
    message = str(problem.get("detail") or problem.get("error") or f"status {status}")
    later = status >= 500 or status == 429
    detail: Json = {k: problem[k] for k in ("errors", "scope", "correlation_id") if k in problem}
    return Failure(
        Exit.UNAVAILABLE if later else Exit.REFUSED,
        message,
        REMEDIES.get(code, "Try again in a moment." if later else ""),
        code,
        {"status": status, **detail},
        passing=status in PASSING,
        answer=problem,
    )

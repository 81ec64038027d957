"""How nats-py is told to connect: once, to one server, as whom, and with secrets for TLS only; and
how it is waited for."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Any, TypeVar
from urllib.parse import urlsplit

from nats.aio.client import Client

from bus.roles import Endpoint, Role
from bus.wire import BrokerLost

Result = TypeVar("Result")


async def heeding(work: Awaitable[Result]) -> Result:
    """What *work* of nats-py comes to; but whoever is told to stop meanwhile stops.

    nats-py waits with `asyncio.wait_for`, which in Python 3.11 forgets a cancellation that comes
    together with what it waits for. A loop within an `asyncio.timeout`, which cancels but once,
    would then go on for ever.
    """
    task = asyncio.current_task()
    told = task.cancelling() if task else 0
    try:
        return await work
    finally:
        if task is not None and task.cancelling() > told:
            raise asyncio.CancelledError


def one_attempt(timeout_s: float) -> dict[str, Any]:
    """How nats-py is told to try once and to say at once how it went.

    It counts even a first attempt as a reconnect, and would wait 2 s between sixty of them.
    """
    return {
        "allow_reconnect": False,
        "max_reconnect_attempts": 1,
        "reconnect_time_wait": 0.01,
        "connect_timeout": timeout_s,
    }


def place(address: str) -> str:
    """Host and port of *address*, without who signs in there."""
    return urlsplit(address).netloc.rpartition("@")[2]


def signed_in(client: Client, endpoint: Endpoint, role: Role, address: str) -> dict[str, Any]:
    """How nats-py is told who we are, and to say so over TLS only where TLS is wanted."""
    login = endpoint.sign_in(role, address)
    encrypted = endpoint.tls is not None or address.startswith("tls:")

    def secret(text: str) -> str:
        if encrypted and not client._server_info.get("tls_required"):  # noqa: SLF001  # no other way
            raise BrokerLost("the server offers no TLS: give it a certificate, or name nats://")
        return text

    told: dict[str, Any] = {"tls": endpoint.tls} if endpoint.tls is not None else {}
    if login.jwt:
        told |= {
            "user_jwt_cb": lambda: bytearray(secret(login.jwt).encode()),
            "signature_cb": login.signature,
        }
    elif login.seed:
        client._public_nkey = login.nkey  # noqa: SLF001  # its own way asks for one more package
        told["signature_cb"] = login.signature
    elif login.user:
        told |= {"user": lambda: login.user, "password": lambda: secret(login.password)}
    return told

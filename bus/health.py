"""How the broker is: what its system account tells, over a connection of one question.

Asked over NATS and not over HTTP, so that no port without a password has to be open.
"""

from __future__ import annotations

import json
from typing import Any

from nats.aio.client import Client
from nats.errors import Error as NatsError

from bus.roles import Endpoint


class Sick(Exception):
    """The broker does not answer, or says that it is not well."""


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


async def examine(endpoint: Endpoint, timeout_s: float) -> None:
    """Returns when the broker is well. Raises `Sick`."""
    answer = await asked(endpoint, "HEALTHZ", timeout_s)
    if answer.get("status") != "ok":
        raise Sick(str(answer.get("error") or answer.get("errors") or answer.get("status")))


async def asked(endpoint: Endpoint, about: str, timeout_s: float) -> dict[str, Any]:
    """What the broker says *about* itself: `HEALTHZ`, `VARZ`, `JSZ`. Raises `Sick`."""
    user, password = endpoint.login("system")
    client = Client()
    try:
        await client.connect(
            endpoint.address("system"),
            user=user or None,
            password=password or None,
            name="canopy-system",
            error_cb=_unheard,
            **one_attempt(timeout_s),
        )
        reply = await client.request(f"$SYS.REQ.SERVER.PING.{about}", timeout=timeout_s)
    except (NatsError, OSError, TimeoutError) as error:
        raise Sick(f"it does not answer about {about}: {error}") from error
    finally:
        await client.close()
    data: dict[str, Any] = json.loads(reply.data).get("data") or {}
    return data


async def _unheard(error: Exception) -> None:
    """The request itself reports what went wrong; hearing it twice helps nobody."""

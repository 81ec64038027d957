"""How the broker is: what its system account tells, over a connection of one question.

Asked over NATS and not over HTTP, so that no port without a password has to be open.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

from nats.aio.client import Client
from nats.errors import Error as NatsError
from nats.errors import TimeoutError as NatsTimeout

from bus.client import heeding, one_attempt, place, signed_in
from bus.roles import Endpoint
from schemas.servers import SERVERS_MAX

QUIET_S = 0.3
"""After the last answer to a question that every server answers."""


class Sick(Exception):
    """The broker does not answer, or says that it is not well."""


class Unwell(Sick):
    """The broker says that it is not well, and why."""


async def examine(endpoint: Endpoint, timeout_s: float) -> None:
    """Returns when the broker is well. Raises `Unwell`, or `Sick` when it does not answer."""
    answer = await asked(endpoint, "HEALTHZ", timeout_s)
    if answer.get("status") != "ok":
        raise Unwell(str(answer.get("error") or answer.get("errors") or answer.get("status")))


async def asked(endpoint: Endpoint, about: str, timeout_s: float) -> dict[str, Any]:
    """What the broker says *about* itself: `HEALTHZ`, `VARZ`, `JSZ`. Raises `Sick`."""
    async with _questioned(endpoint, about, timeout_s) as client:
        asking = client.request(f"$SYS.REQ.SERVER.PING.{about}", timeout=timeout_s)
        reply = await heeding(asking)
    return _data(reply.data)


async def surveyed(endpoint: Endpoint, about: str, timeout_s: float) -> list[dict[str, Any]]:
    """What each server of an external broker says *about* itself, as far as they are there.

    Raises `Sick` when none does.
    """
    answers: list[dict[str, Any]] = []
    async with _questioned(endpoint, about, timeout_s) as client:
        inbox = client.new_inbox()
        subscription = await client.subscribe(inbox)
        await client.publish(f"$SYS.REQ.SERVER.PING.{about}", reply=inbox)
        wait_s = timeout_s
        with suppress(NatsTimeout):
            while len(answers) < SERVERS_MAX:
                message = await heeding(subscription.next_msg(timeout=wait_s))
                answers.append(_data(message.data))
                wait_s = min(timeout_s, QUIET_S)
        if not answers:
            raise NatsTimeout
    return answers


@asynccontextmanager
async def _questioned(endpoint: Endpoint, about: str, timeout_s: float) -> AsyncIterator[Client]:
    """A connection to the first server that takes the role `system`. Raises `Sick`."""
    faults: list[str] = []
    for address in endpoint.addresses("system"):
        client = Client()
        try:  # From here on it is closed, and be it that we are told to stop while it connects.
            if fault := await _refused(client, endpoint, address, timeout_s):
                faults.append(f"{place(address)}: {fault}")
                continue
            yield client
            return
        except (NatsError, OSError, TimeoutError) as error:
            raise Sick(f"it does not answer about {about}: {error}") from error
        finally:
            await client.close()
    raise Sick(f"it does not answer about {about}: {'; '.join(faults)}")


async def _refused(client: Client, endpoint: Endpoint, address: str, timeout_s: float) -> str:
    """Why the role `system` is not taken in at *address*; empty when it is."""
    try:
        connecting = client.connect(
            address,
            name="canopy-system",
            error_cb=_unheard,
            **signed_in(client, endpoint, "system", address),
            **one_attempt(timeout_s),
        )
        await heeding(connecting)
    except (NatsError, OSError, TimeoutError) as error:
        return str(error) or "silent"
    return ""


def _data(reply: bytes) -> dict[str, Any]:
    data: dict[str, Any] = json.loads(reply).get("data") or {}
    return data


async def _unheard(error: Exception) -> None:
    """The request itself reports what went wrong; hearing it twice helps nobody."""

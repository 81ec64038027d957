"""What each role is refused, and that it can do its work all the same."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from nats.aio.client import Client
from nats.errors import Error as NatsError

from bus.client import one_attempt
from bus.connection import connected
from bus.roles import Endpoint, Role, passwords, write_context
from bus.server import Broker
from bus.servers import Servers
from schemas.settings import Settings
from tests.bus.conftest import settled

JS = "$JS.API."
MAY_SAY: dict[Role, tuple[str, ...]] = {
    "actors": (
        "evt.message.general.M1", "cmd.channel.general", "eph.appended.log", "_INBOX.x.1",
        JS + "STREAM.INFO.EVT", JS + "DIRECT.GET.EVT", JS + "CONSUMER.MSG.NEXT.EVT.inbox",
        "$JS.ACK.EVT.inbox.1.1.1.1.1", "$KV.SNAPSHOT.channel.general",
        JS + "DIRECT.GET.KV_SNAPSHOT.$KV.SNAPSHOT.channel.general",
    ),
    "gateway": (
        "cmd.channel.general", "eph.typing.general", JS + "DIRECT.GET.EVT",
        JS + "STREAM.INFO.EVT",
    ),
    "tap": (JS + "STREAM.INFO.EVT", JS + "CONSUMER.INFO.EVT.inbox", JS + "STREAM.NAMES"),
    "supervisor": (JS + "STREAM.CREATE.EVT", JS + "CONSUMER.DURABLE.CREATE.EVT.inbox"),
}  # fmt: skip
NOBODY = (
    JS + "STREAM.DELETE.EVT", JS + "STREAM.PURGE.EVT", JS + "STREAM.MSG.DELETE.EVT",
    JS + "STREAM.RESTORE.EVT", JS + "STREAM.SNAPSHOT.EVT", JS + "STREAM.CREATE.OTHER",
    JS + "CONSUMER.CREATE.KV_SNAPSHOT.x", "$SYS.REQ.SERVER.PING.VARZ", "other",
)  # fmt: skip
MAY_NOT_SAY: dict[Role, tuple[str, ...]] = {
    "actors": (
        JS + "STREAM.UPDATE.EVT", JS + "CONSUMER.CREATE.EVT", JS + "CONSUMER.CREATE.EVT.x",
        JS + "CONSUMER.DURABLE.CREATE.EVT.x", JS + "CONSUMER.DELETE.EVT.inbox",
    ),
    "gateway": (
        "evt.message.general.M1", "$KV.SNAPSHOT.channel.general", "$JS.ACK.EVT.inbox.1.1.1.1.1",
        JS + "CONSUMER.CREATE.EVT.x", JS + "CONSUMER.MSG.NEXT.EVT.inbox", "_INBOX.x.1",
    ),
    "tap": (
        "evt.message.general.M1", "cmd.channel.general", "eph.typing.general", "_INBOX.x.1",
        "$KV.SNAPSHOT.channel.general", "$JS.ACK.EVT.inbox.1.1.1.1.1",
        JS + "CONSUMER.CREATE.EVT.x", JS + "CONSUMER.MSG.NEXT.EVT.inbox",
        JS + "STREAM.UPDATE.EVT",
    ),
    "supervisor": (
        "evt.message.general.M1", "cmd.channel.general", "$KV.SNAPSHOT.channel.general",
        JS + "CONSUMER.MSG.NEXT.EVT.inbox", JS + "DIRECT.GET.EVT",
    ),
}  # fmt: skip
MAY_HEAR: dict[Role, tuple[str, ...]] = {
    "actors": ("_INBOX.x.*", "eph.appended.log"),
    "gateway": ("_INBOX.x.*", "eph.>"),
    "tap": ("_INBOX_tap.x.*", "evt.>", "cmd.>", "eph.>"),
    "supervisor": ("_INBOX.x.*",),
}
MAY_NOT_HEAR: dict[Role, tuple[str, ...]] = {
    "actors": ("cmd.>", "evt.>", ">", "$SYS.>", "_INBOX_tap.>"),
    "gateway": ("cmd.>", "evt.>", ">", "$KV.>", "_INBOX_tap.>"),
    "tap": ("_INBOX.>", ">", "$KV.>", "$JS.>"),
    "supervisor": ("cmd.>", "evt.>", "eph.>", ">"),
}
ROLES: tuple[Role, ...] = ("supervisor", "actors", "gateway", "tap")


async def refusals(
    endpoint: Endpoint, role: Role, say: tuple[str, ...] = (), hear: tuple[str, ...] = ()
) -> set[str]:
    """The subjects among those said and heard that the broker refuses to *role*."""
    errors: list[str] = []

    async def on_error(error: Exception) -> None:
        errors.append(str(error).lower())

    user, password = endpoint.login(role)
    client = Client()
    await client.connect(
        endpoint.url, user=user, password=password, error_cb=on_error, **one_attempt(5)
    )
    for subject in say:
        await client.publish(subject, b"{")
    for subject in hear:
        await client.subscribe(subject)
    await settled(client)
    await client.close()
    return {s for s in (*say, *hear) if any(f'"{s.lower()}"' in error for error in errors)}


@pytest.mark.parametrize("role", ROLES)
async def test_a_role_may_say_what_its_work_needs(role: Role, furnished: Broker) -> None:
    assert await refusals(furnished.endpoint, role, say=MAY_SAY[role]) == set()


@pytest.mark.parametrize("role", ROLES)
async def test_a_role_may_say_nothing_else(role: Role, furnished: Broker) -> None:
    forbidden = NOBODY + MAY_NOT_SAY[role]

    assert await refusals(furnished.endpoint, role, say=forbidden) == set(forbidden)


@pytest.mark.parametrize("role", ROLES)
async def test_a_role_may_hear_what_its_work_needs(role: Role, furnished: Broker) -> None:
    assert await refusals(furnished.endpoint, role, hear=MAY_HEAR[role]) == set()


@pytest.mark.parametrize("role", ROLES)
async def test_a_role_may_hear_nothing_else(role: Role, furnished: Broker) -> None:
    forbidden = MAY_NOT_HEAR[role]

    assert await refusals(furnished.endpoint, role, hear=forbidden) == set(forbidden)


@pytest.mark.parametrize(
    ("user", "password"), [("", ""), ("actors", ""), ("actors", "wrong"), ("nobody", "x")]
)
async def test_a_stranger_is_not_let_in(user: str, password: str, running: Broker) -> None:
    client = Client()
    try:
        with pytest.raises(NatsError, match=r"(?i)authorization"):
            await client.connect(
                running.endpoint.url, user=user or None, password=password, **one_attempt(5)
            )
    finally:
        await client.close()


async def test_the_system_account_sees_nothing_of_the_log(
    furnished: Broker, settings: Settings
) -> None:
    async with connected(furnished.endpoint, "system", settings) as system:
        answer = await system.client.request("$JS.API.STREAM.INFO.EVT", timeout=5)

    assert "error" in json.loads(answer.data)


def test_passwords_are_made_once(tmp_path: Path) -> None:
    made = passwords(tmp_path / "credentials.json")

    assert passwords(tmp_path / "credentials.json") == made
    assert len(set(made.values())) == 6
    assert min(map(len, made.values())) >= 43


def test_a_role_on_a_foreign_broker_signs_in_as_its_url_says() -> None:
    endpoint = Endpoint(
        "nats://nats.example:4222",
        {},
        servers=Servers(["nats://ann:p%40ss@nats.example:4222"]),
        system_servers=Servers(["nats://root:x@nats.example:4222"]),
    )

    assert endpoint.login("gateway") == ("ann", "p@ss")
    assert endpoint.login("system") == ("root", "x")
    assert "p%40ss" not in repr(endpoint)


async def test_the_nats_program_may_look_on(running: Broker, tmp_path: Path) -> None:
    path = write_context(running.endpoint, {"XDG_CONFIG_HOME": str(tmp_path)})
    context = json.loads(path.read_text())

    assert path == tmp_path / "nats" / "context" / "canopy.json"
    assert path.stat().st_mode & 0o777 == 0o600
    assert (context["user"], context["url"]) == ("tap", running.endpoint.url)

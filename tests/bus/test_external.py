"""Brokers that somebody else runs: who signs in there, whom we trust, which server we choose."""

from __future__ import annotations

import asyncio
import json
import traceback
from pathlib import Path
from typing import Any, get_args

import pytest

from bus.connection import connected, located, wired
from bus.external import external_endpoint
from bus.health import Sick, asked, surveyed
from bus.logins import LoginUnusable
from bus.lookout import settle
from bus.roles import Role, accounts, passwords
from bus.wire import BrokerLost
from schemas.settings import Settings
from tests.servers import Key, certificate, creds, free_port, nats_server


def knobs(directory: Path, url: str, **more: Any) -> Settings:
    return Settings(data_directory=directory, nats_url=url, nats_silence_s=1.0, **more)


async def talks(settings: Settings, role: Role = "gateway") -> bool:
    """Whether both of our clients are taken in. Raises what they raise."""
    endpoint = await located(settings)
    async with connected(endpoint, role, settings) as slow, wired(endpoint, role, settings) as fast:
        await fast.ping(1.0)
        return slow.client.is_connected


def kept(path: Path, text: str) -> Path:
    path.write_text(text)
    path.chmod(0o600)
    return path


async def test_the_next_server_is_tried_when_one_is_away(tmp_path: Path) -> None:
    async with nats_server(tmp_path) as place:
        url = f"nats://127.0.0.1:{free_port()},{place},127.0.0.1:{free_port()}"
        settings = knobs(tmp_path, url)
        endpoint = external_endpoint(settings)

        for _ in range(8):  # Whatever the order that chance gives.
            assert await talks(settings)
        async with wired(endpoint, "gateway", settings) as wire:
            assert wire.address == f"nats://{place}"


async def test_nobody_there_is_told_server_by_server(tmp_path: Path) -> None:
    ports = free_port(), free_port()
    settings = knobs(tmp_path, ",".join(f"127.0.0.1:{port}" for port in ports))

    with pytest.raises(BrokerLost, match=f"(?s)no server takes gateway.*{ports[0]}|{ports[1]}"):
        async with wired(external_endpoint(settings), "gateway", settings):
            pass


async def test_no_password_is_told_to_who_reads_of_a_refusal(tmp_path: Path) -> None:
    """Whatever the broker says and whoever asks: what is raised is logged."""

    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b'INFO {"max_payload": 1024, "auth_required": true, "headers": true}\r\n')
        await reader.readline()
        writer.write(b"-ERR 'Authorization Violation'\r\n")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(refuse, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    url = f"nats://canopy:hunter2@127.0.0.1:{port}"
    settings = knobs(tmp_path, url, nats_system_url=url)
    endpoint = await located(settings)
    told = [repr(endpoint), endpoint.url]
    async with server:
        for connection in (connected, wired):
            with pytest.raises(BrokerLost) as lost:
                async with connection(endpoint, "gateway", settings):
                    pass
            told += [*traceback.format_exception(lost.value)]
        with pytest.raises(Sick) as sick:
            await asked(endpoint, "VARZ", 1.0)
        told += [*traceback.format_exception(sick.value)]
        with pytest.raises(BrokerLost) as unled:
            await settle(endpoint, "gateway", settings)
        told += [*traceback.format_exception(unled.value)]

    assert f"127.0.0.1:{port} refused gateway" in "".join(told)
    assert "hunter2" not in "".join(told)


async def test_each_role_has_its_own_password(tmp_path: Path) -> None:
    """The file that holds them is the one that the servers' users were made from."""
    path = tmp_path / "passwords.json"
    secret = passwords(path)
    users = accounts(secret, -1)
    async with nats_server(tmp_path, accounts=users, system_account="SYS") as place:
        settings = knobs(tmp_path, place, nats_credentials=str(path))
        told = await asked(external_endpoint(settings), "VARZ", 1.0)

        assert await talks(settings, "actors")
        assert told["jetstream"]["config"]["sync_always"]


async def test_a_user_may_sign_with_an_nkey(tmp_path: Path) -> None:
    user, stranger = Key("user"), Key("user")
    config: dict[str, Any] = {"authorization": {"users": [{"nkey": user.public}]}}
    async with nats_server(tmp_path, **config) as place:
        good = knobs(tmp_path, place, nats_credentials=str(kept(tmp_path / "a.nk", user.seed)))
        bad = knobs(tmp_path, place, nats_credentials=str(kept(tmp_path / "b.nk", stranger.seed)))

        assert await talks(good)
        with pytest.raises(BrokerLost, match="Authorization Violation"):
            await talks(bad)


async def test_a_user_may_sign_with_a_jwt(tmp_path: Path) -> None:
    """As operators give it out: one `*.creds` for each role, in a folder."""
    operator, account, user = Key("operator"), Key("account"), Key("user")
    limits = {"subs": -1, "data": -1, "payload": -1, "imports": -1, "exports": -1, "conn": -1}
    claims = {"type": "account", "limits": limits | {"leaf": -1, "wildcards": True}}
    config: dict[str, Any] = {
        "operator": operator.jwt(operator, "op", {"type": "operator"}),
        "resolver": "MEMORY",
        "resolver_preload": {account.public: operator.jwt(account, "canopy", claims)},
        "jetstream": False,
    }
    said = account.jwt(user, "all", {"type": "user", "subs": -1, "data": -1, "payload": -1})
    folder = tmp_path / "users"
    folder.mkdir()
    for role in get_args(Role):
        kept(folder / f"{role}.creds", creds(said, user))
    async with nats_server(tmp_path, **config) as place:
        settings = knobs(tmp_path, place, nats_credentials=str(folder))

        assert await talks(settings)


async def test_both_ends_show_certificates(tmp_path: Path) -> None:
    certificate(tmp_path, "ca")
    cert, key = certificate(tmp_path, "server", "ca")
    mine, my_key = certificate(tmp_path, "client", "ca")
    ca = str(tmp_path / "ca.pem")
    tls = {"cert_file": cert, "key_file": key, "ca_file": ca, "verify": True}
    async with nats_server(tmp_path, tls=tls) as place:
        trusting = {"nats_tls_ca": ca}
        shown = trusting | {"nats_tls_certificate": mine, "nats_tls_key": my_key}

        assert await talks(knobs(tmp_path, f"tls://{place}", **shown))
        with pytest.raises(BrokerLost):  # We show nothing.
            await talks(knobs(tmp_path, f"tls://{place}", **trusting))
        with pytest.raises(BrokerLost, match="certificate verify failed"):  # Nobody vouches for it.
            await talks(knobs(tmp_path, f"tls://{place}"))


async def test_no_password_leaves_in_clear_where_tls_is_wanted(tmp_path: Path) -> None:
    async with nats_server(tmp_path) as place:
        settings = knobs(tmp_path, f"tls://ann:secret@{place}")
        endpoint = external_endpoint(settings)

        with pytest.raises(BrokerLost, match="offers no TLS"):
            async with wired(endpoint, "gateway", settings):
                pass
        with pytest.raises(BrokerLost, match="offers no TLS"):
            async with connected(endpoint, "gateway", settings):
                pass


@pytest.mark.parametrize(
    ("name", "text", "told"),
    [
        ("a.json", '{"actors": "x"}', "no password of supervisor, gateway"),
        ("a.json", "hello", "neither JSON of passwords"),
        ("a.json", "[]", "no JSON object"),
        ("a.creds", "hello", "a user's JWT and seed"),
        ("a.nk", "SU" + "A" * 56, "its checksum does not hold"),
        ("a.nk", "UABC", "a user's seed"),
    ],
)
def test_credentials_that_are_none_say_so(tmp_path: Path, name: str, text: str, told: str) -> None:
    settings = knobs(tmp_path, "a", nats_credentials=str(kept(tmp_path / name, text)))

    with pytest.raises(LoginUnusable, match=told):
        external_endpoint(settings)


def test_credentials_are_nobody_elses_business(tmp_path: Path) -> None:
    path = kept(tmp_path / "a.json", json.dumps(passwords(tmp_path / "b.json")))
    path.chmod(0o644)

    with pytest.raises(LoginUnusable, match="chmod 600"):
        external_endpoint(knobs(tmp_path, "a", nats_credentials=str(path)))


def test_a_folder_that_lacks_a_role_says_which(tmp_path: Path) -> None:
    with pytest.raises(LoginUnusable, match=r"neither supervisor.creds nor supervisor.nk"):
        external_endpoint(knobs(tmp_path, "a", nats_credentials=str(tmp_path)))


async def test_every_server_of_a_cluster_is_looked_at(tmp_path: Path) -> None:
    secret = accounts(passwords(tmp_path / "p.json"), -1)
    ports, routes = (free_port(), free_port()), (free_port(), free_port())
    peers = [f"nats://127.0.0.1:{port}" for port in routes]
    common: dict[str, Any] = {"accounts": secret, "system_account": "SYS"}

    def cluster(nth: int) -> dict[str, Any]:
        return {"name": "c", "listen": f"127.0.0.1:{routes[nth]}", "routes": peers}

    async with (
        nats_server(tmp_path, ports[0], **common, cluster=cluster(0)) as place,
        nats_server(tmp_path, ports[1], **common, cluster=cluster(1)),
    ):
        settings = knobs(tmp_path, place, nats_credentials=str(tmp_path / "p.json"))
        names: set[str] = set()
        for _ in range(50):  # Until the two have found each other.
            told = await surveyed(external_endpoint(settings), "VARZ", 1.0)
            names = {one["server_name"] for one in told}
            if len(names) == 2:
                break

    assert names == {f"s{port}" for port in ports}

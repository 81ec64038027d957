"""A log with fewer copies than its cluster could keep is told of, loudly and with the remedy."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from bus.attachment import prepared
from bus.copies import counted_anew, thin
from bus.external import external_endpoint
from bus.roles import accounts, passwords
from schemas.settings import Settings
from tests.servers import free_port, nats_server


@pytest.mark.parametrize(
    ("servers", "copies", "wanted", "told"),
    [
        (3, 1, 0, "3 servers keep the log in one copy"),
        (5, 2, 0, "5 servers keep the log in 2 copies"),
        (3, 1, 3, "3 servers keep the log in one copy"),
        (3, 1, 1, ""),
        (3, 3, 0, ""),
        (1, 1, 0, ""),
    ],
)
def test_too_few_copies_are_told_of_unless_they_are_meant(
    servers: int, copies: int, wanted: int, told: str
) -> None:
    said = thin(servers, copies, Settings(nats_replicas=wanted))

    assert said.startswith(told)
    assert bool(said) == bool(told)


@asynccontextmanager
async def three(directory: Path) -> AsyncIterator[str]:
    """The addresses of three servers that are one cluster."""
    users: dict[str, Any] = {
        "accounts": accounts(passwords(directory / "p.json"), -1),
        "system_account": "SYS",
    }
    ports = [free_port() for _ in "abc"]
    routes = [f"nats://127.0.0.1:{port}" for port in ports]
    async with AsyncExitStack() as stack:
        yield ",".join(
            [
                await stack.enter_async_context(
                    nats_server(
                        directory,
                        cluster={"name": "c", "listen": f"127.0.0.1:{port}", "routes": routes},
                        **users,
                    )
                )
                for port in ports
            ]
        )


@pytest.mark.slow
async def test_a_log_of_one_copy_on_three_servers_is_told_of_until_it_has_three(
    tmp_path: Path,
) -> None:
    async with three(tmp_path) as url:
        told = []
        for wanted in (1, 0, 3):
            settings = Settings(
                data_directory=tmp_path / "node",
                nats_url=url,
                nats_credentials=str(tmp_path / "p.json"),
                nats_replicas=wanted,
            )
            endpoint = external_endpoint(settings)
            with capture_logs() as logged:
                await prepared(endpoint, settings, ())
            warned = "log_copies" in [line["event"] for line in logged]
            told.append(
                (warned, "CANOPY_NATS_REPLICAS=3" in await counted_anew(endpoint, settings))
            )

    assert told == [(False, False), (True, True), (False, False)]

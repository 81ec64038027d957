"""What has expired is deleted, round by round."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from gateway.expiry import expire
from schemas.envelope import Answer, Refused, Request
from schemas.settings import Settings
from tests.gateway.reading import Log, running
from tests.logs import DEADLINE_S

EXPIRED: list[dict[str, Any]] = [{"channel_id": "c", "id": f"M{nth}"} for nth in range(5)]


class Refusing:
    """Commands of which none may be."""

    def __init__(self, code: str) -> None:
        self.code = code
        self.asked: list[str] = []
        self.enough = asyncio.Event()

    async def send(self, request: Request) -> Answer:
        self.asked.append(request.key)
        if len(self.asked) == 2 * len(EXPIRED):
            self.enough.set()
        raise Refused(self.code, "Not now.")


@pytest.mark.parametrize(
    ("code", "in_a_round"), [("log_full", 1), ("log_damaged", 1), ("message_gone", len(EXPIRED))]
)
async def test_a_log_that_takes_nothing_is_asked_once_in_a_round(
    tmp_path: Path, code: str, in_a_round: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only a refusal that is about one message lets the others be tried."""
    knobs, commands = Settings(expiry_every_s=0.01), Refusing(code)
    async with running(tmp_path, Log("0123456789abcdef")) as reads:

        async def expired(*_: object) -> list[dict[str, Any]]:
            return EXPIRED

        monkeypatch.setattr(reads, "rows", expired)
        with capture_logs() as logged:
            expiring = asyncio.create_task(expire(reads, commands, knobs, lambda: 0))
            async with asyncio.timeout(DEADLINE_S):
                await commands.enough.wait()
            expiring.cancel()
            await asyncio.wait([expiring])

    keys = [f"c.{row['id']}" for row in EXPIRED[:in_a_round]]
    assert commands.asked == keys * (2 * len(EXPIRED) // in_a_round)
    assert {line["code"] for line in logged if line["event"] == "expiry_refused"} == {code}

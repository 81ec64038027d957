"""Whatever goes wrong on the way is told as a problem, and no more of it than helps."""

from __future__ import annotations

from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from structlog.testing import capture_logs

from actors.projection_file import Damaged
from bus.commands import Unavailable
from bus.recall import Memory
from bus.wire import BrokerLost
from gateway.app import _outer
from gateway.arrival import Guard
from gateway.read_model import Behind
from schemas.settings import Settings


async def told(fault: Exception) -> tuple[int, dict[str, str], dict[str, Any]]:
    """(status, headers, problem) of a request whose handler raises *fault*."""

    async def fail(request: web.Request) -> web.StreamResponse:
        raise fault

    app = web.Application(middlewares=[_outer(Guard(Settings()), lambda: 7, Memory())])
    app.router.add_get("/", fail)
    async with TestClient(TestServer(app)) as client, client.get("/") as response:
        return response.status, dict(response.headers), await response.json(content_type=None)


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        (Behind(7, 3, "the disk is slow"), "behind"),
        (Damaged("the disk lies"), "behind"),
        (Unavailable("no actor process is running"), "unavailable"),
        (BrokerLost("gone"), "unavailable"),
        (TimeoutError(), "timed_out"),
    ],
)
async def test_what_will_pass_is_to_be_tried_again(fault: Exception, code: str) -> None:
    status, headers, problem = await told(fault)

    assert (status, problem["code"]) == (503, code)
    assert (headers["Retry-After"], headers["Canopy-Seq"]) == ("1", "7")
    assert headers["Content-Type"] == "application/problem+json"


async def test_a_bug_is_logged_and_says_nothing_of_itself() -> None:
    with capture_logs() as logs:
        status, headers, problem = await told(RuntimeError("the key is cnp_key_secret"))

    assert (status, problem["code"]) == (500, "internal_error")
    assert "secret" not in str(problem)
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert [one["event"] for one in logs] == ["request_failed"]
    assert logs[0]["correlation"] == problem["correlation_id"]

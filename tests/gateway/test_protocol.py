"""What is not even HTTP: a problem as any other, and no alarm in the journal."""

from __future__ import annotations

import asyncio
import json
import resource
import socket
from contextlib import ExitStack
from urllib.parse import urlsplit

import pytest
import uvloop
from structlog.testing import capture_logs

from gateway.protocol import ACCEPTED_MAX, Site
from tests.canopy import Canopy
from tests.logs import DEADLINE_S

POST = b"POST /api/v1/channels/messages HTTP/1.1\r\n"
HOST = b"Host: 127.0.0.1\r\nContent-Type: application/json\r\n"


async def answered(canopy: Canopy, sent: bytes) -> tuple[bytes, bytes]:
    """The head and the body of what *sent* is answered with, until the node hangs up."""
    there = urlsplit(canopy.up.url)
    reader, writer = await asyncio.open_connection(there.hostname, there.port)
    writer.write(sent)
    async with asyncio.timeout(DEADLINE_S):
        head, _, body = (await reader.read()).partition(b"\r\n\r\n")
    writer.close()
    await writer.wait_closed()
    return head, body


@pytest.mark.parametrize(
    "sent",
    [
        b"GET /api/v1/health?x=" + b"a" * 9_000 + b" HTTP/1.1\r\n" + HOST + b"\r\n",
        b"GET /healthz HTTP/1.1\r\n" + HOST + b"X-A: " + b"a" * 9_000 + b"\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nHost 127.0.0.1\r\n\r\n",
        POST + HOST + b"Transfer-Encoding: chunked\r\n\r\nZZ\r\nabc\r\n",
        POST + HOST + b"Content-Length: many\r\n\r\n",
        POST + HOST + b"Content-Encoding: br\r\nContent-Length: 2\r\n\r\n{}",
        b"\x16\x03\x01\x02\x00\r\n\r\n",
    ],
)
async def test_what_cannot_be_read_is_a_problem(
    canopy: Canopy, caplog: pytest.LogCaptureFixture, sent: bytes
) -> None:
    """It names what to do, is guarded as every answer, and leaves a line and no traceback."""
    with capture_logs() as logged:
        head, body = await answered(canopy, sent)
    problem = json.loads(body)

    assert b" 400 " in head.splitlines()[0]
    assert b"Content-Type: application/problem+json" in head
    assert b"X-Content-Type-Options: nosniff" in head
    assert (problem["status"], problem["code"]) == (400, "invalid_http")
    assert [line["event"] for line in logged] == ["request_unreadable"]
    assert logged[0]["correlation"] == problem["correlation_id"]
    assert caplog.records == []


@pytest.mark.parametrize("encoding", [b"deflate", b"gzip"])
async def test_a_body_that_is_not_encoded_as_it_says_is_no_alarm(
    canopy: Canopy, caplog: pytest.LogCaptureFixture, encoding: bytes
) -> None:
    ann = await canopy.register("ann")
    key = b"X-API-Key: " + ann.key.encode() + b"\r\nConnection: close\r\n"
    coded = b"Content-Encoding: " + encoding + b"\r\nContent-Length: 10\r\n\r\n0123456789"
    head, body = await answered(canopy, POST + HOST + key + coded)

    assert b" 400 " in head.splitlines()[0]
    assert json.loads(body)["code"] == "invalid_body"
    assert caplog.records == []


class Guest(asyncio.Protocol):
    """One who comes in and says nothing."""


def test_many_who_come_are_taken_in_at_one_turn() -> None:
    """Turns are long for who has thousands to tell something; uvloop itself takes in one."""

    async def turns(count: int) -> int:
        came: list[Guest] = []

        def connected() -> Guest:
            came.append(Guest())
            return came[-1]

        listener = socket.create_server(("127.0.0.1", 0), backlog=count)
        listener.setblocking(False)
        site = Site(listener, connected)
        with ExitStack() as stack:
            for _ in range(count):
                stack.enter_context(socket.create_connection(listener.getsockname()))
            turn = 0
            while len(came) < count and turn <= count:
                await asyncio.sleep(0)
                turn += 1
        site.close()
        return turn

    assert uvloop.run(turns(ACCEPTED_MAX)) < ACCEPTED_MAX / 4


async def test_who_cannot_be_taken_in_waits_for_a_moment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a process that may open no file, no turn is taken up by those who wait."""
    monkeypatch.setattr("gateway.protocol.REST_S", 0.05)
    listener = socket.create_server(("127.0.0.1", 0))
    listener.setblocking(False)
    came: list[Guest] = []

    def connected() -> Guest:
        came.append(Guest())
        return came[-1]

    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    site = Site(listener, connected)
    with socket.create_connection(listener.getsockname()), capture_logs() as logged:
        soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        resource.setrlimit(resource.RLIMIT_NOFILE, (0, hard))
        try:
            await asyncio.sleep(0.12)
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        turned_away = len(came)
        await asyncio.sleep(0.1)
    site.close()

    assert (turned_away, len(came)) == (0, 1)
    assert 1 <= len(logged) <= 4
    assert {line["event"] for line in logged} == {"accept_failed"}

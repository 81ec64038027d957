"""Live pages of a whole node: who may open one, and who may keep it."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.canopy import PASSWORD, Caller, Canopy, running

LIVE = "/api/v1/live"
DEADLINE_S = 20.0


class Unseen(Exception):
    """A frame that must come did not."""


def page(canopy: Canopy, **headers: str) -> Any:
    """A WebSocket with these headers (an underscore is a hyphen)."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return canopy.http.ws_connect(canopy.up.url + LIVE, headers=named)


async def first(socket: aiohttp.ClientWebSocketResponse, kind: str = "hello") -> dict[str, Any]:
    """The next frame of one type. Raises `Unseen` when others come, and it does not."""
    others: list[Any] = []
    try:
        async with asyncio.timeout(DEADLINE_S):
            while (frame := json.loads(await socket.receive_str()))["type"] != kind:
                others.append(frame)
    except TimeoutError as error:
        raise Unseen(f"no {kind} in {DEADLINE_S} s, but {others}") from error
    said: dict[str, Any] = frame
    return said


async def refusal(canopy: Canopy, **headers: str) -> int:
    """The status with which a page is refused, 101 when it is not."""
    try:
        async with page(canopy, **headers):
            return 101
    except aiohttp.WSServerHandshakeError as error:
        return error.status


async def say(caller: Caller, text: str) -> int:
    """The position of a message in `general`."""
    posted = await caller.post("/channels/messages", {"channel_id": "general", "content": text})
    seq: int = posted["seq"]
    return seq


async def test_the_answer_and_the_event_carry_the_same_position(canopy: Canopy) -> None:
    ann = await canopy.register("ann")

    async with page(canopy, X_API_Key=ann.key) as socket:
        await first(socket)
        seq = await say(ann, "Hi.")
        frame = await first(socket, "commit")

    (event,) = frame["events"]
    assert (frame["seq"], frame["author"]) == (seq, ann.id)
    assert (event["kind"], event["data"]["content"]) == ("message_posted", "Hi.")


async def test_a_page_goes_on_after_a_restart(tmp_path: Path) -> None:
    async with running(tmp_path) as node:
        ann = await node.register("ann")
        before = await say(ann, "before")
        after = await say(ann, "after")
    async with running(tmp_path) as node:
        url = f"{node.up.url}{LIVE}?after={before}"
        async with node.http.ws_connect(url, headers={"X-API-Key": ann.key}) as socket:
            frame = await first(socket, "commit")

    assert frame["seq"] == after


@pytest.mark.parametrize(
    ("origin", "expected"),
    [("{url}", 101), ("http://evil.example", 403), ("null", 403), ("{url}.evil.example", 403)],
)
async def test_pages_of_other_sites_are_refused(canopy: Canopy, origin: str, expected: int) -> None:
    ann = await canopy.register("ann")
    origin = origin.format(url=canopy.up.url)

    assert await refusal(canopy, X_API_Key=ann.key, Origin=origin) == expected


async def test_nobody_and_wrong_keys_are_refused(canopy: Canopy) -> None:
    assert await refusal(canopy) == 401
    assert await refusal(canopy, X_API_Key="cnp_key_none") in (401, 403)


async def test_a_browser_follows_with_its_session(canopy: Canopy) -> None:
    await canopy.register("ann")
    async with aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True)) as browser:
        body = {"username": "ann", "password": PASSWORD}
        async with browser.post(f"{canopy.up.url}/api/v1/session", json=body) as signed_in:
            token = (await signed_in.json())["csrf_token"]
        headers = {"Origin": canopy.up.url}
        async with browser.ws_connect(canopy.up.url + LIVE, headers=headers) as socket:
            await first(socket)
            headers |= {"X-CSRF-Token": token}
            await browser.delete(f"{canopy.up.url}/api/v1/session", headers=headers)
            while not socket.closed:
                await socket.receive(timeout=2)

    assert socket.close_code == 4401


async def test_a_ticket_opens_one_page(canopy: Canopy) -> None:
    ann = await canopy.register("ann")
    ticket = (await ann.post("/live/tickets"))["ticket"]
    url = f"{canopy.up.url}{LIVE}?ticket={ticket}"

    async with canopy.http.ws_connect(url) as socket:
        hello = await first(socket)
    async with canopy.http.get(url) as again:
        status = again.status

    assert hello["epoch"]
    assert status in (401, 403)


async def test_a_revoked_key_closes_its_pages(canopy: Canopy) -> None:
    await canopy.register("owner")
    bob = await canopy.register("bob")
    async with page(canopy, X_API_Key=bob.key) as socket:
        await first(socket)
        async with aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True)) as browser:
            body = {"username": "bob", "password": PASSWORD}
            async with browser.post(f"{canopy.up.url}/api/v1/session", json=body) as signed_in:
                csrf = {"X-CSRF-Token": (await signed_in.json())["csrf_token"]}
            async with browser.get(f"{canopy.up.url}/api/v1/keys") as listed:
                key_id = (await listed.json())["keys"][0]["id"]
            url = f"{canopy.up.url}/api/v1/keys/{key_id}"
            async with browser.delete(url, headers=csrf) as revoked:
                status = revoked.status
        while not socket.closed:
            await socket.receive(timeout=2)

    assert (status, socket.close_code) == (200, 4401)


async def test_events_reach_a_reader_without_a_websocket(canopy: Canopy) -> None:
    ann = await canopy.register("ann")
    seq = await say(ann, "Hi.")
    headers = {"X-API-Key": ann.key, "Accept": "text/event-stream"}

    async with canopy.http.get(f"{canopy.up.url}{LIVE}?after={seq - 1}", headers=headers) as events:
        lines = [(await events.content.readline()).decode().strip() for _ in range(6)]

    hello = json.loads(lines[2].removeprefix("data: "))
    assert lines[0] == "retry: 1000"
    assert lines[4] == f"id: {hello['epoch']}.{seq}"


async def test_typing_crosses_the_broker(canopy: Canopy) -> None:
    ann, bob = await canopy.register("ann"), await canopy.register("bob")
    async with page(canopy, X_API_Key=ann.key) as hers, page(canopy, X_API_Key=bob.key) as his:
        await first(hers)
        await first(his)
        await his.send_json({"type": "typing", "channel_id": "general"})
        seen = await first(hers, "typing")

    assert (seen["channel_id"], seen["account_id"]) == ("general", bob.id)


async def test_a_node_that_stops_asks_to_come_back(tmp_path: Path) -> None:
    async with aiohttp.ClientSession() as http:
        async with running(tmp_path) as node:
            ann = await node.register("ann")
            headers = {"X-API-Key": ann.key}
            socket = await http.ws_connect(node.up.url + LIVE, headers=headers)
            await first(socket)
            closing = asyncio.create_task(first(socket, "the end"))
        await asyncio.wait([closing])

    assert isinstance(closing.exception(), aiohttp.WSMessageTypeError)
    assert socket.close_code == 1001

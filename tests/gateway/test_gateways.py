"""Several processes share the work of one node, and nothing is done twice."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from gateway.bench.crew import Crew, crew
from gateway.bench.crowd import Journal, crowd

DEADLINE_S = 20.0
API = "/api/v1"


async def posted(
    http: aiohttp.ClientSession, url: str, path: str, body: Any, **headers: str
) -> tuple[int, Any]:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    async with http.post(f"{url}{API}{path}", json=body, headers=named) as response:
        return response.status, await response.json()


async def wished(http: aiohttp.ClientSession, url: str, path: str, body: Any, key: str) -> Any:
    """What a wish is answered, made again until it is neither put off nor in doubt."""
    async with asyncio.timeout(DEADLINE_S):
        while True:
            status, answer = await posted(http, url, path, body, Idempotency_Key=key)
            if status < 500:
                return answer
            await asyncio.sleep(0.02)


async def commits(http: aiohttp.ClientSession, url: str) -> list[Any]:
    """The whole log."""
    found: list[Any] = []
    while True:
        after = found[-1]["seq"] if found else 0
        async with http.get(f"{url}{API}/log?after={after}&limit=200") as response:
            page = (await response.json())["commits"]
        found += page
        if not page:
            return found


@pytest.mark.slow
async def test_three_actors_and_two_gateways_do_everything_once(tmp_path: Path) -> None:
    """The same wishes come in through both gateways at once, all actors compete for them; then one
    actor process after the other is killed under load."""
    async with (
        crew(tmp_path / "node", {}, actors=3, gateways=2) as hands,
        aiohttp.ClientSession(headers=hands.headers) as http,
    ):
        urls = (*hands.urls, *hands.urls)
        asked = [wished(http, url, *_wish(nth), f"wish-{nth}") for nth in range(24) for url in urls]
        answers = await asyncio.gather(*asked)
        log = await commits(http, hands.urls[0])
        journal, acked = await survived(hands)
        differences = [await difference(http, url) for url in hands.urls]

    same = [answers[start : start + 4] for start in range(0, len(answers), 4)]
    causes = [commit["cause"] for commit in log]
    kinds = [event["kind"] for commit in log for event in commit["events"]]
    assert all(one == four[0] for four in same for one in four)
    assert len(causes) == len(set(causes))
    assert (kinds.count("message_posted"), kinds.count("channel_opened")) == (12, 1 + 12)
    assert (journal.lost(acked), journal.doubled()) == ([], [])
    assert differences == [None, None]


async def survived(hands: Crew) -> tuple[Journal, dict[str, int]]:
    """What was heard, and acknowledged, while actor processes died."""
    async with crowd(hands.urls, hands.headers) as people:
        acked: dict[str, int] = {}
        for nth in range(2):
            await people.recovered("the start")
            await hands.kill(("actors", nth))
            acked = await people.recovered("the death of an actor process")
            await hands.launch(("actors", nth))
        assert not hands.ended
        return people.journal, acked


async def difference(http: aiohttp.ClientSession, url: str) -> Any:
    """Where the tables of a gateway are not what the log says."""
    status, report = await posted(http, url, "/node/verify", None)
    assert status == 200
    return report["difference"]


def _wish(nth: int) -> tuple[str, Any]:
    if nth % 2:
        return "/channels/messages", {"channel_id": "general", "content": f"Nº {nth}"}
    return "/channels", {"name": f"topic-{nth}", "type": "public"}


@pytest.mark.slow
async def test_what_one_gateway_was_told_another_waits_for(tmp_path: Path) -> None:
    """A channel that was opened here is there at once, and so is who may write in it."""
    async with (
        crew(tmp_path / "node", {}, actors=1, gateways=2) as hands,
        aiohttp.ClientSession(headers=hands.headers) as http,
    ):
        here, there = hands.urls
        statuses, said = [], {"channel_id": "general", "content": "Hi."}
        for nth in range(10):
            draft = {"name": f"topic-{nth}", "type": "private"}
            _, made = await posted(http, here, "/channels", draft)
            said = {"channel_id": made["channel"]["id"], "content": "Hi."}
            path = f"/channels/messages?after_seq={made['seq']}"
            statuses.append((await posted(http, there, path, said))[0])
        ahead, _ = await posted(http, there, "/channels/messages?after_seq=1000000", said)

    assert statuses == [201] * 10
    assert ahead == 409

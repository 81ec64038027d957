"""What befalls a cluster of three under load, in turn; then count.

Two actor processes and two gateways run on three servers in namespaces. After each blow the cluster
must grant wishes again, with what was hit still down where a majority lives; whatever was
acknowledged is heard at the position that was answered, and nothing is heard twice.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any, Literal, get_args

import aiohttp

from gateway.bench.crew import Crew, crew
from gateway.bench.crowd import AGAIN_S, WRITERS, Crowd, Journal, crowd
from gateway.bench.members import Members, members
from gateway.bench.parts import Unfound
from gateway.bench.report import Figure, Report

Blow = Literal[
    "leader killed", "server cut off", "leader cut off from its peers", "rolling restart",
    "two lost", "disk wiped", "actors killed",
]  # fmt: skip
BLOWS: tuple[Blow, ...] = get_args(Blow)
PAUSE_S = 0.05
AFTER_S = 0.5
"""Of load between two blows."""
RECOVERY_S = 45.0
PATIENCE_S = 8.0
"""Within which a request is answered, whatever is down."""
COPIES = 3
MESSAGES = "/api/v1/channels/messages"


@dataclass(frozen=True)
class Scene:
    """Who takes part."""

    cluster: Members
    hands: Crew
    people: Crowd
    chance: Random
    recovery_s: float

    async def recovered(self, what: str) -> None:
        """Returns when each writer has been granted two more wishes. Raises `Unfound`."""
        before = len(self.people.journal.acked)
        try:
            async with asyncio.timeout(self.recovery_s):
                while len(self.people.journal.acked) < before + 2 * WRITERS:  # noqa: ASYNC110 - of a dict
                    await asyncio.sleep(AGAIN_S)
        except TimeoutError as error:
            raise Unfound(f"no recovery in {self.recovery_s:g} s after: {what}") from error


async def cluster(
    directory: Path,
    rounds: int = 3,
    seed: int = 1,
    blows: tuple[Blow, ...] = BLOWS,
    copies: int = COPIES,
    recovery_s: float = RECOVERY_S,
) -> Report:
    """*rounds* times each of *blows*, on a log of so many *copies*.

    Raises `gateway.bench.namespaces.NoNamespaces` where there can be none, and `Unfound` when the
    cluster does not recover in *recovery_s*.
    """
    silences: dict[Blow, float] = {}
    lost, doubled = 0, 0
    async with (
        members(directory / "servers", nats_replicas=copies) as servers,
        crew(directory / "node", servers.told, actors=2, gateways=2) as hands,
        crowd(hands.urls, hands.headers, PAUSE_S) as people,
    ):
        scene = Scene(servers, hands, people, Random(seed), recovery_s)
        for _ in range(rounds):
            for blow in blows:
                await servers.whole()
                await asyncio.sleep(AFTER_S)
                people.silence.longest_s = 0.0
                await DEALT[blow](scene)
                silences[blow] = max(silences.get(blow, 0.0), people.silence.longest_s)
                acked = dict(people.journal.acked)
                await _heard(people, max(acked.values()))
                lost += len(people.journal.lost(acked))
                doubled += len(people.journal.doubled())
        await servers.whole()
        differences = await _differences(hands, people)
        undone = len(await people.undone())
        ended = len(hands.ended)
    figures = (
        Figure("acknowledged", len(people.journal.acked), "posts"),
        Figure("acknowledged and lost", lost, "posts", 0.0),
        Figure("doubled", doubled, "posts", 0.0),
        Figure("changes and removals undone", undone, "posts", 0.0),
        Figure("heard out of order", people.journal.backwards, "commits", 0.0),
        Figure("gateways whose tables are not what the log says", differences, "", 0.0),
        Figure("503 with Retry-After", people.silence.put_off, "answers"),
        Figure("other failures answered", people.silence.curt.total(), "answers", 0.0),
        Figure("processes that ended by themselves", ended, "", 0.0),
        *(Figure(f"longest silence, {blow}", s, "s") for blow, s in silences.items()),
    )
    told = f"{rounds} × {', '.join(blows)}; {copies} copies on 3 servers, 2 actors, 2 gateways"
    return Report(
        "cluster", told, figures, (_found(people.journal) | {"answers": dict(people.silence.curt)},)
    )


def _found(journal: Journal) -> dict[str, Any]:
    """What was doubled, and where; what was lost, and where it was answered to be."""
    doubled = {
        said: [seq for seq, heard in journal.heard.items() if heard == said]
        for said in journal.doubled()
    }
    return {"doubled": doubled, "lost": {said: journal.acked[said] for said in _lost(journal)}}


def _lost(journal: Journal) -> list[str]:
    """Of what the listener has come to."""
    return journal.lost({s: seq for s, seq in journal.acked.items() if seq <= journal.cursor})


async def _leader_killed(scene: Scene) -> None:
    leader = await scene.cluster.leader()
    leader.kill()
    await scene.recovered("the leader was killed")
    leader.start()


async def _cut_off(scene: Scene) -> None:
    """The machine of any server is there for nobody."""
    server = scene.chance.choice(scene.cluster.servers)
    server.machine.pull()
    try:
        await scene.recovered("a server was cut off")
    finally:
        server.machine.plug()


async def _leader_alone(scene: Scene) -> None:
    """The leader hears its clients, and its peers no more."""
    leader = await scene.cluster.leader()
    peers = [one.machine for one in scene.cluster.servers if one is not leader]
    leader.machine.deafen(*peers)
    try:
        await scene.recovered("the leader was cut off from its peers")
    finally:
        leader.machine.heal(*peers)


async def _rolling_restart(scene: Scene) -> None:
    for server in scene.cluster.servers:
        server.stop()
        server.start()
        await scene.cluster.whole()
    await scene.recovered("a rolling restart")


async def _two_lost(scene: Scene) -> None:
    """Nothing is acknowledged without a majority; everybody is told when to come again."""
    first, second = scene.chance.sample(scene.cluster.servers, 2)
    first.kill()
    second.kill()
    await asyncio.sleep(AFTER_S)  # What was answered before may still be on its way.
    before = len(scene.people.journal.acked)
    async with asyncio.TaskGroup() as group:
        for url in scene.hands.urls:
            group.create_task(_told_to_come_again(scene, url))
    granted = len(scene.people.journal.acked) - before
    if granted:
        raise Unfound(f"{granted} posts were acknowledged by one server of three")
    first.start()
    await scene.recovered("two were lost and one came back")
    second.start()


async def _told_to_come_again(scene: Scene, url: str) -> None:
    """The gateway answers 503 with Retry-After. Raises `Unfound` for another answer."""
    # Its outcome is unknown, it may be stored in the end: so each says something else.
    said = f"Is anybody there, {url}, {scene.chance.random()}?"
    body = {"channel_id": "general", "content": said}
    try:
        async with asyncio.timeout(PATIENCE_S):
            status, later = await _answered(scene.people.http, f"{url}{MESSAGES}", body)
    except TimeoutError as error:
        raise Unfound(f"{url} did not answer in {PATIENCE_S:g} s") from error
    if status != 503 or not later:
        raise Unfound(f"{url} answered {status}, Retry-After {later}, without a majority")


async def _answered(http: aiohttp.ClientSession, url: str, body: Any) -> tuple[int, str | None]:
    """Status and Retry-After, asked again when the gateway was just attaching anew."""
    while True:
        try:
            async with http.post(url, json=body) as response:
                return response.status, response.headers.get("Retry-After")
        except aiohttp.ClientConnectionError:
            await asyncio.sleep(AGAIN_S)


async def _disk_wiped(scene: Scene) -> None:
    """What one server has lost it gets from the others, and then stands in for them."""
    wiped, other = scene.chance.sample(scene.cluster.servers, 2)
    wiped.kill()
    wiped.wipe()
    wiped.start()
    await scene.cluster.whole()
    other.kill()
    await scene.recovered("a disk was wiped, and another server killed")
    other.start()


async def _actors_killed(scene: Scene) -> None:
    """One of the actor processes; the other goes on with all of the work."""
    await scene.hands.kill(("actors", 0))
    await scene.recovered("one of two actor processes was killed")
    await scene.hands.launch(("actors", 0))


DEALT: Mapping[Blow, Callable[[Scene], Awaitable[None]]] = {
    "leader killed": _leader_killed,
    "server cut off": _cut_off,
    "leader cut off from its peers": _leader_alone,
    "rolling restart": _rolling_restart,
    "two lost": _two_lost,
    "disk wiped": _disk_wiped,
    "actors killed": _actors_killed,
}


async def _heard(people: Crowd, seq: int) -> None:
    try:
        async with asyncio.timeout(RECOVERY_S):
            await people.heard(seq)
    except TimeoutError as error:
        raise Unfound(f"position {seq} was acknowledged and is not heard") from error


async def _differences(hands: Crew, people: Crowd) -> int:
    """How many gateways have tables that are not what the log says."""
    found = 0
    for url in hands.urls:
        async with people.http.post(
            f"{url}/api/v1/node/verify", timeout=aiohttp.ClientTimeout(total=RECOVERY_S)
        ) as response:
            found += response.status != 200 or (await response.json())["difference"] is not None
    return found

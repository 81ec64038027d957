"""Two gateways over one log in memory: one lives through it commit by commit, the other comes
afterwards. Both are the production application, over real HTTP, without a broker.

Whoever asks is ann, who owns the house and has been there since `BEGINNING`.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from aiohttp.test_utils import TestClient, TestServer

from bus.commands import LocalCommands
from bus.crypto.identity import Identity, identity, new_secrets
from bus.recall import LocalRecall
from bus.signs import LocalSigns
from bus.telemetry import Telemetry
from gateway.__main__ import TICKETS_MAX, throttles
from gateway.app import build
from gateway.asking import Asking
from gateway.auth import Credentials, Doors, Passwords, secret_hash, token
from gateway.call import Gateway
from gateway.feed import Feed
from gateway.live import Live
from gateway.pages import Cursors
from gateway.past import Past
from gateway.reads import Reads
from gateway.redaction import shown
from gateway.seen import Seen
from gateway.tickets import Tickets
from schemas.account import AccountRegistered, KeyCreated
from schemas.channel import ChannelOpened, MemberAdded
from schemas.envelope import Event, Id, Key
from schemas.settings import Settings
from schemas.workspace import WORKSPACE, WorkspaceClaimed
from tests.bus.vaults import empty_vault
from tests.examples import WHEN_MS, header
from tests.gateway.reading import Log, reads_of

SECRET = bytes(32)
KEYS = {"whole": token("key", "K1", SECRET), "narrow": token("key", "K2", SECRET)}
STEP_MS = 1000
Line = tuple[str, Key, Id, tuple[Event, ...]]
"""What is said: noun, key, author, events."""


def _registered(name: str) -> AccountRegistered:
    return AccountRegistered(
        username=name, display_name=name.title(), account_type="human", status="active",
        password_sealed="", public_key="",
    )  # fmt: skip


BEGINNING: tuple[Line, ...] = (
    (
        "account", "ann", "ann",
        (
            _registered("ann"),
            KeyCreated(
                key_id="K1", secret_hash=secret_hash(SECRET).hex(),
                scopes=("read_messages", "write_messages", "manage_keys", "delete_data"),
            ),
            KeyCreated(
                key_id="K2", secret_hash=secret_hash(SECRET).hex(), scopes=("read_messages",)
            ),
        ),
    ),
    ("workspace", WORKSPACE, "system", (WorkspaceClaimed(account_id="ann"),)),
    (
        "channel", "general", "system",
        (ChannelOpened(name="general", type="general", privacy_mode="open"),),
    ),
    ("account", "bob", "bob", (_registered("bob"),)),
    (
        "channel", "C1", "bob",
        (
            ChannelOpened(name="den", type="private", privacy_mode="private"),
            MemberAdded(account_id="bob", role="admin"),
        ),
    ),
)  # fmt: skip


class Told(Log):
    """A log in which one commit follows the other by the second."""

    def __init__(self) -> None:
        super().__init__("0123456789abcdef")
        self._seqs: dict[tuple[str, str], int] = {}

    async def tell(self, line: Line, **fields: str) -> int:
        """The position of one more commit, whose header has these *fields*."""
        noun, key, author, events = line
        clock = f"{WHEN_MS + (await self.head() + 1) * STEP_MS:012x}0000"
        one = header(noun, key, author=author, clock=clock, **fields)
        seq = await self.append(one, events, self._seqs.get((noun, key), 0))
        self._seqs[noun, key] = seq
        return seq


@dataclass
class House:
    """A gateway that answers. `now_ms` is its clock, set by hand."""

    reads: Reads
    client: TestClient[Any, Any] = field(repr=False)
    clock: list[int]

    async def ask(self, path: str, key: str = "whole") -> tuple[int, dict[str, str], Any]:
        """(status, headers, JSON) of GET *path* under `/api/v1`, with one of ann's keys."""
        return await self.get(f"/api/v1{path}", key)

    async def get(self, path: str, key: str = "whole") -> tuple[int, dict[str, str], Any]:
        """The same of any path."""
        async with self.client.get(path, headers={"X-API-Key": KEYS[key]}) as response:
            return response.status, dict(response.headers), await response.json()


@asynccontextmanager
async def house(folder: Path, log: Log, clock: list[int], me: Identity) -> AsyncIterator[House]:
    """A gateway over *log*, folding what comes."""
    settings = Settings(read_threads=1, requests_per_second_max=10**6, requests_burst_max=10**6)
    reads = reads_of(folder, log)
    try:
        await reads.open()
        folding = asyncio.create_task(reads.run())
        app = build(_gateway(reads, log, settings, clock, me))
        async with TestClient(TestServer(app)) as client:
            yield House(reads, client, clock)
        folding.cancel()
        await asyncio.wait([folding])
    finally:
        reads.close()


def _gateway(reads: Reads, log: Log, settings: Settings, clock: list[int], me: Identity) -> Gateway:
    def wall_ms() -> int:
        return clock[0]

    directory, telemetry, vault = reads.directory, Telemetry(), empty_vault()
    doors = Doors(directory, "", first_start=False, wall_ms=wall_ms, one_at_a_time=asyncio.Lock())
    credentials = Credentials(directory, me, wall_ms)
    feed = Feed(log, partial(shown, vault), settings)
    return Gateway(
        commands=LocalCommands(1.0),
        reads=reads,
        past=Past(reads, settings.past_directories_max),
        identity=me,
        vault=vault,
        settings=settings,
        telemetry=telemetry,
        recall=LocalRecall(telemetry.memory),
        credentials=credentials,
        passwords=Passwords(me, 1),
        doors=doors,
        throttles=throttles(settings),
        cursors=Cursors(me),
        seen=Seen(lambda: reads.position, lambda: reads.forgone),
        live=Live(
            feed, directory, LocalSigns(), settings, telemetry, reads.reached, credentials.renew
        ),
        asking=Asking(reads, settings),
        tickets=Tickets(30.0, TICKETS_MAX, lambda: 0.0),
        wall_ms=wall_ms,
        started_ms=WHEN_MS,
        warning=unwarned,
    )


async def unwarned() -> str:
    """Nothing is to be said of a log in memory."""
    return ""


def somebody() -> Identity:
    """The identity of a node."""
    return identity(new_secrets())


async def answers(one: House, paths: Sequence[str], at: int | str = "") -> dict[str, Any]:
    """By path: the answer to what is asked about the moment *at* (the present); of a refusal what
    it is, not how it is put."""
    told: dict[str, Any] = {}
    for path in paths:
        mark = "&" if "?" in path else "?"
        status, _, body = await one.ask(f"{path}{mark}at={at}" if at != "" else path)
        told[path] = body if status == 200 else (status, body["code"])
    return told

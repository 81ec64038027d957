"""The eraser: what the log calls for is done, once and to the end, and by one at a time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from actors.eraser import PROGRESS, Eraser, note, plan
from bus.commands import LocalCommands, Unavailable
from bus.log import Stored
from bus.memory import MemoryLog
from bus.storage import Directory, Storage
from bus.vault import Vault
from schemas.channel import ChannelOpened, ChannelRemoved
from schemas.envelope import SYSTEM, Answer, Commit, Event, Request
from schemas.erasure import RecordErasure
from schemas.message import MessageDeleted, PostMessage
from schemas.settings import Settings
from tests.actors.hosts import host
from tests.bus.vaults import WAIT_S, Disk, empty_vault, made, opening
from tests.examples import header, request

KEY = "c1.M1"
DEADLINE_S = 10.0
ERASED = b'"content_erased"'


@pytest.fixture
def vault() -> Any:
    one = empty_vault()
    yield one
    one.close()


@asynccontextmanager
async def erasing(
    vault: Vault, log: MemoryLog, storage: Storage, commands: Any = None
) -> AsyncIterator[None]:
    """An eraser at work, on the log of a host."""
    deciding = LocalCommands(WAIT_S)
    deciding.attend(host(log, vault=vault).handle)
    settings = Settings(erasure_gather_s=0.0)
    room = asyncio.create_task(Eraser(vault, storage, log, commands or deciding, settings).run())
    try:
        yield
    finally:
        room.cancel()
        await asyncio.wait([room])


async def erased(log: MemoryLog, times: int = 1) -> None:
    """Returns once the log says so so many times."""
    async with asyncio.timeout(DEADLINE_S):
        seen = 0
        async for page in log.tail(0):
            seen += sum(ERASED in one.payload for one in page)
            if seen >= times:
                return


async def said(vault: Vault, log: MemoryLog, key: str = KEY) -> str:
    """The name of the key of a private message that was said and deleted."""
    one = host(log, vault=vault)
    answer = await one.handle(request("message", key, PostMessage(content="Hi.", private=True)))
    await log.append(header(key=key), (MessageDeleted(private=True),), answer.seq)
    return str(answer.facts[0].data["sealed"]["key"])


@pytest.mark.parametrize(
    ("noun", "key", "event", "owners"),
    [
        ("message", KEY, MessageDeleted(private=True), ["message.c1.M1"]),
        ("message", KEY, MessageDeleted(), []),
        ("channel", "c1", ChannelRemoved(), ["message.c1"]),
        ("channel", "c1", ChannelOpened(name="c", type="private", privacy_mode="open"), []),
    ],
)
def test_deletion_calls_for_erasing(noun: str, key: str, event: Event, owners: list[str]) -> None:
    deeds = plan(Commit(header(noun, key), (event,), 1))

    assert [deed.owner for deed in deeds] == owners
    assert all(deed.intent.command == RecordErasure() for deed in deeds)


async def test_what_is_deleted_loses_its_keys_and_the_log_says_so(vault: Vault) -> None:
    log = MemoryLog()
    name = await said(vault, log)
    async with erasing(vault, log, Disk()):
        await erased(log)

    (last,) = await log.page(2, 9)
    assert vault.find(name) is None
    assert (last.key, await _author(log)) == (KEY, SYSTEM)


async def _author(log: MemoryLog) -> str:
    return (await log.read("message", KEY))[-1].header.author


async def test_it_goes_on_where_it_was_and_says_nothing_twice(vault: Vault) -> None:
    log, storage = MemoryLog(), Disk()
    await said(vault, log)
    async with erasing(vault, log, storage):
        await erased(log)
    async with erasing(vault, log, storage):
        await said(vault, log, "c1.M2")
        await erased(log, 2)
    storage.files.pop(PROGRESS, None)  # Losing it costs time and nothing else.
    async with erasing(vault, log, storage):
        await said(vault, log, "c1.M3")
        await erased(log, 3)

    assert sum(ERASED in one.payload for one in await log.page(0, 99)) == 3


async def test_progress_in_another_log_is_none(vault: Vault) -> None:
    storage = Disk({PROGRESS: note("fedcba9876543210", 1000)})
    log = MemoryLog()
    name = await said(vault, log)
    async with erasing(vault, log, storage):
        await erased(log)

    assert vault.find(name) is None


class Busy:
    """Commands that nobody answers at first."""

    def __init__(self, then: LocalCommands) -> None:
        self._then = then
        self.asked = 0

    async def send(self, wish: Request) -> Answer:
        self.asked += 1
        if self.asked == 1:
            raise Unavailable("nobody is there")
        return await self._then.send(wish)


async def test_what_nobody_could_record_is_recorded_later(vault: Vault) -> None:
    log = MemoryLog()
    await said(vault, log)
    then = LocalCommands(WAIT_S)
    then.attend(host(log, vault=vault).handle)
    busy = Busy(then)
    async with erasing(vault, log, Disk(), busy):
        await erased(log)

    assert busy.asked == 2


class Deaf:
    """Commands that nobody answers, and that fail even when they are cancelled."""

    def __init__(self) -> None:
        self.asked = asyncio.Event()

    async def send(self, wish: Request) -> Answer:
        self.asked.set()
        try:
            await asyncio.get_running_loop().create_future()
        except asyncio.CancelledError as cancelled:
            raise Unavailable("the broker has gone") from cancelled
        raise AssertionError


async def test_it_ends_when_it_is_told_to_even_while_the_broker_goes(vault: Vault) -> None:
    log, deaf = MemoryLog(), Deaf()
    await said(vault, log)
    room = asyncio.create_task(
        Eraser(vault, Disk(), log, deaf, Settings(erasure_gather_s=0.0)).run()
    )
    async with asyncio.timeout(DEADLINE_S):
        await deaf.asked.wait()
        room.cancel()
        await asyncio.wait([room])

    assert room.cancelled()


async def test_one_of_a_node_erases_at_a_time(vault: Vault, tmp_path: Path) -> None:
    """The other waits until the first has gone."""
    log = MemoryLog()
    first, second = Directory(tmp_path / "v"), Directory(tmp_path / "v")
    async with erasing(vault, log, first):
        await said(vault, log)
        await erased(log)
        held = second.hold("erase")
    first.close()

    assert (held, second.hold("erase")) == (False, True)
    second.close()


class Damaged(MemoryLog):
    """A log whose second commit is none any more."""

    async def tail(self, after: int, until: int | None = None) -> AsyncIterator[list[Stored]]:
        first, second = await self.page(after, 2)
        yield [first, replace(second, payload=b"?" + second.payload)]


async def test_what_cannot_be_read_is_not_passed_over(vault: Vault) -> None:
    log, storage = Damaged(), Disk()
    name = await said(vault, log)
    room = Eraser(vault, storage, log, LocalCommands(WAIT_S), Settings(erasure_gather_s=0.0))
    async with asyncio.timeout(DEADLINE_S):
        await room.run()

    assert vault.find(name) is not None
    assert PROGRESS not in storage.files


@pytest.mark.parametrize("first", [b"9", b"\xb1"])
async def test_progress_that_has_changed_is_none(vault: Vault, first: bytes) -> None:
    """A bit of another position, or of what is no position."""
    log = MemoryLog()
    name = await said(vault, log)
    storage = Disk({PROGRESS: first + note(log.epoch, 1)[1:]})
    async with erasing(vault, log, storage):
        await erased(log)

    assert vault.find(name) is None


@pytest.mark.parametrize("restarted", [True, False])
async def test_what_was_in_flight_as_its_channel_went_loses_its_keys(
    vault: Vault, *, restarted: bool
) -> None:
    """Even when it comes after all that the eraser has noted as done."""
    log, storage = MemoryLog(), Disk()
    await log.append(header("channel", "c1"), (ChannelRemoved(),), 0)
    if restarted:
        storage.files[PROGRESS] = note(log.epoch, 1)
    late, elsewhere = await spoken(vault, log, "c1.M1"), await spoken(vault, log, "c2.M1")
    async with erasing(vault, log, storage):
        await erased(log)

    assert vault.find(late) is None
    assert vault.find(elsewhere) is not None


async def spoken(vault: Vault, log: MemoryLog, key: str) -> str:
    """The name of the key of what was said in private."""
    post = request("message", key, PostMessage(content="Hi.", private=True))
    answer = await host(log, vault=vault).handle(post)
    return str(answer.facts[0].data["sealed"]["key"])


async def test_a_vault_that_has_lost_a_file_is_told_of_loudly(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """And nothing is recorded as erased: the eraser ends, and does not try for ever."""
    disk, log = Disk(), MemoryLog()
    made(disk)
    with opening(disk) as vault:
        await said(vault, log)
        disk.files.pop("segment-1-1")
        room = Eraser(vault, Disk(), log, LocalCommands(WAIT_S), Settings(erasure_gather_s=0.0))
        async with asyncio.timeout(DEADLINE_S):
            await room.run()

    told = capsys.readouterr().out
    assert "eraser_stopped" in told
    assert "lost its file segment-1-1" in told
    assert len(await log.page(0, 9)) == 2

"""The notary: what comes is hashed, what was is read again, and whatever is wrong stops writers."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from bus.alarm import Alarm, Fault, heed, sound
from bus.attachment import Bus, attached, notarize, prepared
from bus.chain import GENESIS, linked
from bus.clock import wall_ms
from bus.identity_file import identify
from bus.inspection import inspected
from bus.ledger import EVERY, Ledger
from bus.log import Damaged, Log, Stored
from bus.marking import look
from bus.marks import DIRECTORY, storage
from bus.notary import Attested, attested
from bus.roles import Endpoint
from bus.server import broker, configuration
from bus.telemetry import Telemetry
from bus.topology import Unfit
from schemas.message import MessagePosted
from schemas.settings import Settings
from tests.logs import DEADLINE_S, bus_on, fresh_broker, fresh_bus, settings, told
from tests.servers import nats_server

HI = MessagePosted(content="Hi.")
QUICK: dict[str, Any] = {
    "tip_every_s": 0.02, "scrub_every_s": 0.05, "scrub_share": 1.0, "alarm_every_s": 0.02,
    "nats_health_every_s": 0.05,
}  # fmt: skip


async def known(knobs: Settings, is_so: Callable[[Attested], bool], epoch: str = "") -> Attested:
    """What is known of the log, once it *is_so*."""
    async with asyncio.timeout(DEADLINE_S):
        while not is_so(found := attested(knobs, epoch)):
            await asyncio.sleep(0.005)
    return found


@asynccontextmanager
async def attended(bus: Bus) -> AsyncIterator[None]:
    """A notary at work on *bus*."""
    working = asyncio.create_task(notarize(bus))
    try:
        yield
    finally:
        working.cancel()
        await asyncio.gather(working, return_exceptions=True)


async def say(log: Log, count: int, first: int = 1) -> int:
    """The position of the last of *count* new messages."""
    keys = [f"general.M{nth}" for nth in range(first, first + count)]
    return max(await asyncio.gather(*(told(log, HI, key) for key in keys)))


async def test_what_comes_is_hashed(tmp_path: Path) -> None:
    """Up to the last commit, with a record at each thousandth; a restart goes on from there."""
    knobs = settings(tmp_path, **QUICK)
    async with fresh_bus(knobs) as bus, attended(bus):
        await say(bus.log, 1500)
        await known(knobs, lambda found: found.seq == 1500)
    async with fresh_bus(knobs) as bus:
        async with attended(bus):
            head = await say(bus.log, 700, 1501)
            await known(knobs, lambda found: found.seq == head)
        whole = [one for after in range(0, head, 1000) for one in await bus.log.page(after, 1000)]
    kept = storage(knobs)
    ledger = Ledger.load(kept)
    kept.close()

    assert ledger is not None
    assert ledger.tip == linked(GENESIS, whole)
    assert ledger.record(2 * EVERY) == linked(GENESIS, whole[: 2 * EVERY])


async def test_all_of_it_is_read_again_and_again(tmp_path: Path) -> None:
    knobs = settings(tmp_path, **QUICK)
    async with fresh_bus(knobs) as bus, attended(bus):
        await say(bus.log, 100)
        found = await known(knobs, lambda found: found.scrub.passes >= 3, bus.log.epoch)

    assert found.fault is None
    assert abs(found.scrub.ended_ms - wall_ms()) < 60_000


async def test_what_is_changed_under_a_running_node_is_found_and_writers_stop(
    tmp_path: Path,
) -> None:
    """What the notary reads no longer hashes to what was written."""
    knobs = settings(tmp_path, **QUICK)
    async with fresh_bus(knobs) as bus:
        await say(bus.log, 50)
        changed = _Changed(bus.log.page)
        bus.log.page = changed.page  # type: ignore[method-assign]  # the disk under the broker
        heeding = asyncio.create_task(heed(bus.log.writer, knobs))
        async with attended(bus):
            await known(knobs, lambda found: found.scrub.passes >= 1, bus.log.epoch)
            changed.seq = 7
            found = await known(knobs, lambda found: found.fault is not None)
            async with asyncio.timeout(DEADLINE_S):
                while not bus.log.writer.damaged:
                    await asyncio.sleep(0.005)
        with pytest.raises(Damaged, match="canopy restore"):
            await told(bus.log, HI, "general.M99")
        heeding.cancel()
        await asyncio.wait([heeding])

    assert found.fault is not None
    assert (found.fault.kind, found.fault.seq) == ("commit_changed", 1)


async def test_an_alarm_is_heard_by_a_process_that_starts_later(tmp_path: Path) -> None:
    """Until the whole log has been proved, the notary being the one who does it."""
    knobs = settings(tmp_path, **QUICK)
    async with fresh_bus(knobs) as bus, attended(bus):
        await say(bus.log, 20)
        await known(knobs, lambda found: found.seq == 20)
    sound(knobs, Fault("commit_changed", 7, "a commit is not what it was"))
    async with fresh_bus(knobs) as bus:
        with pytest.raises(Damaged, match="from position 7"):
            await told(bus.log, HI, "general.M99")
        heeding = asyncio.create_task(heed(bus.log.writer, knobs))
        async with attended(bus):
            await known(knobs, lambda found: found.fault is None)
            async with asyncio.timeout(DEADLINE_S):
                while bus.log.writer.damaged:
                    await asyncio.sleep(0.005)
            assert await told(bus.log, HI, "general.M99") == 21
        heeding.cancel()
        await asyncio.wait([heeding])


async def test_what_only_the_owner_can_judge_stands(tmp_path: Path) -> None:
    knobs = settings(tmp_path, **QUICK)
    async with fresh_bus(knobs) as bus:
        sound(knobs, Fault("tables_ahead", 7, "the tables know more"))
        async with attended(bus):
            await asyncio.sleep(0.2)

    assert attested(knobs).fault == Fault("tables_ahead", 7, "the tables know more")


async def test_the_first_fault_stays(tmp_path: Path) -> None:
    kept = storage(settings(tmp_path))
    alarm = Alarm(kept)
    for seq in (7, 3):
        alarm.sound(Fault("commit_missing", seq, "gone"))
    standing = alarm.standing()
    alarm.lift()
    alarm.lift()

    assert standing == Fault("commit_missing", 7, "gone")
    assert alarm.standing() is None
    alarm.close()


@pytest.mark.parametrize("data", [b"", b"\xff\xfe", b'{"kind":"fine","seq":1,"text":""}'])
async def test_an_alarm_that_cannot_be_read_is_one(tmp_path: Path, data: bytes) -> None:
    kept = storage(settings(tmp_path))
    kept.replace("alarm", data)
    standing = Alarm(kept).standing()
    kept.close()

    assert standing is not None
    assert standing.kind == "marks_damaged"


async def test_one_of_several_processes_attests(tmp_path: Path) -> None:
    """The next takes over when it ends."""
    knobs = settings(tmp_path, **QUICK)
    async with (
        fresh_broker(knobs) as running,
        _attached(running.endpoint, knobs) as first,
        _attached(running.endpoint, knobs) as second,
        attended(second),
    ):
        async with attended(first):
            await known(knobs, lambda found: found.scrub.passes >= 1, first.log.epoch)
        before = attested(knobs, first.log.epoch).scrub.passes
        found = await known(knobs, lambda found: found.scrub.passes > before, first.log.epoch)

    assert found.fault is None


async def test_who_attaches_to_a_broker_that_has_lost_something_does_not_write(
    tmp_path: Path,
) -> None:
    """Though nobody has prepared that broker yet: it has but been started again."""
    knobs, older = settings(tmp_path / "node", **QUICK), tmp_path / "older"
    async with fresh_bus(knobs) as bus:
        await say(bus.log, 20)
    shutil.copytree(tmp_path / "node/nats/jetstream", older)
    async with fresh_bus(knobs) as bus:
        await say(bus.log, 5, 21)
    shutil.rmtree(tmp_path / "node/nats/jetstream")
    older.rename(tmp_path / "node/nats/jetstream")
    async with broker(knobs) as running, bus_on(running.endpoint, knobs) as bus:
        with pytest.raises(Damaged, match="the log ends at 20, and 25 was acknowledged"):
            await told(bus.log, HI, "general.M99")
        head = await bus.log.head()

    assert (head, attested(knobs).fault is None) == (20, False)


async def test_without_marks_such_a_broker_gives_the_same_positions_again(tmp_path: Path) -> None:
    """The mutation of the one above: the first that is written is taken for what was lost."""
    knobs, older = settings(tmp_path / "node", **QUICK), tmp_path / "older"
    async with fresh_bus(knobs) as bus:
        await say(bus.log, 20)
    for part in ("nats/jetstream", "marks"):
        shutil.copytree(tmp_path / "node" / part, older / part)
    async with fresh_bus(knobs) as bus:
        lost = await say(bus.log, 1, 21)
    for part in ("nats/jetstream", "marks"):
        shutil.rmtree(tmp_path / "node" / part)
        (older / part).rename(tmp_path / "node" / part)
    async with fresh_bus(knobs) as bus:
        again = await say(bus.log, 1, 99)

    assert (lost, again) == (21, 21)


async def test_the_look_at_a_start_does_not_grow_with_the_log(tmp_path: Path) -> None:
    knobs = settings(tmp_path, **QUICK)
    async with fresh_bus(knobs) as bus:
        async with attended(bus):
            head = await say(bus.log, 3200)
            await known(knobs, lambda found: found.seq == head)
        asked = _Changed(bus.log.page)
        bus.log.page = asked.page  # type: ignore[method-assign]  # counts what is read
        kept = storage(knobs)
        fault = await inspected(bus.log, kept, look(bus.wire, knobs))
        kept.close()

    assert fault is None
    assert asked.commits <= EVERY + 1


async def test_a_broker_that_syncs_later_is_refused(tmp_path: Path) -> None:
    """F-05. An operator has removed one line of what the broker is told; the control has it."""
    knobs = settings(tmp_path)
    identify(tmp_path)
    async with broker(knobs) as running:
        endpoint = running.endpoint
    directory = (tmp_path / "nats").resolve()
    port = int(endpoint.url.rpartition(":")[2])
    config = configuration(knobs, directory, endpoint, "canopy-lazy", port)
    del config["listen"]
    async with nats_server(tmp_path, port, **config):
        await prepared(endpoint, knobs, ())
    config["jetstream"] = config["jetstream"] | {"sync_interval": "2m"}
    async with nats_server(tmp_path, port, **config):
        with pytest.raises(Unfit, match="sync_lazy: the broker acknowledges before it syncs"):
            await prepared(endpoint, knobs, ())

    assert (tmp_path / DIRECTORY / "ledger").exists()


@asynccontextmanager
async def _attached(endpoint: Endpoint, knobs: Settings) -> AsyncIterator[Bus]:
    identity = identify(knobs.data_directory)
    async with attached(endpoint, "notary", identity, knobs, Telemetry()) as bus:
        yield bus


class _Changed:
    """Pages of a log of which one commit, `seq`, has been changed."""

    def __init__(self, page: Callable[[int, int], Any]) -> None:
        self._page = page
        self.seq = 0
        self.commits = 0

    async def page(self, after: int, limit: int) -> list[Stored]:
        page: list[Stored] = await self._page(after, limit)
        self.commits += len(page)
        return [
            Stored(one.seq, one.noun, one.key, b"changed") if one.seq == self.seq else one
            for one in page
        ]

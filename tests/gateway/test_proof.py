"""Reads in trouble: what stops them says its name, and a proof finds what nobody has noticed."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import orjson
import pytest
from structlog.testing import capture_logs

from actors.projection_file import MOVE, Poison, ProjectionFile
from bus import codec
from bus.inspection import end_of
from bus.log import Stored
from bus.marks import high_water, storage
from gateway.read_model import Behind
from gateway.reads import Reads
from schemas.settings import Settings
from tests.examples import header
from tests.gateway.reading import COUNT, HI, Log, reads_of, running, values
from tests.logs import DEADLINE_S


@pytest.fixture
def log() -> Log:
    return Log("0123456789abcdef")


async def stopped(reads: Reads) -> str:
    """Why folding has stopped, once it has."""
    async with asyncio.timeout(DEADLINE_S):
        while not reads.stopped:
            await asyncio.sleep(0.001)
    return reads.stopped


async def test_a_poisoned_commit_stops_folding_and_nothing_else(tmp_path: Path, log: Log) -> None:
    """It is named; what came before it is told and can be read; nothing after it is."""
    told: list[int] = []
    await log.say(9)
    log.damage(6, b"hello")
    for _ in range(2):
        reads = reads_of(tmp_path, log)
        reads.heard.append(lambda batch: told.extend(one.seq for one in batch))
        with capture_logs() as logged:
            await reads.open()
            folding = asyncio.create_task(reads.run())
            with pytest.raises(Behind, match="position 6 cannot be projected"):
                await reads.reached(7)

        folding.cancel()
        await asyncio.wait([folding])
        assert reads.stopped.startswith("position 6 cannot be projected: ")
        assert reads.position == 5
        assert await values(reads, COUNT) == [(5,)]
        assert [(line["event"], line["position"]) for line in logged] == [("projection_stopped", 5)]
        reads.close()
    assert told == [1, 2, 3, 4, 5]


async def test_a_poisoned_commit_that_is_passed_over_is_dropped(
    tmp_path: Path, log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The proof that the test before this one can fail: tables that go on have lost something."""
    fold = ProjectionFile.fold

    def lenient(self: ProjectionFile, stored: Sequence[Stored], *, more: bool) -> None:
        try:
            fold(self, stored, more=more)
        except Poison:
            self._connection.execute(MOVE, [stored[-1].seq, self.seq])
            self.seq = stored[-1].seq

    monkeypatch.setattr(ProjectionFile, "fold", lenient)
    await log.say(9)
    log.damage(6, b"hello")
    async with running(tmp_path, log, fold_batch_max=1) as reads:
        await reads.reached(9)

        assert await values(reads, COUNT) == [(8,)]
        assert (await reads.verify())["difference"]["seq"] == 6


async def test_whoever_waits_is_told_why_folding_has_stopped(tmp_path: Path, log: Log) -> None:
    """Also who began to wait before."""
    async with running(tmp_path, log, read_wait_s=0.3) as reads:
        waiting = asyncio.create_task(reads.reached(2))
        with capture_logs():
            await log.append(header(), [HI], 0)
            log.damage(1, b"hello")
            await stopped(reads)
        with pytest.raises(Behind, match="position 1 cannot be projected"):
            await waiting


async def test_what_is_sound_is_proven(tmp_path: Path, log: Log) -> None:
    """Counts, and no difference; the tables go on meanwhile."""
    async with running(tmp_path, log) as reads:
        await reads.reached(await log.say(30))
        report = await reads.verify()
        await reads.reached(await log.say())

        assert (report["position"], report["difference"]) == (30, None)
        assert report["tables"]["message"] == 30
        assert (await reads.verify())["position"] == 31
        assert list(tmp_path.glob("*.duckdb")) == [reads.file.path]


async def test_a_tail_that_was_acknowledged_and_is_lost_is_found(tmp_path: Path, log: Log) -> None:
    """And sounds the alarm, which is told from then on though the log has grown again."""
    knobs = Settings(data_directory=tmp_path)
    async with running(tmp_path, log) as reads:
        await reads.reached(await log.say(5))
        mark = high_water(storage(knobs), log.epoch)
        await mark.reach([Stored(7, "message", "general.M7", b"{}")])
        mark.close()
        lost = await reads.verify()
        await reads.reached(await log.say(2))
        later = await reads.verify()

    assert lost["difference"]["seq"] == later["difference"]["seq"] == 6
    assert "ends at 5, and 7 was acknowledged" in lost["difference"]["reason"]
    assert "canopy restore" in later["difference"]["reason"]


async def test_a_leader_that_lags_is_waited_for(tmp_path: Path, log: Log) -> None:
    """Else tables that know more than it does by now would be set aside."""
    far = "nats://far.example:4222"
    knobs = Settings(data_directory=tmp_path, nats_url=far, nats_silence_s=DEADLINE_S)
    await log.say(3)
    mark = high_water(storage(knobs), log.epoch)
    await mark.reach([Stored(5, "message", "general.M5", b"{}")])
    mark.close()
    waiting = asyncio.create_task(end_of(log, knobs))
    await asyncio.sleep(0.05)
    early = waiting.done()
    await log.say(2)

    assert not early
    assert await waiting == (5, 5)


@pytest.mark.parametrize(
    ("tampering", "place"),
    [
        ("UPDATE message SET content = 'Ho.' WHERE seq = 7", 7),
        ("DELETE FROM message WHERE seq IN (4, 9)", 4),
        ("INSERT INTO message SELECT * FROM message WHERE seq = 5", 5),
    ],
)
async def test_a_table_that_was_tampered_with_is_found(
    tmp_path: Path, log: Log, tampering: str, place: int
) -> None:
    """With its name and the first position that differs."""
    async with running(tmp_path, log) as reads:
        await reads.reached(await log.say(12))
        reads.file.cursor().execute(tampering)
        report = await reads.verify()

        assert report["difference"] == {
            "table": "message",
            "seq": place,
            "reason": "the tables differ",
        }
        await reads.rebuild()
        assert (await reads.verify())["difference"] is None


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda log: log.forge(4), "the events do not have the digest in the header"),
        (lambda log: log.damage(4, b"hello"), "does not begin with a header"),
        (lambda log: log.misplace(4), "lies at message general.M999"),
        (lambda log: log.lose(4), "position 4 is missing"),
    ],
)
async def test_a_commit_that_was_damaged_is_found(
    tmp_path: Path, log: Log, damage: Any, reason: str
) -> None:
    """Though the tables were made before, and agree with what is left."""
    async with running(tmp_path, log) as reads:
        await reads.reached(await log.say(8))
        damage(log)
        report = await reads.verify()

        assert report["difference"]["seq"] == 4
        assert reason in report["difference"]["reason"]
        assert report["position"] == 3


async def test_a_commit_of_the_future_is_found_where_folding_stopped(
    tmp_path: Path, log: Log
) -> None:
    """The proof goes to the end of the log, not to the end of the tables."""
    seq = await log.say(3)
    facts = [{"kind": "message_posted", "v": 9, "data": {"content": "Hi."}}]
    log.damage(seq, rewritten((await log.page(seq - 1, 1))[0], facts))
    async with running(tmp_path, log) as reads:
        with capture_logs():
            await stopped(reads)
        report = await reads.verify()

        assert report["position"] == 2
        assert report["difference"]["seq"] == 3
        assert "version 9 is newer" in report["difference"]["reason"]


def rewritten(one: Stored, facts: list[dict[str, Any]]) -> bytes:
    """The payload of *one* with other facts and their digest."""
    head, _ = codec.split(one.payload)
    body = orjson.dumps(facts)
    signed = orjson.dumps(orjson.loads(head) | {"digest": codec.digest(body)})
    return codec.OPENING + signed + codec.MIDDLE + body + b"}"


async def test_tables_that_know_more_than_the_log_do_not_prove(tmp_path: Path, log: Log) -> None:
    """The log has lost its end while we were reading."""
    async with running(tmp_path, log) as reads:
        await reads.reached(await log.say(8))
        log.lose(6, 3)
        async with asyncio.timeout(DEADLINE_S):
            report = await reads.verify()

        assert report["position"] == 5
        assert report["difference"] == {"seq": 6, "reason": "the log ends before it"}


async def test_a_log_that_has_become_shorter_is_noticed_at_the_start(
    tmp_path: Path, log: Log
) -> None:
    """New commits at old positions would be mistaken for what was folded."""
    async with running(tmp_path, log) as reads:
        await reads.reached(await log.say(8))
    log.lose(6, 3)
    with capture_logs() as logged:
        async with running(tmp_path, log) as reads:
            await reads.reached(5)
            assert await values(reads, COUNT) == [(5,)]

    assert "projection_set_aside" in {line["event"] for line in logged}

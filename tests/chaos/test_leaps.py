"""A wall clock that leaps ahead destroys nothing that has not expired by the right time."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from bus.clock import Clock, Sources, drawn_from, iso_ms
from bus.memory import MemoryLog
from bus.steady import Steady
from schemas.message import ExpireMessage, PostMessage
from tests.actors.hosts import code, host, wish
from tests.bus.test_steady import NOON_MS, YEAR_MS
from tests.canopy import running
from tests.gateway.test_privacy import MARKER, channel, erased, say


class Wall:
    """The wall clock of this machine, as far ahead as it was set."""

    def __init__(self) -> None:
        self.ahead_ms = 0

    def __call__(self) -> int:
        return Sources().wall_ms() + self.ahead_ms


@pytest.fixture
def wall() -> Iterator[Wall]:
    one = Wall()
    with drawn_from(Sources(wall_ms=one)):
        yield one


async def kept_over_a_leap(directory: Path, wall: Wall, awaited: str = "brief") -> int:
    """What is answered to whoever asks for a message of 90 days, once the clock has been a year
    ahead for so long that the *awaited* one, by rights that of a second, is erased."""
    async with running(directory, erasure_gather_s=0.0, expiry_every_s=0.1) as canopy:
        ann = await canopy.owner()
        private = await channel(ann)
        kept = await say(ann, private, MARKER)
        brief = {"channel_id": private, "content": MARKER, "ttl_seconds": 1}
        said = {"kept": kept, "brief": await ann.post("/channels/messages", brief)}
        wall.ahead_ms = YEAR_MS
        gone = said[awaited]
        seq = await erased(ann, f"{private}.{gone['message']['id']}", gone["seq"])
        wall.ahead_ms = 0
        path = f"/channels/{private}/messages/{kept['message']['id']}?after_seq={seq}"
        status, _, _ = await ann.call("GET", path)
    return status


async def test_a_wall_clock_that_leaps_a_year_destroys_nothing(tmp_path: Path, wall: Wall) -> None:
    assert await kept_over_a_leap(tmp_path, wall) == 200


async def test_by_the_wall_alone_a_leap_destroys_what_was_to_be_kept(
    tmp_path: Path, wall: Wall, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The proof that the test before this one can fail."""
    monkeypatch.setattr(Steady, "now_ms", lambda _: wall())

    assert await kept_over_a_leap(tmp_path, wall, awaited="kept") == 404


@pytest.mark.parametrize(
    ("believed_ms", "answer"), [(NOON_MS, "message_present"), (2 * NOON_MS, "")]
)
async def test_who_decides_believes_no_later_time_than_his_own(
    believed_ms: int, answer: str
) -> None:
    """Whatever a gateway says that it is."""
    one = host(MemoryLog(), clock=Clock(believed_ms=lambda: believed_ms))
    expires_at = iso_ms(NOON_MS + YEAR_MS)
    await one.handle(wish(PostMessage(content="Hi.", expires_at=expires_at), id="r1"))
    late = ExpireMessage(now=iso_ms(NOON_MS + 2 * YEAR_MS))

    assert code(await one.handle(wish(late, id="r2", author="system"))) == answer

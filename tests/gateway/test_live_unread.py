"""Live pages when the log cannot be read: nothing is passed over, and the client is told why."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from bus.log import Leaderless
from bus.wire import BrokerLost
from schemas.settings import Settings
from tests.gateway.live_house import House
from tests.gateway.reading import Log


@pytest.fixture
async def house() -> AsyncIterator[House]:
    """Its buffer holds 8 of the 20 that were said: the others come from the log."""
    async with House(Settings(live_buffer_commits=8, live_page_commits=3)) as house:
        await house.told(*("Hi." for _ in range(20)))
        yield house


@pytest.mark.parametrize("damage", [Log.lose, Log.shift, Log.forge])
async def test_what_the_log_cannot_show_is_not_passed_over(
    house: House, damage: Callable[[Log, int], None]
) -> None:
    """What lies before it comes; then the page ends and says why, each time."""
    damage(house.log, 5)
    for after in range(5):
        async with house.socket(after=after) as socket:
            await socket.next()
            frames = await socket.take(4 - after)
            code = await socket.code()
        assert [frame["seq"] for frame in frames] == list(range(after + 1, 5))
        assert code == 1011


@pytest.mark.parametrize("fault", [BrokerLost("gone"), Leaderless("no leader"), TimeoutError()])
async def test_who_is_behind_while_the_log_is_away_is_told_to_come_again(
    house: House, fault: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away(*_: Any) -> Any:
        raise fault

    monkeypatch.setattr(house.log, "page", away)
    async with house.socket(after=5) as socket:
        hello = await socket.next()
        code = await socket.code()
    monkeypatch.undo()
    async with house.socket(after=5) as socket:
        await socket.next()
        frames = await socket.take(15)

    assert (hello["type"], code) == ("hello", 1013)
    assert [frame["seq"] for frame in frames] == list(range(6, 21))

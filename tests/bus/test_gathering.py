"""Those who wait together are served together, and nobody waits longer than they said."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import pytest

from bus.gathering import Gathering, Wish
from tests.logs import DEADLINE_S


async def test_a_stuck_disk_holds_up_nobody_whenever_they_came() -> None:
    """Also who came when the first ones had given up; and the work goes on when the disk does."""
    go, served = threading.Event(), list[str]()

    def serve(wishes: Sequence[Wish[int]]) -> None:
        assert go.wait(DEADLINE_S)
        served.extend(wish.what for wish in wishes)

    with ThreadPoolExecutor(1) as worker:
        gathering = Gathering(worker, serve, 10)
        async with asyncio.timeout(DEADLINE_S / 2):
            for name in ("first", "later"):
                with pytest.raises(TimeoutError, match="the disk takes too long"):
                    await gathering.done(name, 0.05)
        go.set()
        await gathering.done("last", DEADLINE_S)

    assert served == ["first", "last"]

"""What is gone from every past: of what was deleted, has expired or was said in a channel that is
removed, nothing is told at any position.
"""

from __future__ import annotations

from pathlib import Path

from bus.clock import iso_ms
from schemas.message import MessageDeleted, MessagePosted
from tests.canopy import Canopy
from tests.examples import WHEN_MS
from tests.gateway.test_past import said_in
from tests.gateway.two_gateways import BEGINNING, Line, Told, house, somebody


async def test_who_was_mentioned_is_gone_with_what_was_said(canopy: Canopy) -> None:
    ann, bob = await canopy.owner(), await canopy.register("bob")
    doomed = await said_in(ann, "Hi, @bob.")
    path = f"/channels/general/messages/{doomed['id']}"
    before = (await ann.get(f"{path}?at={doomed['seq']}"))["message"]
    await ann.ok("DELETE", path)
    after = (await ann.get(f"{path}?at={doomed['seq']}"))["message"]

    assert (before["mentions"], before["withheld"]) == ([bob.id], None)
    assert (after["mentions"], after["withheld"]) == ([], "deleted")


async def test_what_was_deleted_because_it_had_expired_has_expired(tmp_path: Path) -> None:
    """Whatever the clock of the node says by now."""
    log, me = Told(), somebody()
    until = iso_ms(WHEN_MS + 3_600_000)
    lines: tuple[Line, ...] = (
        *BEGINNING,
        ("message", "general.M1", "ann", (MessagePosted(content="x", expires_at=until),)),
        ("message", "general.M1", "system", (MessageDeleted(expired=True),)),
    )
    async with house(tmp_path, log, [WHEN_MS + 60_000], me) as one:
        for line in lines:
            await one.reads.reached(await log.tell(line))
        path = f"/channels/general/messages/M1?at={len(BEGINNING) + 1}"
        told = (await one.ask(path))[2]["message"]

    assert (told["content"], told["withheld"]) == ("", "expired")

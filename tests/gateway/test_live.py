"""Live pages: nothing missed, nothing twice, nothing to whom it is not for, and nobody waits."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from random import Random
from typing import Any

import pytest

from schemas.account import KeyCreated
from schemas.cursor import CursorAdvanced
from schemas.settings import Settings
from tests.gateway.live_house import DEADLINE_S, Frame, House, contents

SMALL = Settings(
    live_buffer_commits=8, live_page_commits=3, live_replay_max=100, live_heartbeat_s=0.5
)


@pytest.fixture
async def house() -> AsyncIterator[House]:
    async with House(SMALL) as house:
        yield house


async def test_the_first_frame_says_where_we_are(house: House) -> None:
    head = await house.told("before")

    async with house.socket() as socket:
        hello = await socket.next()

    assert hello == {"type": "hello", "epoch": house.log.epoch, "head": head}


async def test_what_is_said_is_heard(house: House) -> None:
    async with house.socket() as socket:
        await socket.next()
        seq = await house.told("Hi.")
        frame = await socket.next()

    assert (frame["seq"], frame["noun"], frame["author"]) == (seq, "message", "ann")
    assert frame["events"] == [{"kind": "message_posted", "data": {"content": "Hi."}}]
    assert set(frame) == {
        "type", "seq", "noun", "id", "time", "author", "origin", "cause", "events"
    }  # fmt: skip


@pytest.mark.parametrize("after", range(21))
async def test_a_client_resumes_after_any_position(house: House, after: int) -> None:
    """The buffer holds 8 of the 20: the earlier ones come from the log."""
    await house.told(*(str(nth) for nth in range(1, 21)))

    async with house.socket(after=after) as socket:
        await socket.next()
        frames = await socket.take(20 - after)
        await house.told("21")
        frames.append(await socket.next())

    assert [frame["seq"] for frame in frames] == list(range(after + 1, 22))


async def test_random_disconnects_lose_and_double_nothing() -> None:
    settings = Settings(live_buffer_commits=8, live_page_commits=3)
    async with House(settings) as house:
        heard: list[int] = []
        for chance in map(Random, range(1000)):
            heard += await _listen_a_while(house, heard[-1] if heard else 0, chance)

    assert heard == list(range(1, len(heard) + 1))
    assert len(heard) > 2000


async def _listen_a_while(house: House, after: int, chance: Random) -> list[int]:
    """Connect, hear some of what is said before and meanwhile, and be gone without a word."""
    texts = ["x" * chance.randint(0, 300) for _ in range(chance.randint(0, 6))]
    async with house.socket(after=after) as socket:
        await socket.next()
        head = await house.told(*texts) or house.feed.head
        frames = await socket.take(chance.randint(0, head - after))
        socket.drop()
    return [frame["seq"] for frame in frames]


async def test_a_slow_client_is_sent_away_and_loses_nothing() -> None:
    settings = Settings(live_buffer_commits=400, live_send_timeout_s=0.2)
    async with House(settings) as house:
        async with house.socket("cyd") as slow, house.socket("bob") as quick:
            slow.connection._response.connection.transport.pause_reading()  # type: ignore[union-attr]
            await quick.next()
            for _ in range(300):
                await house.told("x" * 50_000)
                assert (await quick.next())["type"] == "commit"
            await house.sockets(1)
            slow.connection._response.connection.transport.resume_reading()  # type: ignore[union-attr]
            frames, code = await _to_the_end(slow)
        last = max(frame.get("seq", 0) for frame in frames)
        async with house.socket("cyd", after=last) as again:
            await again.next()
            frames += await again.take(300 - last)

    seqs = [frame["seq"] for frame in frames if frame["type"] == "commit"]
    assert code == 1013
    assert seqs == list(range(1, 301))


async def _to_the_end(socket: Any) -> tuple[list[Frame], int]:
    async with asyncio.timeout(DEADLINE_S):
        frames = [json.loads(message.data) async for message in socket.connection]
    return frames, socket.connection.close_code


async def test_a_private_channel_is_for_its_members(house: House) -> None:
    async with house.socket("ann") as ann, house.socket("bob") as bob:
        await ann.next(), await bob.next()
        await house.told("secret", channel="den")
        await house.told("open")
        heard = [await ann.next(), await ann.next(), await bob.next()]

    assert list(contents(heard)) == ["secret", "open", "open"]


async def test_what_is_not_shown_still_moves_the_position(house: House) -> None:
    async with house.socket("bob") as bob:
        await bob.next()
        seq = await house.told("secret", "another", channel="den")
        frame = await bob.until("position")

    assert frame == {"type": "position", "seq": seq}


async def test_secrets_leave_the_node_for_nobody(house: House) -> None:
    key = KeyCreated(key_id="K1", secret_hash="5ec3e7", scopes=("read_feed",))

    async with house.socket("bob") as bob, house.socket("cyd") as cyd:
        await bob.next(), await cyd.next()
        await house.append("account", "bob", key, author="bob")
        seq = await house.told("after")
        own, other = await bob.next(), await cyd.next()

    assert own["events"][0]["data"] == {"key_id": "K1", "scopes": ["read_feed"]}
    assert other["seq"] == seq


async def test_read_cursors_are_their_owners_alone(house: House) -> None:
    async with house.socket("bob") as bob, house.socket("cyd") as cyd:
        await bob.next(), await cyd.next()
        await house.append("cursor", "general.bob", CursorAdvanced(seq=3), author="bob")
        await house.told("after")
        heard = [(await bob.next())["noun"], (await cyd.next())["noun"]]

    assert heard == ["cursor", "message"]


@pytest.mark.parametrize(
    ("query", "expected"),
    [({"channel": "den"}, ["in the den"]), ({"noun": "message"}, ["in general", "in the den"])],
)
async def test_a_client_may_ask_for_less(
    house: House, query: dict[str, str], expected: list[str]
) -> None:
    async with house.socket("ann", **query) as ann:
        await ann.next()
        await house.append("cursor", "general.ann", CursorAdvanced(seq=3))
        await house.told("in general")
        await house.told("in the den", channel="den")
        heard = await ann.take(len(expected))

    assert list(contents(heard)) == expected


@pytest.mark.parametrize(("loss", "code"), [("credential", 4401), ("suspended", 4403)])
async def test_who_loses_the_right_is_sent_away_within_a_second(
    house: House, loss: str, code: int
) -> None:
    async with house.socket("bob") as bob:
        await bob.next()
        if loss == "suspended":
            await house.suspend("bob")
        house.lost |= {"bob"} if loss == "credential" else set()
        async with asyncio.timeout(1.0):
            closed = await bob.code()

    assert closed == code


async def test_a_stopping_node_says_so(house: House) -> None:
    async with house.socket() as socket:
        await socket.next()
        house.live.stop()
        code = await socket.code()

    assert code == 1001


async def test_who_is_too_far_behind_starts_from_a_snapshot(house: House) -> None:
    head = await house.told(*(str(nth) for nth in range(150)))

    async with house.socket(after=head - 101) as socket:
        await socket.next()
        snapshot = await socket.next()
        seq = await house.told("now")
        frame = await socket.next()

    assert snapshot == {"type": "snapshot", "reason": "too_far_behind", "head": 150, "oldest": 50}
    assert frame["seq"] == seq


@pytest.mark.parametrize(
    ("after", "expected"),
    [("7", 409), ("-1", 400), ("x", 400), ("1.5x", 400), ("９", 400), ("9" * 30, 400), ("", 400)],
)
async def test_a_position_that_cannot_be_is_refused(
    house: House, after: str, expected: int
) -> None:
    await house.told("one")

    async with house.stream(after=after) as stream:
        status = stream.response.status

    assert status == expected


async def test_a_position_that_is_stored_but_not_folded_is_waited_for(house: House) -> None:
    seq = await house.say("stored")
    asyncio.get_running_loop().call_later(0.05, asyncio.ensure_future, house.show())

    async with house.socket(after=seq) as socket:
        hello = await socket.next()

    assert hello["head"] == seq


async def test_events_carry_epoch_and_position(house: House) -> None:
    await house.told("1", "2", "3")

    async with house.stream(headers={"Last-Event-ID": f"{house.log.epoch}.1"}) as stream:
        first, hello = await stream.next(), await stream.next()
        event_id, frame = await stream.commit()

    assert stream.response.headers["Content-Type"].startswith("text/event-stream")
    assert (first["retry"], "id" in hello) == ("1000", False)
    assert (event_id, frame["seq"]) == (f"{house.log.epoch}.2", 2)


async def test_a_position_of_another_log_starts_from_a_snapshot(house: House) -> None:
    await house.told("1", "2", "3")

    async with house.stream(headers={"Last-Event-ID": "feedfeedfeedfeed.2"}) as stream:
        fields = [await stream.next() for _ in range(3)]

    snapshot = json.loads(fields[2]["data"])
    assert (snapshot["reason"], snapshot["head"]) == ("foreign_epoch", 3)


async def test_an_idle_stream_shows_signs_of_life(house: House) -> None:
    async with house.stream() as stream:
        fields = [await stream.next() for _ in range(4)]

    assert {"": "here"} in fields  # Beside it, news of who is here may come in.


async def test_a_stream_ends_with_a_reason(house: House) -> None:
    async with house.stream() as stream:
        await stream.next(), await stream.next()
        house.lost.add("bob")
        fields = await stream.next()

    assert json.loads(fields["data"])["code"] == 4401


async def test_typing_is_seen_by_the_other_members(house: House) -> None:
    async with house.socket("ann") as ann, house.socket("bob") as bob:
        await ann.next(), await bob.next()
        await bob.connection.send_json({"type": "typing", "channel_id": "general"})
        seen = await ann.until("typing")
        await house.told("done")
        own = await bob.until("commit")

    assert (seen["channel_id"], seen["account_id"]) == ("general", "bob")
    assert "seq" not in seen
    assert own["seq"] == 1


@pytest.mark.parametrize(
    ("frame", "code"),
    [
        ({"type": "typing", "channel_id": "den"}, "channel_absent"),
        ({"type": "typing", "channel_id": "nowhere"}, "channel_absent"),
        ({"type": "dance"}, "invalid_request"),
        (["typing"], "invalid_request"),
    ],
)
async def test_what_may_not_be_said_is_answered(house: House, frame: Any, code: str) -> None:
    async with house.socket("bob") as bob:
        await bob.connection.send_json(frame)
        error = await bob.until("error")

    assert error["code"] == code


async def test_a_talkative_client_is_told_to_wait(house: House) -> None:
    async with house.socket("bob") as bob:
        for _ in range(2 * SMALL.live_signs_per_second_max + 1):
            await bob.connection.send_json({"type": "presence"})
        error = await bob.until("error")

    assert error["code"] == "rate_limited"


async def test_who_comes_and_goes_is_told(house: House) -> None:
    async with house.socket("ann") as ann:
        async with house.socket("bob"):
            came = await ann.until("presence")
            while came["account_id"] != "bob":
                came = await ann.until("presence")
        went = await ann.until("presence")

    assert (came["state"], went["account_id"], went["state"]) == ("online", "bob", "offline")


async def test_clients_are_counted() -> None:
    async with (
        House(Settings(live_clients_per_account_max=1)) as house,
        house.socket("bob"),
        house.stream("bob") as second,
        house.stream("ann") as other,
    ):
        statuses = (second.response.status, other.response.status)

    assert statuses == (429, 200)

"""The AsyncAPI document is whole, served, and says what is really said."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import orjson
import pytest
from pydantic import BaseModel

from gateway.messages import messages
from gateway.reference.documents import COOKIE
from gateway.routes import ROUTES
from gateway.shapes.live import FRAMES
from gateway.table import document
from gateway.version import VERSION
from schemas.vocabulary import NOUNS
from tests.canopy import Caller, Canopy

Json = dict[str, Any]
TELLING_S = 10.0


def references(part: Any) -> Iterator[str]:
    """Everything that *part* refers to."""
    if isinstance(part, dict):
        if isinstance(part.get("$ref"), str):
            yield part["$ref"]
        for one in part.values():
            yield from references(one)
    elif isinstance(part, list):
        for one in part:
            yield from references(one)


def found(whole: Json, reference: str) -> Any:
    place: Any = whole
    for name in reference.removeprefix("#/").split("/"):
        place = place[name.replace("~1", "/").replace("~0", "~")]
    return place


@pytest.mark.parametrize(
    "told", [messages("1"), document(ROUTES, "1", COOKIE)], ids=["asyncapi", "openapi"]
)
def test_whatever_is_referred_to_is_there(told: Json) -> None:
    named = set(references(told))

    assert len(named) > 50
    assert all(found(told, one) is not None for one in named)


def test_every_operation_says_something_of_its_own_channel() -> None:
    told = messages("1")

    for operation in told["operations"].values():
        place = operation["channel"]["$ref"]
        assert operation["action"] in ("send", "receive")
        assert operation["messages"]
        assert all(one["$ref"].startswith(f"{place}/messages/") for one in operation["messages"])


def test_every_subject_is_there() -> None:
    addresses = {channel["address"] for channel in messages("1")["channels"].values()}

    for noun in NOUNS.values():
        key = noun.key.replace("<", "{").replace(">", "}")
        assert {f"cmd.{noun.name}.{key}", f"evt.{noun.name}.{key}"} <= addresses
    assert {"/api/v1/live", "eph.typing.{channel}", "eph.presence.all", "eph.appended.log"} <= (
        addresses
    )


async def test_a_node_serves_it(canopy: Canopy) -> None:
    _, _, served = await canopy.nobody.call("GET", "/asyncapi.json")

    assert served == orjson.loads(orjson.dumps(messages(VERSION)))


async def heard(caller: Caller, frames: list[Json], until: int, *said: Json) -> None:
    """Follow the log as far as *until*, and what is answered to *said*."""
    url = f"{caller.base}/api/v1/live?after=0"
    async with (
        asyncio.timeout(TELLING_S),
        caller.http.ws_connect(url, headers={"X-API-Key": caller.key}) as socket,
    ):
        for one in said:
            await socket.send_json(one)
        awaited = {"error", "presence", until}
        while awaited:
            frame = await socket.receive_json()
            frames.append(frame)
            awaited -= {frame["type"], frame.get("seq")}


async def test_live_pages_say_what_is_written(canopy: Canopy) -> None:
    ann = await canopy.owner()
    body = {"channel_id": "general", "content": "Hi."}
    posted = await ann.post("/channels/messages", body)
    frames: list[Json] = []

    await heard(ann, frames, posted["seq"], {"type": "presence"}, {"type": "nonsense"})

    for frame in frames:
        assert any(fits(model, frame) for model in FRAMES), frame
    assert {"hello", "commit", "presence", "error"} <= {frame["type"] for frame in frames}
    assert not any(fits(model, frames[0] | {"more": 1}) for model in FRAMES)


def fits(model: type[BaseModel], frame: Json) -> bool:
    """Whether *frame* is one of *model*, with no field besides."""
    try:
        model.model_validate(frame)
    except ValueError:
        return False
    return frame.keys() <= model.model_fields.keys()

"""Names over HTTP: what cannot be read is refused, with its field and what to leave out."""

from __future__ import annotations

from typing import Any

import pytest

from tests.canopy import PASSWORD, Canopy
from tests.gateway.browser import signed_in

BOB = {"username": "bob", "password": PASSWORD}


@pytest.mark.parametrize(
    ("method", "path", "body", "field"),
    [
        ("POST", "/register", {"username": "bob\n", "password": PASSWORD}, "username"),
        ("POST", "/register", {"username": "b\u200bob", "password": PASSWORD}, "username"),
        ("POST", "/register", BOB | {"display_name": "\u2066ann"}, "display_name"),
        ("POST", "/profile", {"display_name": "\u200d"}, "display_name"),
        ("POST", "/channels", {"name": "nest\u202e"}, "name"),
        ("POST", "/channels", {"name": "\u3164"}, "name"),
        ("PATCH", "/channels/general", {"name": "a\x00b"}, "name"),
        ("POST", "/keys", {"label": "a\u202eb"}, "label"),
        ("POST", "/registration-codes", {"label": " "}, "label"),
    ],
)
async def test_a_name_that_could_pass_for_another_is_refused(
    canopy: Canopy, method: str, path: str, body: Any, field: str
) -> None:
    await canopy.register("ann")
    status, problem = await (await signed_in(canopy, "ann")).call(method, path, body)

    assert (status, problem["code"]) == (400, "invalid_request")
    assert [fault["field"] for fault in problem["errors"]] == [field]


async def test_a_file_is_not_named_backwards(canopy: Canopy) -> None:
    """`invoice\u202etxt.exe` reads as `invoiceexe.txt`."""
    ann = await canopy.register("ann")
    file = {"id": "F1", "filename": "invoice\u202etxt.exe"}
    post = {"channel_id": "general", "attachments": [file]}
    status, _, problem = await ann.call("POST", "/channels/messages", post)

    assert (status, problem["code"]) == (400, "invalid_request")
    assert "attachments.0.filename" in [fault["field"] for fault in problem["errors"]]


async def test_joined_emoji_are_a_name_and_so_are_spaces_between_words(canopy: Canopy) -> None:
    ann = await canopy.register("ann", display_name="Ann 👩\u200d🚀 B.")
    opened = await ann.post("/channels", {"name": "❤\ufe0f bees"})

    assert (await ann.get("/profile"))["display_name"] == "Ann 👩\u200d🚀 B."
    assert opened["channel"]["name"] == "❤\ufe0f bees"


async def test_a_fault_says_what_to_leave_out(canopy: Canopy) -> None:
    ann = await canopy.register("ann")
    _, _, problem = await ann.call("POST", "/channels", {"name": "\u202enest"})

    assert problem["detail"].startswith("name: Leave out U+202E")

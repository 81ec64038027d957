"""The page of the vocabulary: what a commit looks like, every command and every event."""

from __future__ import annotations

from typing import Any

import msgspec

from gateway.reference.markdown import code, page, paragraph
from gateway.reference.shapes import Schema, fields
from schemas.envelope import Answer, Envelope, Header, Request
from schemas.upcasters import version
from schemas.vocabulary import NOUNS, Noun

EXAMPLE = """\
```json
{"header": {"v": 1, "id": "…", "noun": "message", "key": "general.M…", "digest": "…"},
 "events": [{"kind": "message_posted", "data": {"content": "Hello."}}]}
```"""


def text() -> str:
    """The page."""
    return page(
        "Commands and events",
        "A command is a wish, in the imperative; an event is a fact, in the past. One decision is "
        "one commit, however many events it holds. Where they travel: [subjects.md](subjects.md).",
        "## A commit",
        "The payload of a message in the log, UTF-8 JSON. The exact bytes of `header` are what a "
        "signature covers; its `digest` covers the exact bytes of `events`. Fields of an event "
        "that have their default are left out, and so are empty ones of the header.",
        EXAMPLE,
        *_shape(Header),
        'A fact is `{"kind": …, "data": {…}}`; once the shape of a kind has changed, `v` tells in '
        "which version it was written.",
        "## A command on its way",
        *_shape(Request),
        "It is answered with this:",
        *_shape(Answer),
        *(part for noun in NOUNS.values() for part in _noun(noun)),
    )


def _shape(envelope: type[Envelope]) -> tuple[str, str]:
    definitions = msgspec.json.schema(envelope, schema_hook=_command)["$defs"]
    shape = definitions[envelope.__name__]
    return paragraph(shape["description"]), fields(shape, definitions)


def _command(_: type) -> dict[str, Any]:
    """Commands have shapes of their own, further below."""
    return {"type": "object"}


def _noun(noun: Noun) -> list[str]:
    parts = [f"## {noun.name}"]
    for command in noun.commands:
        shape = command.model_json_schema()
        parts += _message(shape, shape.get("$defs", {}), "Command.")
    for event in noun.events:
        shape = event.model_json_schema()
        written = version(shape["properties"]["kind"]["const"])
        parts += _message(shape, shape.get("$defs", {}), f"Event, version {written}.")
    return parts


def _message(shape: Schema, definitions: Schema, what: str) -> list[str]:
    told = paragraph(f"{what} {shape.get('description', '')}")
    name = shape["properties"]["kind"]["const"]
    return [f"### {code(name)}", told, fields(shape, definitions, leave_out=("kind",))]

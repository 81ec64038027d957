"""All that travels as messages, in one AsyncAPI 3.0 document: live pages, and the subjects of NATS.

Every schema is that of the model which the program itself reads and writes with. Actions are those
of a node: it sends what clients hear.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import msgspec
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from bus import subjects
from bus.jetstream import APPENDED
from bus.recall import ASKED, TOLD, Known, Question
from bus.rivals import TURNS, Waiting
from gateway.relay import Typing, WhoIsHere
from gateway.shapes.live import FRAMES
from schemas.envelope import Answer, Header, Request
from schemas.vocabulary import NOUNS, Noun

Json = dict[str, Any]
SCHEMAS = "#/components/schemas/"
JSON = "application/json"
HEARD: tuple[type[BaseModel], ...] = (Typing, WhoIsHere)
"""What a node hears on live pages."""


def messages(version: str) -> Json:
    """The AsyncAPI 3.0 document of this program."""
    parts = [_live(), *map(_noun, NOUNS.values()), _signs()]
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Canopy",
            "version": version,
            "description": _DESCRIPTION,
            "license": {"name": "Apache-2.0"},
        },
        "defaultContentType": JSON,
        "servers": {
            "gateway": {
                "host": "127.0.0.1:7770",
                "protocol": "ws",
                "description": "A gateway; the same page answers over HTTP as server-sent events.",
            },
            "broker": {
                "host": "127.0.0.1:4222",
                "protocol": "nats",
                "description": "The broker of the node; `canopy status` tells where it listens.",
            },
        },
        "channels": {name: one for part in parts for name, one in part["channels"].items()},
        "operations": {name: one for part in parts for name, one in part["operations"].items()},
        "components": {"schemas": _schemas()},
    }


def _live() -> Json:
    said = {one.__name__: _message(one) for one in (*FRAMES, *HEARD)}
    channel = {
        "address": "/api/v1/live",
        "title": "Live page",
        "description": "`?after=<seq>` resumes; a credential as for every route, or `?ticket=`.",
        "servers": [{"$ref": "#/servers/gateway"}],
        "messages": said,
        "bindings": {"ws": {"method": "GET"}},
    }
    return {
        "channels": {"live": channel},
        "operations": {
            "tellLive": _operation("send", "live", (one.__name__ for one in FRAMES)),
            "hearLive": _operation("receive", "live", (one.__name__ for one in HEARD)),
        },
    }


def _message(model: type[BaseModel]) -> Json:
    told = " ".join((model.__doc__ or model.__name__).split())
    return {"name": model.__name__, "summary": told, "payload": {"$ref": SCHEMAS + model.__name__}}


def _noun(noun: Noun) -> Json:
    """Commands of a noun with their answers, and its commits."""
    name, key = noun.name, noun.key
    commands, answers, commits = f"{name}Commands", f"{name}Answers", f"{name}Commits"
    wish = _one_of(command.__name__ for command in noun.commands)
    request = {"allOf": [{"$ref": SCHEMAS + "Request"}, {"properties": {"command": wish}}]}
    facts = {"type": "array", "items": {"oneOf": [_fact(one) for one in noun.events]}}
    commit = {
        "type": "object",
        "properties": {"header": {"$ref": SCHEMAS + "Header"}, "events": facts},
        "required": ["header", "events"],
    }
    answer = {"$ref": SCHEMAS + "Answer"}
    channels = {
        commands: _channel(_place(subjects.command, noun), f"Commands to a {name}", request, key),
        answers: _channel(None, f"Answers of a {name}, to the inbox of who asks", answer, ""),
        commits: _channel(_place(subjects.event, noun), f"Commits of a {name}", commit, key),
    }
    obey = _operation("receive", commands, ["message"])
    obey["reply"] = {
        "channel": {"$ref": f"#/channels/{answers}"},
        "messages": [{"$ref": f"#/channels/{answers}/messages/message"}],
    }
    tell = _operation("send", commits, ["message"])
    return {
        "channels": channels,
        "operations": {f"obey{name.title()}": obey, f"commit{name.title()}": tell},
    }


def _place(write: Callable[[str, str], str], noun: Noun) -> str:
    """The address of a noun's subjects, with its parameters in braces."""
    tokens = re.sub("[<>]", "", noun.key)
    return write(noun.name, tokens).removesuffix(tokens) + re.sub("<(.+?)>", r"{\1}", noun.key)


def _channel(address: str | None, title: str, payload: Json, key: str, kind: str = JSON) -> Json:
    message = {"name": title, "contentType": kind, "payload": payload}
    channel: Json = {
        "address": address,
        "title": title,
        "servers": [{"$ref": "#/servers/broker"}],
        "messages": {"message": message},
    }
    if names := re.findall("<(.+?)>", key):
        channel["parameters"] = {name: {"description": f"The {name}'s id."} for name in names}
    return channel


def _fact(event: type[BaseModel]) -> Json:
    kind = event.model_fields["kind"].default
    data = {"$ref": SCHEMAS + event.__name__}
    return {
        "type": "object",
        "properties": {"kind": {"const": kind}, "v": {"type": "integer"}, "data": data},
        "required": ["kind", "data"],
    }


def _one_of(names: Iterable[str]) -> Json:
    return {"oneOf": [{"$ref": SCHEMAS + name} for name in names]}


def _signs() -> Json:
    """What passes between processes and is stored nowhere."""
    text = "text/plain"
    roster = {
        "type": "object",
        "properties": {
            "gateway": {"type": "string"},
            "accounts": {"type": "array", "items": {"type": "string"}},
        },
        "required": ["gateway", "accounts"],
    }
    account = {"type": "string", "description": "The account that types."}
    last = {"type": "string", "pattern": "^[0-9]+$", "description": "The last position of the log."}
    channels = {
        "typing": _channel(
            subjects.ephemeral("typing", "{channel}"), "Typing", account, "<channel>", text
        ),
        "presence": _channel(subjects.ephemeral("presence", "all"), "Who is here", roster, ""),
        "appended": _channel(APPENDED, "The log has grown", last, "", text),
        "turns": _channel(TURNS, "Whose turn is it?", {"$ref": SCHEMAS + "Waiting"}, ""),
        "recall": _channel(ASKED, "What do you remember?", {"$ref": SCHEMAS + "Question"}, ""),
        "recalled": _channel(
            subjects.ephemeral(TOLD, "{question}"),
            "What a process remembers",
            {"$ref": SCHEMAS + "Known"},
            "<question>",
        ),
    }
    operations = {
        f"{verb}{name.title()}": _operation(action, name, ["message"])
        for name in channels
        for verb, action in (("show", "send"), ("watch", "receive"))
    }
    return {"channels": channels, "operations": operations}


def _operation(action: str, channel: str, said: Iterable[str]) -> Json:
    place = f"#/channels/{channel}"
    return {
        "action": action,
        "channel": {"$ref": place},
        "messages": [{"$ref": f"{place}/messages/{name}"} for name in said],
    }


def _schemas() -> Json:
    """Every model by its name."""
    vocabulary = [one for noun in NOUNS.values() for one in (*noun.commands, *noun.events)]
    models = [(one, "validation") for one in (*FRAMES, *HEARD, *vocabulary)]
    _, told = models_json_schema(models, ref_template=SCHEMAS + "{model}")  # type: ignore[arg-type]  # all are models
    _, envelopes = msgspec.json.schema_components(
        (Header, Request, Answer, Question, Known, Waiting),
        schema_hook=_any_command,
        ref_template=SCHEMAS + "{name}",
    )
    schemas: Mapping[str, Json] = {**told["$defs"], **envelopes}
    return {name: _prose(schema) for name, schema in sorted(schemas.items())}


def _any_command(_: type) -> Json:
    """Which one it is stands with the noun."""
    return {"type": "object"}


def _prose(schema: Json) -> Json:
    """A schema whose description has no line ends of the source."""
    about = schema.get("description")
    return schema | ({"description": " ".join(about.split())} if about else {})


_DESCRIPTION = """\
Two ways to hear of what happens. Live pages tell each client the commits it may see; positions
resume after any pause. On the broker of the node everything inside travels under subjects of three
planes: commands and their answers, commits (kept for ever, one stream), and passing signs. Who may
say what there is in docs/reference/subjects.md.
"""

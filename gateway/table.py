"""The routes as a table, and what follows from it: the OpenAPI 3.1 document.

A route says everything about itself once: where it is, which verb of the policy it needs, which
models its body and its query have to fit, what it answers. `gateway.app` serves the table;
`document` describes it; a test holds the two against each other with generated requests.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import Any, Literal

from aiohttp import web
from pydantic import BaseModel, ValidationError
from pydantic.json_schema import models_json_schema

from gateway.call import Call, Reply
from gateway.errors import CATALOGUE, MEDIA_TYPE, Problem
from gateway.parameters import AFTER_SEQ, AT, IDEMPOTENCY_KEY, IF_MATCH, VISIBLE
from gateway.policy import NOTHING, RULES, Subject, Verb

PREFIXES = ("/api/v1", "/api")
"""Where routes are mounted; the second is for older agents and not documented path by path."""

Method = Literal["GET", "POST", "PATCH", "PUT", "DELETE"]
Handler = Callable[[Call], Awaitable[Reply | web.StreamResponse]]
About = Callable[[Call], Subject]

ALWAYS = (
    "invalid_http", "host_refused", "origin_refused", "rate_limited", "unavailable",
    "internal_error", "behind", "invalid_request", "position_ahead",
)  # fmt: skip
WRITES = (
    "unacknowledged", "contended", "timed_out", "log_full", "log_damaged", "vault_unusable",
    "answer_too_large",
)  # fmt: skip
PAST = ("before_account",)
CREATED = 201
CHANNEL_ID = "{channel_id:(?!messages(?:/|$))[^{}/]+}"
ID = "[A-Za-z0-9_-]{1,100}"
PATTERNS = {
    "seq": "[0-9]{1,18}",
    "channel_id": "(?!messages$)" + ID,
    "id": rf"{ID}(\.{ID})?",
}
"""What stands in a path: an id, but for these names. An `id` may be a key of the log (`C1.M1`)."""
DIGEST_HEADERS = {
    "Canopy-Seq": "Position of the log: what a write has reached, or a read reflects at least.",
    "RateLimit": "What is left of the caller's allowance.",
    "RateLimit-Policy": "The caller's allowance.",
}


def nothing(call: Call) -> Subject:
    """The verb is about nothing in particular."""
    return NOTHING


@dataclass(frozen=True, slots=True)
class Route:
    """One route. `codes` are the refusals it can answer besides those that follow from the rest."""

    method: Method
    path: str
    verb: Verb
    handler: Handler
    summary: str
    tag: str
    body: type[BaseModel] | None = None
    query: type[BaseModel] | None = None
    reply: type[BaseModel] | str | None = None
    status: int = 200
    about: About = nothing
    codes: tuple[str, ...] = ()
    headers: tuple[tuple[str, str], ...] = ()
    """Headers of its own that the route understands, and what for."""
    versioned: bool = False
    """The body is one entity: answers carry an ETag, changes take If-Match."""
    rooted: bool = False
    """The path stands as it is, outside of `/api/v1`."""
    endless: bool = False
    """The answer may take for ever (live pages)."""
    ticketed: bool = False
    """A ticket in the query stands for a credential."""
    timeless: bool = False
    """What a read tells is only true now: it takes no `at`."""
    commands: bool = True
    """A write becomes commands; one that does not is done anew each time."""

    @property
    def writes(self) -> bool:
        return self.method != "GET"

    @property
    def past(self) -> bool:
        """Whether a read may be asked how it was: `?at=`."""
        return not (self.writes or self.rooted or self.endless or self.timeless)

    @property
    def keyed(self) -> bool:
        """Whether Idempotency-Key has a meaning: the same command has one effect."""
        return self.writes and self.commands

    @property
    def conditional(self) -> bool:
        """Whether If-Match has a meaning: it changes one entity that is there already."""
        return self.versioned and self.writes and self.status != CREATED

    @property
    def pattern(self) -> str:
        """The path as the router takes it: `/channels/messages` is no channel."""
        return self.path.replace("/channels/{channel_id}", "/channels/" + CHANNEL_ID)

    @property
    def address(self) -> str:
        """The documented path."""
        return self.path if self.rooted else PREFIXES[0] + self.path

    @property
    def parameters(self) -> tuple[str, ...]:
        """The names in the path."""
        return tuple(part[1:-1] for part in self.path.split("/") if part.startswith("{"))

    @property
    def refusals(self) -> frozenset[str]:
        """Every code of the catalogue that this route can answer with."""
        rule = RULES[self.verb]
        codes = {*ALWAYS, *self.codes, *(WRITES if self.writes else ())}
        if rule.standing != "nobody":
            codes |= {"credential_required", "credential_invalid", "account_suspended"}
        if rule.standing == "active":
            codes |= {"pending_approval"}
        if rule.scope:
            codes |= {"scope_missing"}
        if self.past:
            codes |= set(PAST)
        else:
            codes |= {"no_past"}
        if self.writes:
            codes |= {"csrf_failed", "invalid_header", "invalid_body"}
        if self.body:
            codes |= {"invalid_json", "invalid_request", "invalid_command", "body_too_large"}
            codes |= {"unsupported_media_type"}
        if self.keyed:
            codes |= {"idempotency_key_reused"}
        if self.path == "/channels/{channel_id}":
            codes |= {"method_not_allowed"}
        if self.conditional:
            codes |= {"precondition_failed"}
        return frozenset(codes)


def document(routes: Iterable[Route], version: str, cookie: str) -> dict[str, Any]:
    """The OpenAPI 3.1 document of *routes*. *cookie* is the name of the session cookie."""
    routes = tuple(routes)
    schemas = _schemas(routes)
    paths: dict[str, Any] = {}
    for route in routes:
        paths.setdefault(route.address, {})[route.method.lower()] = _operation(route, schemas)
    return {
        "openapi": "3.1.0",
        "jsonSchemaDialect": "https://json-schema.org/draft/2020-12/schema",
        "info": {
            "title": "Canopy",
            "version": version,
            "summary": "A local-first workspace in which people and agents talk, work and agree.",
            "description": _DESCRIPTION,
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "tags": [{"name": tag} for tag in dict.fromkeys(route.tag for route in routes)],
        "paths": paths,
        "components": {
            "schemas": schemas.definitions,
            "securitySchemes": {
                "key": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
                "bearer": {"type": "http", "scheme": "bearer"},
                "session": {"type": "apiKey", "in": "cookie", "name": cookie},
            },
            "headers": {
                name: {"description": text, "schema": {"type": "string"}}
                for name, text in DIGEST_HEADERS.items()
            },
        },
    }


@dataclass(frozen=True)
class _Schemas:
    """Models by class: where each is referred to, and the definitions."""

    references: dict[type[BaseModel], dict[str, Any]]
    definitions: dict[str, Any]


def _schemas(routes: Iterable[Route]) -> _Schemas:
    models: dict[type[BaseModel], None] = {Problem: None}
    for route in routes:
        for model in (route.body, route.query, route.reply):
            if isinstance(model, type):
                models[model] = None
    references, definitions = models_json_schema(
        [(model, "validation") for model in models],
        ref_template="#/components/schemas/{model}",
    )
    found = {model: reference for (model, _), reference in references.items()}
    return _Schemas(found, definitions.get("$defs", {}))  # type: ignore[arg-type]  # all are models


def _operation(route: Route, schemas: _Schemas) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "operationId": route.handler.__name__ + ("_put" if route.method == "PUT" else ""),
        "summary": route.summary,
        "description": _needs(route),
        "tags": [route.tag],
        "parameters": _parameters(route, schemas),
        "responses": _responses(route, schemas),
        "security": _security(route),
    }
    if route.body:
        schema = schemas.references[route.body]
        optional = _fits_nothing(route.body)
        operation["requestBody"] = {
            "required": not optional,
            "content": {"application/json": {"schema": schema}},
        }
    return operation


def _fits_nothing(model: type[BaseModel]) -> bool:
    """Whether a body may be left out."""
    try:
        model.model_validate_json(b"{}")
    except ValidationError:
        return False
    return True


def _security(route: Route) -> list[dict[str, Any]]:
    """The credentials that a route takes; an empty one says that it can do without."""
    credentials: list[dict[str, Any]] = [{"key": []}, {"bearer": []}, {"session": []}]
    if RULES[route.verb].standing != "nobody":
        return credentials
    return [{}] if route.rooted else [{}, *credentials]


def _needs(route: Route) -> str:
    rule = RULES[route.verb]
    who = {
        "nobody": "Open to everybody.",
        "pending": "For every account, approved or not.",
        "active": "For active accounts.",
    }[rule.standing]
    paragraphs = (route.handler.__doc__ or "").split("\n\n")
    text = "\n\n".join(" ".join(paragraph.split()) for paragraph in paragraphs)
    scope = f" Scope: `{rule.scope}`." if rule.scope else ""
    return f"{text}\n\n{who}{scope}".strip()


def _parameters(route: Route, schemas: _Schemas) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = [
        {
            "name": name,
            "in": "path",
            "required": True,
            "schema": {"type": "string", "pattern": f"^{PATTERNS.get(name, ID)}$"},
        }
        for name in route.parameters
    ]
    if route.query:
        reference = schemas.references[route.query]["$ref"].rpartition("/")[2]
        schema = schemas.definitions[reference]
        found += [
            {
                "name": name,
                "in": "query",
                "required": name in schema.get("required", ()),
                "schema": _plain(part),
                "description": part.get("description", ""),
            }
            for name, part in schema["properties"].items()
        ]
    found += [
        {"name": name, "in": "header", "schema": VISIBLE, "description": text}
        for name, text in route.headers
    ]
    if not route.rooted:
        found.append(AFTER_SEQ)
    if route.past:
        found.append(AT)
    if route.keyed:
        found.append(IDEMPOTENCY_KEY)
    if route.conditional:
        found.append(IF_MATCH)
    return found


def _plain(schema: dict[str, Any]) -> dict[str, Any]:
    """The schema of a query parameter: one that may be None may be left out, but not be null."""
    kinds = [kind for kind in schema.get("anyOf", ()) if kind.get("type") != "null"]
    told = ("anyOf", "default", "title", "description")
    rest = {k: v for k, v in schema.items() if k not in told}
    default = {"default": schema["default"]} if schema.get("default") is not None else {}
    return {**rest, **(kinds[0] if kinds else {}), **default}


def _responses(route: Route, schemas: _Schemas) -> dict[str, Any]:
    responses: dict[str, Any] = {str(route.status): _success(route, schemas)}
    by_status: dict[int, list[str]] = {}
    for code in sorted(route.refusals):
        by_status.setdefault(CATALOGUE[code].status, []).append(code)
    for status, codes in sorted(by_status.items()):
        responses[str(status)] = {
            "description": "; ".join(f"`{code}`: {CATALOGUE[code].title}" for code in codes),
            "content": {MEDIA_TYPE: {"schema": schemas.references[Problem]}},
        }
    return responses


def _success(route: Route, schemas: _Schemas) -> dict[str, Any]:
    headers: dict[str, Any] = {}
    if not route.rooted and not route.endless:
        headers = {name: {"$ref": f"#/components/headers/{name}"} for name in DIGEST_HEADERS}
    if route.versioned:
        headers["ETag"] = {"schema": {"type": "string"}, "description": "Version of the entity."}
    answer: dict[str, Any] = {"description": route.summary, "headers": headers}
    if isinstance(route.reply, str):
        answer["content"] = {route.reply: {"schema": {"type": "string"}}}
    elif route.reply:
        answer["content"] = {"application/json": {"schema": schemas.references[route.reply]}}
    return answer


_DESCRIPTION = """\
The same routes answer under `/api` for older agents. Send an API key as `X-API-Key` or
`Authorization: Bearer …`; browsers sign in with `POST /api/v1/session` and send `X-CSRF-Token`
along with every change. Errors are problem details (RFC 9457); their `type` leads to a page.
Every answer tells the position of the log it belongs to, `Canopy-Seq`; any request
with `?after_seq=<position>` waits for it, whichever gateway of the node is asked, and
`GET /api/v1/live?after=<position>` goes on from it.
A read with `?at=<position or time>` answers as it was then.
Times are UTC (ISO 8601). Unknown ids and ids that are none of the caller's business are answered
alike.
"""

"""The page of the API: every route, from the table and the document that the node serves."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any

from gateway.reference.markdown import code, codes, page, paragraph, table
from gateway.reference.shapes import Schema, fields, kind
from gateway.routes import ROUTES
from gateway.table import ALWAYS, WRITES, Route, document

Json = dict[str, Any]
PROBLEMS = "problems.md"


def text() -> str:
    """The page."""
    told = document(ROUTES, "", "canopy_<node>")
    return page(
        "API",
        "The same, for programs, is `GET /openapi.json` of a running node (OpenAPI 3.1).",
        paragraph(told["info"]["description"]),
        table(("header of an answer", "what"), _headers(told)),
        f"Refusals are told as in [problems]({PROBLEMS}). Every route may be refused with "
        f"{codes(ALWAYS)}; a change also with {codes(WRITES)}. "
        "Each route names what else it may be refused with.",
        *_overview(told),
        *(part for route in ROUTES for part in _route(route, told)),
    )


def _headers(told: Json) -> Iterator[tuple[str, str]]:
    for name, header in told["components"]["headers"].items():
        yield code(name), header["description"]
    yield (
        code("ETag"),
        "Version of the one entity in the body; send it as `If-Match` with a change.",
    )


def _overview(told: Json) -> Iterator[str]:
    for tag in told["tags"]:
        yield f"## {tag['name']}"
        yield table(
            ("route", "what"),
            (
                (f"[{code(_place(route))}](#{_anchor(_place(route))})", route.summary)
                for route in ROUTES
                if route.tag == tag["name"]
            ),
        )


def _place(route: Route) -> str:
    return f"{route.method} {route.address}"


def _anchor(place: str) -> str:
    """The name that Markdown gives to the heading of a route."""
    kept = (sign for sign in place.lower() if sign.isalnum() or sign in " -_")
    return "".join(kept).replace(" ", "-")


def _route(route: Route, told: Json) -> Iterator[str]:
    operation = told["paths"][route.address][route.method.lower()]
    definitions = told["components"]["schemas"]
    yield f"## {code(_place(route))}"
    yield paragraph(operation["description"])
    yield table(
        ("parameter", "in", "type", ""),
        (
            (code(one["name"]), one["in"], kind(one["schema"], definitions), _about(one))
            for one in operation["parameters"]
        ),
    )
    if "requestBody" in operation:
        yield "Body:"
        yield fields(_schema(operation["requestBody"], definitions), definitions)
    yield from _answer(str(route.status), operation["responses"], definitions)
    yield _refusals(route.refusals - {*ALWAYS, *(WRITES if route.writes else ())})


def _about(parameter: Json) -> str:
    required = "required" if parameter.get("required") else ""
    return str(parameter.get("description") or required)


def _answer(status: str, responses: Json, definitions: Schema) -> Iterator[str]:
    answer = responses[status]
    media = next(iter(answer.get("content", {})), "")
    if media == "application/json":
        yield f"Answers {code(status)}:"
        yield fields(_schema(answer, definitions), definitions, given=False)
    else:
        yield f"Answers {code(status)}{f', {code(media)}' if media else ''}."


def _refusals(names: Collection[str]) -> str:
    return f"Refused with {codes(sorted(names))}." if names else ""


def _schema(part: Json, definitions: Schema) -> Schema:
    schema: Schema = part["content"]["application/json"]["schema"]
    name = schema.get("$ref", "").rpartition("/")[2]
    found: Schema = definitions[name] if name else schema
    return found

"""JSON schemas in few words: the fields of what is said, as a table."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from gateway.reference.markdown import code, paragraph, table

Schema = Mapping[str, Any]
LEAST = ("minLength", "minimum", "minItems")
MOST = ("maxLength", "maximum", "maxItems")
LARGEST = 2**53
"""Limits beyond it are those of a machine word, and tell a reader nothing."""
COUNTED = {"string": " characters", "array": " items"}


def fields(
    shape: Schema, definitions: Schema, leave_out: Collection[str] = (), *, given: bool = True
) -> str:
    """The table of the fields of an object; empty when it has none. *given* tells of each field
    whether it must be given, or what it is when it is not.
    """
    rows = [
        (
            code(name),
            kind(part, definitions),
            *((_need(name, shape),) if given else ()),
            paragraph(part.get("description", "")).replace("\n\n", " "),
        )
        for name, part in shape.get("properties", {}).items()
        if name not in leave_out
    ]
    columns = 2 + given + any(row[-1] for row in rows)
    headings = ("field", "type", "", "")
    return table(headings[:columns], (row[:columns] for row in rows))


def _need(name: str, shape: Schema) -> str:
    if name in shape.get("required", ()):
        return "required"
    return f"default {code(_default(shape['properties'][name]))}"


def kind(part: Schema, definitions: Schema) -> str:
    """What a value may be."""
    if "$ref" in part:
        return kind(definitions[part["$ref"].rpartition("/")[2]], definitions)
    if choices := part.get("enum", [part["const"]] if "const" in part else []):
        return " · ".join(code(choice if choice != "" else '""') for choice in choices)
    if part.get("properties"):
        return f"object ({', '.join(part['properties'])})"
    if several := part.get("anyOf", part.get("oneOf")):
        return " or ".join(kind(one, definitions) for one in several)
    name = str(part.get("type", "anything"))
    if name == "array":
        name = f"list of ({kind(part.get('items', {}), definitions)})"
    return f"{name}, {told}" if (told := bounds(part)) else name


def bounds(part: Schema) -> str:
    """The least and the most that a value may be, empty for one without either."""
    least = next((part[name] for name in LEAST if part.get(name)), None)
    most = next((part[name] for name in MOST if (part.get(name) or LARGEST) < LARGEST), None)
    counted = COUNTED.get(part.get("type", ""), "")
    match least, most:
        case None, None:
            return ""
        case None, _:
            return f"at most {most:,}{counted}"
        case _, None:
            return f"at least {least:,}{counted}"
        case _:
            return f"{least:,} to {most:,}{counted}"


def _default(part: Schema) -> str:
    match part.get("default"):
        case None:
            return "null"
        case "":
            return '""'
        case bool() as flag:
            return str(flag).lower()
        case list() | tuple() as items:
            return f"[{', '.join(map(str, items))}]"
        case value:
            return str(value)

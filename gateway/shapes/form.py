"""The three forms of a shape, and the ones that many routes share."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, JsonValue, model_validator

IdText = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,100}$")]
Time = Annotated[str, Field(description="UTC, ISO 8601", examples=["2026-11-21T05:29:37.123Z"])]


def _whole(value: object) -> object:
    """JSON knows only numbers: 47.0 is a whole one."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


WHOLE = BeforeValidator(_whole)
Seq = Annotated[int, Field(ge=0, lt=2**63, description="a position of the log"), WHOLE]


class Body(BaseModel):
    """What a request sends. Unknown fields are ignored."""

    model_config = ConfigDict(frozen=True, strict=True, extra="ignore")


def at_least_one(*names: str) -> ConfigDict:
    """The configuration of a model that must be given one of the fields *names*."""
    ways: list[JsonValue] = [
        {"required": [name], "properties": {name: {"not": {"type": "null"}}}} for name in names
    ]
    return ConfigDict(json_schema_extra={"anyOf": ways})


class Change(Body):
    """What shall be different: fields left out or null stay as they are, and one must not."""

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if all(value is None for value in self.__dict__.values()):
            raise ValueError("nothing to update: send at least one field")
        return self


class Query(BaseModel):
    """What stands behind the question mark. Unknown names are ignored."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class Shape(BaseModel):
    """What is answered. May grow fields; never loses one within a version."""


class PageQuery(Query):
    limit: int | None = Field(None, ge=1, description="Items on the page; there is a maximum.")
    cursor: str | None = Field(None, description="`next` or `prev` of an earlier page.")


class Done(Shape):
    success: bool


class Said(Shape):
    message: str

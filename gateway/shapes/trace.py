"""The tree of steps of one command or request."""

from __future__ import annotations

from pydantic import Field

from gateway.shapes.form import Shape, Time


class Step(Shape):
    name: str = Field(description="What was done; `commit` for what only the log remembers.")
    began: Time
    after_ms: float = Field(description="Since the first step of all, in milliseconds.")
    took_ms: float | None = Field(description="null for what only the log remembers.")
    process: str = Field(description="Which process remembers it; `log` for the log.")
    cause: str = Field(description="The command that it was part of; empty for none.")
    seq: int | None = Field(description="The position of the commit, where there is one.")
    note: str = Field(description="Status, outcome, or how many commits shared the step.")
    steps: list[Step] = Field(description="What happened within it, or because of it.")


class Trace(Shape):
    id: str
    steps: list[Step] = Field(description="The first steps, in the order in which they began.")
    whole: bool = Field(
        description="False when some steps are missing: processes remember the last ones, and of "
        "long chains those are told that are nearest to what was asked for."
    )
    processes: int = Field(description="How many processes have answered.")

"""Why something is as it is: chains of causes, and refusals."""

from __future__ import annotations

from pydantic import Field

from gateway.shapes.form import Seq, Shape, Time


class CausedCommit(Shape):
    seq: Seq
    time: Time
    noun: str
    key: str = Field(description="The aggregate within its noun.")
    commit: str = Field(description="The id of the commit.")
    kinds: list[str] = Field(description="What it says, as far as the caller may see it.")
    author: str
    origin: str = Field(description="The node where it was decided.")
    cause: str = Field(description="The id of the command.")
    command: str | None = Field(description="Its kind, while a process remembers it.")
    parent: str = Field(description="The commit whose reactor sent the command; empty if none.")
    asked: bool = Field(description="Whether the id that was asked for names it.")
    caused: list[CausedCommit] = Field(description="What this commit has called for.")


class CausalChain(Shape):
    correlation: str = Field(description="The name of the chain: its first request.")
    commits: list[CausedCommit] = Field(description="Those that nothing in the chain called for.")


class RefusalShape(Shape):
    time: Time
    code: str
    message: str
    status: int = Field(description="HTTP status; 0 where no request was answered.")
    request: str = Field(description="Method and path; empty for a command of the node's own.")
    author: str = Field(description="Who asked; empty for nobody in particular.")
    correlation: str
    cause: str = Field(description="The id of the command; empty if it came to none.")
    command: str = Field(description="Its kind, if it came to one.")
    aggregate: str = Field(description="Noun and key of what it was for.")
    rule: str = Field(description="The function and line that refused; empty if not remembered.")
    means: str = Field(description="What that rule says of itself.")
    process: str = Field(description="Which process remembers it; `receipt` for the log.")


class Why(Shape):
    id: str
    chains: list[CausalChain] = Field(description="From the oldest to the newest.")
    hidden: int = Field(description="Commits of these chains that the caller may not see.")
    more: bool = Field(description="Whether there is more than one answer holds.")
    refusals: list[RefusalShape] = Field(
        description="From the oldest to the newest. Processes remember the last ones only."
    )

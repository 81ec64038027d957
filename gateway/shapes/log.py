"""The log and the node as their owner reads them."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from gateway.shapes.form import Query, Seq, Shape, Time


class LogQuery(Query):
    """Which commits: a side of a position; a noun, one aggregate, an author, a cause."""

    after: int | None = Field(
        None, ge=0, lt=2**63, description="Oldest first, beyond this position."
    )
    before: int | None = Field(
        None, ge=1, lt=2**63, description="Newest first, below this position; the default."
    )
    limit: int = Field(50, ge=1, le=500, description="Commits on a page at most.")
    noun: str = Field("", max_length=100, description="Only commits of this noun.")
    key: str = Field("", max_length=201, description="Only commits of this aggregate.")
    author: str = Field("", max_length=100, description="Only commits by this account.")
    cause: str = Field("", max_length=100, description="Only what this command caused.")
    correlation: str = Field("", max_length=100, description="Only what this request began.")


class EventShape(Shape):
    kind: str
    data: dict[str, Any] = Field(description="Without what never leaves the node.")


class CommitShape(Shape):
    type: Literal["commit"]
    seq: Seq
    noun: str
    id: str = Field(description="The aggregate within its noun.")
    time: Time
    author: str
    origin: str = Field(description="The node where it was decided.")
    cause: str = Field(description="The command.")
    events: list[EventShape]


class WholeCommit(CommitShape):
    commit: str = Field(description="The id of the commit.")
    correlation: str
    parent: str = Field(description="The commit whose reactor sent the command; empty if none.")
    clock: str = Field(
        description="Hybrid logical clock: 12 hex digits of milliseconds, 4 of counter."
    )
    traceparent: str
    digest: str = Field(description="BLAKE2b-256 of the exact bytes of the events.")
    payload_bytes: int


class LogPage(Shape):
    epoch: str
    head: Seq = Field(description="Position of the last commit that this gateway has folded.")
    commits: list[CommitShape]
    next: Seq | None = Field(description="Send as `after` or `before` again; null at the end.")


class Counts(Shape):
    accounts: int
    channels: int
    messages: int


class Damage(Shape):
    kind: str = Field(description="A constant word for what is wrong with the log.")
    seq: Seq = Field(description="The first position that is wrong, or may be.")
    text: str = Field(description="What is wrong, and what to do.")


class Integrity(Shape):
    damage: Damage | None = Field(
        description="Why nothing is written; null while the log is whole."
    )
    hashed: Seq = Field(description="How far the running hash over the log is kept.")
    reading: Seq = Field(description="How far the log is being read again, in this pass.")
    read: int = Field(description="How often the whole log was read again and was whole.")
    read_at: Time | None = Field(description="When that was last so.")


class NodeStatus(Shape):
    node: str
    version: str
    epoch: str
    started: Time
    uptime_s: float
    position: Seq = Field(description="How far the tables are.")
    head: Seq = Field(description="How far the log is.")
    lag: int = Field(description="Positions that are not yet in the tables.")
    stopped: str = Field(description="Why folding has stopped; empty while it goes on.")
    integrity: Integrity
    warning: str = Field(description="Why the log has too few copies in its cluster, or empty.")
    clients: int = Field(description="Live clients of this gateway.")
    counts: Counts


class Rebuilt(Shape):
    position: Seq


class Verified(Shape):
    position: Seq
    tables: dict[str, int] = Field(description="Rows up to that position, table by table.")
    read: Seq = Field(description="How far the log was read.")
    digest: str = Field(description="The running hash over the log there: BLAKE2b-256, in hex.")
    difference: dict[str, Any] | None = Field(description="The first one found, or null.")

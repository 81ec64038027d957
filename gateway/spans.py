"""From what processes remember to the tree of one command: request → command → decide → append →
fold and push, and from a commit on to the commands that it has called for.

Steps of one command are tied by its id, and by it to its request; commits by `parent`; folds and
pushes, which many commits share, by positions. Clients choose correlations, and many requests may
share one: by it, and by its author and time, a command is tied only when no request bears its id.
What no process remembers any more is told as far as the log knows it: a commit and its time.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from bus.clock import iso_ms
from bus.recall import Span

Row = dict[str, Any]
SHARED = ("fold", "push")
"""Steps that many commits share."""
WITHIN = ("command", "decide", "append")
"""The steps of one command, from the outermost in."""
FORGOTTEN = "commit"


@dataclass
class _Node:
    name: str
    began_ms: float
    took_ms: float | None
    process: str
    cause: str = ""
    seq: int | None = None
    note: str = ""
    author: str = ""
    correlation: str = ""
    steps: list[_Node] = field(default_factory=list)

    def told(self, start_ms: float) -> Row:
        ordered = sorted(self.steps, key=lambda one: one.began_ms)
        return {
            "name": self.name,
            "began": iso_ms(int(self.began_ms)),
            "after_ms": round(max(0.0, self.began_ms - start_ms), 3),
            "took_ms": None if self.took_ms is None else round(self.took_ms, 3),
            "process": self.process,
            "cause": self.cause,
            "seq": self.seq,
            "note": self.note,
            "steps": [one.told(start_ms) for one in ordered],
        }


def tree(spans: Iterable[Span], commits: Mapping[int, Row]) -> tuple[list[Row], bool]:
    """The first steps with all that followed, and whether every commit's are remembered."""
    spans = sorted(spans, key=lambda one: one.began_ms)
    roots = [_node(one) for one in spans if _kind(one) == ""]
    requests = tuple(roots)
    by_cause: dict[str, list[Span]] = {}
    for one in spans:
        if within(one):
            by_cause.setdefault(one.cause, []).append(one)
    stored = {row["cause"]: row for row in commits.values()}
    tops, ends, whole = _commands(by_cause, stored)
    for span in spans:
        if span.name in SHARED:
            for seq in [seq for seq in ends if span.first <= seq <= span.last]:
                ends[seq].steps.append(_node(span))
    seqs = {row["id"]: seq for seq, row in commits.items()}
    for cause, nodes in tops.items():
        parent = ends.get(seqs.get(stored[cause]["parent"], 0)) if cause in stored else None
        for node in nodes:
            above = parent or _request(requests, node)
            (roots if above is None else above.steps).append(node)
    start_ms = min((one.began_ms for one in roots), default=0.0)
    return [one.told(start_ms) for one in sorted(roots, key=lambda one: one.began_ms)], whole


def _request(requests: Iterable[_Node], node: _Node) -> _Node | None:
    """The request that the command *node* was part of: the last one of its id that had begun, else
    the last one of its correlation and author. None when it was part of none of *requests*."""
    same = [one for one in requests if one.cause and one.cause == node.cause]
    begun = [one for one in same if one.began_ms <= node.began_ms]
    if same:  # A retry bears the id of what it repeats; clocks of two processes may differ.
        return (begun or same)[-1]
    akin = [
        one
        for one in requests
        if node.correlation
        and one.correlation == node.correlation
        and one.author in ("", node.author)
        and one.began_ms <= node.began_ms
    ]
    running = [one for one in akin if one.began_ms + (one.took_ms or 0) >= node.began_ms]
    return next(reversed(running or akin), None)


def _commands(
    by_cause: Mapping[str, list[Span]], stored: Mapping[str, Row]
) -> tuple[dict[str, list[_Node]], dict[int, _Node], bool]:
    """By command the outermost steps, by position the step that stored it, and whether all of them
    are remembered."""
    tops: dict[str, list[_Node]] = {}
    ends: dict[int, _Node] = {}
    whole = True
    for cause in {**by_cause, **stored}:
        tops[cause], end = _nested(by_cause.get(cause, ()))
        row = stored.get(cause)
        if row is None:
            continue
        if end is None:
            whole = False
            end = _Node(FORGOTTEN, _ms(row["time"]), None, "log", cause)
            end.note = ", ".join(row["kinds"])
            end.author, end.correlation = row["author"], row["correlation"]
            tops[cause].append(end)
        end.seq = row["seq"]
        ends[row["seq"]] = end
    return tops, ends, whole


def _nested(steps: Iterable[Span]) -> tuple[list[_Node], _Node | None]:
    """The outermost of the *steps* of one command, in each of which lie those that happened within
    it, and the one that stored a commit. A command that was sent twice has two of most."""
    tops: list[_Node] = []
    around: list[tuple[Span, _Node]] = []
    end = None
    for span in steps:
        node = _node(span)
        while around and not _holds(around[-1][0], span):
            around.pop()
        (around[-1][1].steps if around else tops).append(node)
        around.append((span, node))
        end = node if _kind(span) == WITHIN[-1] else end
    return tops, end


def _holds(outer: Span, inner: Span) -> bool:
    deeper = WITHIN.index(_kind(outer)) < WITHIN.index(_kind(inner))
    return deeper and inner.began_ms <= outer.began_ms + outer.took_ms


def within(span: Span) -> bool:
    """Whether *span* is a step of one command."""
    return _kind(span) in WITHIN


def _kind(span: Span) -> str:
    """`command`, `decide`, `append`, `fold` or `push`; empty for a request."""
    word = span.name.partition(" ")[0]
    return word if word in (*WITHIN, *SHARED) else ""


def _node(span: Span) -> _Node:
    return _Node(
        span.name, span.began_ms, span.took_ms, span.process, span.cause,
        note=span.note, author=span.author, correlation=span.correlation,
    )  # fmt: skip


def _ms(time: str) -> float:
    return datetime.fromisoformat(time).timestamp() * 1000

"""From what processes remember to the tree of one command: request → command → decide → append →
fold and push, and from a commit on to the commands that it has called for.

Steps of one command are tied by its id, commands of one request by their correlation, commits by
`parent`; folds and pushes, which many commits share, by positions. What no process remembers any
more is told as far as the log knows it: a commit and its time.
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
    requests = {one.correlation: _node(one) for one in spans if _kind(one) == ""}
    by_cause: dict[str, list[Span]] = {}
    for one in spans:
        if _kind(one) in WITHIN:
            by_cause.setdefault(one.cause, []).append(one)
    stored = {row["cause"]: row for row in commits.values()}
    tops, ends, whole = _commands(by_cause, stored)
    for span in spans:
        if span.name in SHARED:
            for seq in [seq for seq in ends if span.first <= seq <= span.last]:
                ends[seq].steps.append(_node(span))
    roots = list(requests.values())
    correlations = {cause: steps[0].correlation for cause, steps in by_cause.items()}
    correlations |= {cause: row["correlation"] for cause, row in stored.items()}
    seqs = {row["id"]: seq for seq, row in commits.items()}
    for cause, nodes in tops.items():
        above = ends.get(seqs.get(stored[cause]["parent"], 0)) if cause in stored else None
        above = above or requests.get(correlations.get(cause, ""))
        (roots if above is None else above.steps).extend(nodes)
    start_ms = min((one.began_ms for one in roots), default=0.0)
    return [one.told(start_ms) for one in sorted(roots, key=lambda one: one.began_ms)], whole


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


def _kind(span: Span) -> str:
    """`command`, `decide`, `append`, `fold` or `push`; empty for a request."""
    word = span.name.partition(" ")[0]
    return word if word in (*WITHIN, *SHARED) else ""


def _node(span: Span) -> _Node:
    return _Node(span.name, span.began_ms, span.took_ms, span.process, span.cause, note=span.note)


def _ms(time: str) -> float:
    return datetime.fromisoformat(time).timestamp() * 1000

"""Spans hang together by what is handed on; counters can be scraped."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from bus.codec import TRACEPARENT
from bus.telemetry import Telemetry
from schemas.envelope import Refused

PARENT = f"00-{'a' * 32}-{'b' * 16}-01"


@pytest.fixture
def exporter() -> InMemorySpanExporter:
    return InMemorySpanExporter()


@pytest.fixture
def telemetry(exporter: InMemorySpanExporter) -> Iterator[Telemetry]:
    one = Telemetry(processor=SimpleSpanProcessor(exporter))
    yield one
    one.close()


def test_a_step_is_below_the_one_that_handed_it_on(
    telemetry: Telemetry, exporter: InMemorySpanExporter
) -> None:
    """Across processes, by nothing but a text."""
    with telemetry.span("first", PARENT) as first:
        handed = first.traceparent
    with telemetry.span("second", handed, {"canopy.seq": 7}):
        pass
    one, other = exporter.get_finished_spans()

    assert TRACEPARENT.fullmatch(handed)
    assert one.context is not None
    assert other.context is not None
    assert one.parent is not None
    assert other.parent is not None
    assert f"{one.parent.span_id:016x}" == "b" * 16
    assert other.parent.span_id == one.context.span_id
    assert f"{other.context.trace_id:032x}" == "a" * 32
    assert dict(other.attributes or {}) == {"canopy.seq": 7}


@pytest.mark.parametrize("parent", ["", "x", "00-zz"])
def test_a_step_below_nothing_begins_a_trace(
    telemetry: Telemetry, exporter: InMemorySpanExporter, parent: str
) -> None:
    with telemetry.span("first", parent) as first:
        pass

    assert TRACEPARENT.fullmatch(first.traceparent)
    assert exporter.get_finished_spans()[0].parent is None


def test_a_refusal_passes_through_a_step(telemetry: Telemetry) -> None:
    """As itself: it is an answer."""
    with pytest.raises(Refused, match="not_author"), telemetry.span("decide"):
        raise Refused("not_author", "Only its author.")


def test_without_tracing_a_step_hands_on_what_it_was_given() -> None:
    telemetry = Telemetry()

    assert not telemetry.tracing
    with telemetry.span("step", PARENT) as step:
        assert step.traceparent == PARENT
    telemetry.close()


def test_counters_are_those_of_their_own_process() -> None:
    """Two nodes in one test do not count together."""
    one, other = Telemetry(), Telemetry()
    one.conflicts.inc()

    assert b"canopy_conflicts_total 1.0" in one.render()
    assert b"canopy_conflicts_total 0.0" in other.render()

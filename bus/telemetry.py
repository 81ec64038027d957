"""Spans and counters: the only module that knows OpenTelemetry and Prometheus.

A trace runs from the HTTP request over command, decision, append and projection to the push on a
socket: each step is given the `traceparent` of the one before (W3C Trace Context), and the one of
the decision is kept in the commit. Without an OTLP endpoint no span is made and the caller's
traceparent is handed through.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager

from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from bus.recall import Memory

Attributes = Mapping[str, str | int | float | bool]
LATENCY_S = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)
SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1000)


class Span:
    """One step of a trace; `traceparent` is what the next step is given.

    By itself it is a step that nobody records, and hands its parent through.
    """

    __slots__ = ("traceparent",)

    def __init__(self, traceparent: str) -> None:
        self.traceparent = traceparent

    def __enter__(self) -> Span:
        return self

    def __exit__(self, *_: object) -> None:
        return None


class Telemetry:
    """The counters of one process, and its tracer."""

    def __init__(
        self,
        service: str = "canopy",
        endpoint: str = "",
        processor: SpanProcessor | None = None,
        memory: Memory | None = None,
    ) -> None:
        self.memory = memory or Memory(service)
        self.registry = CollectorRegistry()
        self._provider: TracerProvider | None = None
        if endpoint or processor is not None:
            self._provider = TracerProvider(resource=Resource({"service.name": service}))
            self._provider.add_span_processor(
                processor or BatchSpanProcessor(OTLPSpanExporter(f"{endpoint}/v1/traces"))
            )
            self._tracer = self._provider.get_tracer("canopy")
        registry = self.registry
        self.commands = Counter(
            "canopy_commands", "Commands answered", ["noun", "kind", "outcome"], registry=registry
        )
        self._children: dict[tuple[str, str, str], Counter] = {}
        self.refusals = Counter("canopy_refusals", "Refusals", ["code"], registry=registry)
        self.conflicts = Counter("canopy_conflicts", "Decisions taken again", registry=registry)
        self.append_s = Histogram(
            "canopy_append_seconds",
            "From sending a group of commits until it is on the disk",
            buckets=LATENCY_S,
            registry=registry,
        )
        self.group_commit = Histogram(
            "canopy_group_commit_size",
            "Commits that shared one send",
            buckets=SIZES,
            registry=registry,
        )
        self.position = Gauge(
            "canopy_projection_position", "Last folded position", registry=registry
        )
        self.lag = Gauge("canopy_projection_lag", "Positions not yet folded", registry=registry)
        self.alarm = Gauge(
            "canopy_log_damaged", "1 while the log is known to be damaged", registry=registry
        )
        self.hashed = Gauge("canopy_log_hashed", "Last hashed position", registry=registry)
        self.scrubs = Gauge("canopy_log_scrubs", "Complete readings of the log", registry=registry)
        self.scrubbed_s = Gauge(
            "canopy_log_scrubbed_timestamp_seconds", "End of the last of them", registry=registry
        )
        self.fold_s = Histogram(
            "canopy_fold_seconds", "One batch into the tables", buckets=LATENCY_S, registry=registry
        )
        self.sockets = Gauge("canopy_sockets", "Live clients", ["kind"], registry=registry)
        self.requests = Histogram(
            "canopy_http_seconds",
            "HTTP requests",
            ["route", "method", "status"],
            buckets=LATENCY_S,
            registry=registry,
        )
        self.restarts = Counter("canopy_restarts", "Rooms restarted", ["room"], registry=registry)

    def command(self, noun: str, kind: str, outcome: str) -> None:
        """One more command of *kind* has been answered."""
        labels = (noun, kind, outcome)
        child = self._children.get(labels)
        if child is None:
            child = self._children[labels] = self.commands.labels(*labels)
        child.inc()

    def stored(self, size: int, took_s: float) -> None:
        """One more group commit is on the disk."""
        self.group_commit.observe(size)
        self.append_s.observe(took_s)

    @property
    def tracing(self) -> bool:
        """Whether spans are made at all."""
        return self._provider is not None

    def span(
        self, name: str, traceparent: str = "", attributes: Attributes | None = None
    ) -> AbstractContextManager[Span]:
        """One step named *name* below *traceparent*, as long as the `with` lasts."""
        return self._span(name, traceparent, attributes) if self.tracing else Span(traceparent)

    @contextmanager
    def _span(self, name: str, traceparent: str, attributes: Attributes | None) -> Iterator[Span]:
        propagator = TraceContextTextMapPropagator()
        parent = propagator.extract({"traceparent": traceparent}) if traceparent else None
        with self._tracer.start_as_current_span(
            name, parent, attributes=dict(attributes or {})
        ) as span:
            carrier: dict[str, str] = {}
            propagator.inject(carrier, trace.set_span_in_context(span))
            yield Span(carrier.get("traceparent", ""))

    def render(self) -> bytes:
        """All counters in Prometheus' text format."""
        return generate_latest(self.registry)

    def close(self) -> None:
        """Hand over what has not been exported."""
        if self._provider is not None:
            self._provider.shutdown()

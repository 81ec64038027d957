"""The page of metrics: what `/metrics` tells."""

from __future__ import annotations

from typing import Any

from bus.telemetry import Telemetry
from gateway.reference.markdown import code, codes, page, table


def text() -> str:
    """The page."""
    return page(
        "Metrics",
        "`GET /metrics` answers in Prometheus' text format: to requests from the machine itself, "
        "or with any API key. Counters end in `_total`; a histogram is told as `_bucket`, `_sum` "
        "and `_count`. Each process of a node counts for itself.",
        table(("metric", "kind", "labels", "what"), map(_row, _metrics())),
        "Spans go to `otlp_endpoint` over OTLP/HTTP when it is set: one for the request, `decide "
        "<command>`, `append`, and `push` to the first live client, all in one trace. The "
        "`traceparent` of the decision is kept in the commit.",
    )


def _metrics() -> list[Any]:
    telemetry = Telemetry()
    return [metric for metric in vars(telemetry).values() if hasattr(metric, "describe")]


def _row(metric: Any) -> tuple[str, ...]:
    (family,) = metric.describe()
    # The library tells the names of labels nowhere else before they have values.
    labels = metric._labelnames  # noqa: SLF001
    suffix = "_total" if family.type == "counter" else ""
    return code(family.name + suffix), family.type, codes(labels), family.documentation

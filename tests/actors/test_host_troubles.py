"""A host in trouble answers; a host that is watched tells what it did."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from structlog.testing import capture_logs

from actors.aggregate import Aggregate
from actors.message.aggregate import MESSAGE
from actors.recollection import Loaded, fold
from bus.log import Unacknowledged, Unstored
from bus.memory import MemoryLog
from bus.telemetry import Telemetry
from bus.wire import BrokerLost
from schemas.channel import OpenChannel
from schemas.envelope import Commit
from schemas.message import PostMessage
from schemas.settings import MIB
from schemas.workspace import ClaimWorkspace
from tests.actors.hosts import KEY, POST, Listened, code, host, like, wish
from tests.examples import request
from tests.logs import behind_a_line, settings


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        (Unacknowledged("no answer"), "unacknowledged"),
        (BrokerLost("gone"), "unacknowledged"),
        (TimeoutError(), "unacknowledged"),
        (Unstored("maximum bytes exceeded"), "log_full"),
    ],
)
async def test_a_log_in_trouble_is_an_answer(fault: Exception, expected: str) -> None:
    """And the same command goes through once the trouble is over."""
    log = Listened()
    one = host(log)
    log.fault = fault
    assert code(await one.handle(POST)) == expected

    log.fault = None
    assert (await one.handle(POST)).seq == 1


async def test_an_answer_that_was_lost_is_found_by_its_cause() -> None:
    """The commit was stored: the retry meets a conflict, reads, and knows its own."""
    log = Listened()
    one = host(log)
    log.fault, log.stores_first = Unacknowledged("no answer"), True
    assert code(await one.handle(POST)) == "unacknowledged"
    log.fault = None
    again = await one.handle(POST)

    assert (again.seq, again.replayed) == (1, True)
    assert await log.head() == 1


async def test_a_host_that_knows_no_causes_refuses_what_it_has_done(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The proof that the tests around this one can fail."""

    def forgetful(aggregate: Aggregate[Any], loaded: Loaded[Any], commit: Commit) -> None:
        fold(aggregate, loaded, commit)
        loaded.applied.clear()

    monkeypatch.setattr("actors.recollection.fold", forgetful)
    log = Listened()
    one = host(log)
    log.fault, log.stores_first = Unacknowledged("no answer"), True
    assert code(await one.handle(POST)) == "unacknowledged"
    log.fault = None

    assert code(await one.handle(POST)) == "message_taken"


async def test_an_answer_that_the_line_lost_is_found_by_its_cause(tmp_path: Path) -> None:
    """On the real broker, where the retry of the very same bytes would be a conflict."""
    async with behind_a_line(settings(tmp_path, append_timeout_s=0.2)) as (near, far, between):
        one = host(far.log)
        between.cut = True
        assert code(await one.handle(POST)) == "unacknowledged"
        between.cut = False
        again = await one.handle(POST)

        assert (again.seq, again.replayed) == (1, True)
        assert await near.log.head() == 1


async def test_a_commit_that_no_log_takes_is_refused() -> None:
    """The author is told, and nobody else notices."""
    one = host(MemoryLog())
    large = wish(PostMessage(content="Hi.", security={"all": "x" * MIB}))

    assert code(await one.handle(large)) == "body_too_large"
    assert (await one.handle(POST)).seq == 1


async def test_a_history_that_cannot_be_read_refuses_and_is_reported() -> None:
    """Nothing is decided on half a past; other aggregates go on."""
    log = Listened()
    await host(log).handle(POST)
    log.poison(1)
    one = host(log)
    with capture_logs() as logged:
        answer = await one.handle(like())

    assert code(answer) == "internal_error"
    assert answer.refused is not None
    assert "position 1" in answer.refused.message
    assert [(line["event"], line["id"]) for line in logged] == [("aggregate_unreadable", KEY)]
    other = request("message", "general.M2", PostMessage(content="Hi."))
    assert (await one.handle(other)).seq == 2


async def test_what_is_no_command_of_the_noun_is_refused() -> None:
    """By name."""
    answer = await host(MemoryLog()).handle(
        msgspec.structs.replace(POST, command=OpenChannel(name="den"))
    )

    assert code(answer) == "invalid_command"
    assert answer.refused is not None
    assert answer.refused.message == "open_channel is no command of a message."


async def test_a_noun_that_does_not_live_here_is_refused() -> None:
    """By name."""
    one = host(MemoryLog(), aggregates=(MESSAGE,))
    claim = request("workspace", "main", ClaimWorkspace(account_id="ann"))

    assert code(await one.handle(claim)) == "invalid_command"


async def test_a_trace_runs_through_decision_and_append_into_the_commit() -> None:
    """One trace: the caller's; the commit carries on from the decision."""
    exporter = InMemorySpanExporter()
    telemetry = Telemetry(processor=SimpleSpanProcessor(exporter))
    log = MemoryLog()
    trace_id, parent_id = "a" * 32, "b" * 16
    await host(log, telemetry=telemetry).handle(
        msgspec.structs.replace(POST, traceparent=f"00-{trace_id}-{parent_id}-01")
    )
    (commit,) = await log.read("message", KEY)
    append, decide = exporter.get_finished_spans()
    telemetry.close()

    assert (decide.name, append.name) == ("decide post_message", "append")
    assert decide.context is not None
    assert decide.parent is not None
    assert append.parent is not None
    assert {f"{span.context.trace_id:032x}" for span in (decide, append)} == {trace_id}
    assert f"{decide.parent.span_id:016x}" == parent_id
    assert append.parent.span_id == decide.context.span_id
    assert commit.header.traceparent == f"00-{trace_id}-{decide.context.span_id:016x}-01"
    assert dict(decide.attributes or {}) == {"canopy.cause": "r1", "canopy.noun": "message"}


async def test_without_tracing_the_callers_trace_is_handed_through() -> None:
    """Whoever does trace finds its own again."""
    log = MemoryLog()
    parent = f"00-{'a' * 32}-{'b' * 16}-01"
    await host(log).handle(msgspec.structs.replace(POST, traceparent=parent))

    assert (await log.read("message", KEY))[0].header.traceparent == parent


async def test_what_was_decided_is_counted() -> None:
    """Commands by outcome, refusals by code."""
    telemetry = Telemetry()
    one = host(MemoryLog(), telemetry=telemetry)
    await one.handle(POST)
    await one.handle(POST)
    await one.handle(wish(PostMessage(content="Ho.")))
    text = telemetry.render().decode()
    telemetry.close()

    for outcome in ("done", "replayed", "refused"):
        assert f'kind="post_message",noun="message",outcome="{outcome}"}} 1.0' in text
    assert 'canopy_refusals_total{code="message_taken"} 1.0' in text

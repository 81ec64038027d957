"""The measures measure: each in its smallest form, on real nodes. Bars are for `canopy bench`."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from gateway.bench import hearing, posting
from gateway.bench.lag import lag
from gateway.bench.live import live
from gateway.bench.node import NoStart, ready
from gateway.bench.page import page
from gateway.bench.parquet import parquet
from gateway.bench.posting import Load, times
from gateway.bench.posts import BODY, posts
from gateway.bench.private import private
from gateway.bench.rebuild import rebuild
from gateway.bench.report import Figure, Report, middle, quantile
from gateway.bench.sockets import sockets
from gateway.bench.start import start
from gateway.bench.storm import NoFiles, storm
from gateway.bench.wires import Ear, request_bytes
from tests.canopy import Canopy

EVENTS = 3000
POSTED = "/api/v1/channels/messages"


def figures(report: Report) -> dict[str, float]:
    """The figures of a report by name."""
    return {figure.name: figure.value for figure in report.figures}


@pytest.mark.slow
async def test_posts_are_measured_against_a_bare_handler(tmp_path: Path) -> None:
    found = figures(await posts(tmp_path, rounds=1, seconds=0.3))

    assert min(found["posts, ours"], found["posts, bare handler"], found["ours ÷ bare"]) > 0
    assert found["answers other than 201"] == 0


@pytest.mark.slow
async def test_private_posts_are_measured_against_public_ones(tmp_path: Path) -> None:
    found = figures(await private(tmp_path, rounds=1, seconds=0.3))

    assert min(found["posts, private"], found["posts, public"], found["private ÷ public"]) > 0
    assert min(found["posts, public and unmarked"], found["private ÷ unmarked"]) > 0
    assert found["answers other than 201"] == 0


@pytest.mark.slow
async def test_news_is_timed_and_none_is_missed(tmp_path: Path) -> None:
    found = figures(await live(tmp_path, rounds=1, seconds=0.5))

    assert found["p50"] > 0
    assert (found["frames missed"], found["posts refused"]) == (0, 0)


@pytest.mark.slow
async def test_sockets_are_weighed(tmp_path: Path) -> None:
    found = figures(await sockets(tmp_path, count=100))

    assert found["node with all open"] > found["node before"] > 0


@pytest.mark.slow
async def test_all_who_are_cut_off_at_once_are_counted_back(tmp_path: Path) -> None:
    found = figures(await storm(tmp_path, count=60, lull_s=0.2, spread_s=0.3))

    assert found["the last is back"] >= found["half are back"] > 0
    assert found["commits that each was to hear"] > 1
    assert (found["missed"], found["doubled"], found["followers that heard out of order"]) == (
        0, 0, 0,
    )  # fmt: skip


async def test_more_sockets_than_open_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(NoFiles, match="100000000 sockets"):
        await storm(tmp_path, count=100_000_000)


@pytest.mark.slow
async def test_a_long_log_is_written_once_and_measured_four_ways(tmp_path: Path) -> None:
    folded = figures(await rebuild(tmp_path, EVENTS, rounds=1))
    paged = figures(await page(tmp_path, EVENTS, requests=5))
    started = figures(await start(tmp_path, EVENTS, rounds=1))
    late = figures(await lag(tmp_path, EVENTS))
    packed = figures(await parquet(tmp_path, EVENTS, rounds=1))

    assert folded["folded"] > 0
    assert paged["p50"] > 0
    assert late["told to come again"] > 0
    assert (late["reads without what was written"], late["other refusals"]) == (0, 0)
    assert (packed["from Parquet"] > 0, packed["tables that differ"]) == (True, 0)
    assert started[f"node of {EVENTS:,} events"] > 0


async def test_a_load_counts_answers_at_full_speed_and_at_a_rate(canopy: Canopy) -> None:
    owner = await canopy.register("ann")
    host, port = canopy.up.url.removeprefix("http://").split(":")
    headers = {"X-API-Key": owner.key}
    orders = [
        posting.Order(host, int(port), POSTED, headers, BODY, 4, 0.3, rate, warm_s=0.1)
        for rate in (0.0, 50.0, 100_000.0)
    ]
    results = [await Load(order).run() for order in orders]

    assert [set(result["statuses"]) for result in results] == [{201}, {201}, {201}]
    assert results[1]["rate"] == pytest.approx(50, rel=0.2)
    assert results[2]["p50_ms"] > results[1]["p50_ms"]


async def test_a_hall_hears_every_post_on_every_socket(canopy: Canopy) -> None:
    owner = await canopy.register("ann")
    host, port = canopy.up.url.removeprefix("http://").split(":")
    order = hearing.Order(host, int(port), {"X-API-Key": owner.key}, 5, 40.0, 0.5, warm_s=0.1)
    hall = hearing.Hall(order)
    await hall.open()
    result = await hall.post()
    await hall.close()

    assert (result["refused"], result["missed"]) == (0, 0)
    assert 0 < result["p50_ms"] <= result["max_ms"]


async def test_an_ear_that_is_refused_says_why(canopy: Canopy) -> None:
    host, port = canopy.up.url.removeprefix("http://").split(":")
    headers = {"Host": f"{host}:{port}"}
    _, ear = await asyncio.get_running_loop().create_connection(
        lambda: Ear("/api/v1/live", headers, lambda _ear, _payload: None), host, int(port)
    )

    with pytest.raises(ConnectionError, match="401"):
        await ear.open
    ear.abort()


async def test_a_process_that_says_nothing_has_not_started() -> None:
    running = await asyncio.create_subprocess_exec("false", stdout=asyncio.subprocess.PIPE)

    with pytest.raises(NoStart, match="ended with 1"):
        await ready(running)


@pytest.mark.parametrize("size", [0, 125, 126, 70_000])
async def test_an_ear_puts_frames_together_however_they_are_cut(size: int) -> None:
    heard: list[bytes] = []
    ear = Ear("/", {}, lambda _ear, payload: heard.append(payload))
    length = {0: b"\0", 125: b"\x7d", 126: b"\x7e\0\x7e", 70_000: b"\x7f" + (70_000).to_bytes(8)}
    told = b"HTTP/1.1 101 Switching Protocols\r\n\r\n" + b"\x81" + length[size] + b"x" * size
    for start_ in range(0, len(told), 7):
        ear.data_received(told[start_ : start_ + 7])

    assert heard == [b"x" * size]


def test_a_request_is_what_it_says() -> None:
    request = request_bytes("POST", "/", {"Host": "h"}, b"{}")

    assert request == (
        b"POST / HTTP/1.1\r\nHost: h\r\nContent-Type: application/json\r\n"
        b"Content-Length: 2\r\n\r\n{}"
    )


def test_quantiles_and_bars() -> None:
    fast = Figure("p50", 4.0, "ms", 5.0)
    slow = Figure("rate", 4.0, "/s", 5.0, rising=True)
    report = Report("sample", "of two", (fast, slow, Figure("count", 1234.0, "")))

    assert quantile([1.0, 2.0, 3.0, 4.0], 0.5) == 3.0
    assert times([])["p50_ms"] == float("inf")
    assert middle([{"a": 1}, {"a": 9}, {"a": 2}], "a") == 2
    assert (fast.held, slow.held, report.held, report.json()["held"]) == (True, False, False, False)
    assert report.rows() == [
        ("p50", "4 ms", "≤ 5", "✓"),
        ("rate", "4 /s", "≥ 5", "✗"),
        ("count", "1,234 ", "", ""),
    ]

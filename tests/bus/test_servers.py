"""Which server of a cluster is tried first."""

from __future__ import annotations

from random import Random

from bus.servers import Servers
from schemas.servers import SERVERS_MAX

URLS = ("nats://a:1", "nats://b:2", "nats://c:3")


def test_one_that_failed_comes_last_and_one_that_proved_good_first() -> None:
    servers = Servers(URLS, Random(1))
    servers.prefer("nats://c:3")
    servers.put_off("nats://b:2")

    assert servers.in_turn == ("nats://c:3", "nats://a:1", "nats://b:2")


def test_processes_spread_over_the_servers() -> None:
    firsts = {Servers(URLS, Random(seed)).in_turn[0] for seed in range(20)}

    assert firsts == set(URLS)


def test_servers_that_are_told_of_come_after_the_configured_ones() -> None:
    servers = Servers(["tls://ann:x@a:1"])
    servers.learn(["a:1", "d:4", "d:4"], "tls://ann:x@a:1")

    assert servers.in_turn == ("tls://ann:x@a:1", "tls://ann:x@d:4")


def test_no_server_makes_us_keep_more_than_a_bound() -> None:
    servers = Servers(["nats://a:1"])
    servers.learn([f"x:{port}" for port in range(1000)], "nats://a:1")

    assert len(servers.in_turn) == SERVERS_MAX
    assert servers.in_turn[1] == "nats://x:0"

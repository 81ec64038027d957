"""The addresses of a NATS cluster, as people write them."""

from __future__ import annotations

import pytest

from schemas.configuration import Misconfigured, load
from schemas.servers import SERVERS_MAX, server_urls


@pytest.mark.parametrize(
    ("text", "urls"),
    [
        ("", ()),
        ("nats://a", ("nats://a:4222",)),
        ("a, b:4223", ("nats://a:4222", "nats://b:4223")),
        ("tls://ann:x@a,b", ("tls://ann:x@a:4222", "tls://ann:x@b:4222")),
        ("nats://ann:x@a,bob:y@b", ("nats://ann:x@a:4222", "nats://bob:y@b:4222")),
        ("nats://[::1]:4,10.0.0.1", ("nats://[::1]:4", "nats://10.0.0.1:4222")),
        ("nats://a,nats://a", ("nats://a:4222",)),
    ],
)
def test_a_later_server_takes_over_what_it_leaves_out(text: str, urls: tuple[str, ...]) -> None:
    assert server_urls(text) == urls


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("http://a", "write nats:// or tls://"),
        ("nats://a:x1", "write host or host:port"),
        ("nats://", "write host or host:port"),
        ("nats://a/b", "commas between servers"),
        (",".join(f"s{nth}" for nth in range(SERVERS_MAX + 1)), "at most"),
    ],
)
def test_an_address_that_is_none_is_named(text: str, told: str) -> None:
    with pytest.raises(Misconfigured, match=f"(?s)CANOPY_NATS_URL: nats_url.*{told}"):
        load(environ={"CANOPY_NATS_URL": text})


def test_copies_are_odd_in_number() -> None:
    with pytest.raises(Misconfigured, match="take 1, 3 or 5"):
        load(environ={"CANOPY_NATS_REPLICAS": "2"})

"""The manners of HTTP: walls, limits, problems, positions, probes, and pages that work offline."""

from __future__ import annotations

import re
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from gateway.assets import STATIC
from gateway.errors import CATALOGUE
from gateway.routes import ROUTES
from tests.canopy import Canopy, running
from tests.gateway.browser import signed_in

POST = {"channel_id": "general", "content": "Hi."}


async def raw(
    canopy: Canopy, method: str, path: str, **more: Any
) -> tuple[int, dict[str, str], str]:
    """(status, headers, text) of a request that nobody dresses up."""
    async with canopy.http.request(method, canopy.up.url + path, **more) as response:
        return response.status, dict(response.headers), await response.text()


async def test_a_write_tells_its_position_and_reads_wait_for_it(canopy: Canopy) -> None:
    ann = await canopy.register("ann")
    _, headers, posted = await ann.call("POST", "/channels/messages", POST)
    seq = int(headers["Canopy-Seq"])
    status, told, page = await ann.call("GET", f"/channels/general/messages?after_seq={seq}")
    ahead, _, problem = await ann.call("GET", f"/channels?after_seq={seq + 1_000}")
    wrong, _, fault = await ann.call("GET", "/channels?after_seq=soon")

    assert posted["seq"] == posted["message"]["seq"] == seq
    assert (status, page["count"]) == (200, 1)
    assert int(told["Canopy-Seq"]) >= seq
    assert (ahead, problem["code"]) == (409, "position_ahead")
    assert (wrong, fault["errors"][0]["field"]) == (400, "after_seq")


async def test_an_account_reads_its_own_writes_without_asking(canopy: Canopy) -> None:
    ann = await canopy.register("ann")
    found = []
    for nth in range(20):
        message = (await ann.post("/channels/messages", POST | {"content": str(nth)}))["message"]
        found.append(await ann.get(f"/channels/general/messages/{message['id']}"))

    assert [one["message"]["content"] for one in found] == [str(nth) for nth in range(20)]


async def test_every_answer_is_guarded(canopy: Canopy) -> None:
    for path in ("/", "/api/v1/health", "/api/v1/channels", "/nowhere", "/static/page.css"):
        _, headers, _ = await raw(canopy, "GET", path)

        assert "default-src 'self'" in headers["Content-Security-Policy"]
        assert "frame-ancestors 'none'" in headers["Content-Security-Policy"]
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Referrer-Policy"] == "no-referrer"
        assert "Access-Control-Allow-Origin" not in headers


@pytest.mark.parametrize("path", ["/api/v1/health", "/", "/api/v1/live", "/static/page.css"])
async def test_foreign_pages_and_rebound_names_are_refused(canopy: Canopy, path: str) -> None:
    foreign, _, _ = await raw(canopy, "GET", path, headers={"Origin": "http://evil.example"})
    rebound, _, text = await raw(canopy, "GET", path, headers={"Host": "evil.example"})

    assert (foreign, rebound) == (403, 403)
    assert "host_refused" in text


async def test_our_own_page_is_heard(canopy: Canopy) -> None:
    ann = await canopy.register("ann")
    status, _, _ = await ann.call(
        "POST", "/channels/messages", POST, headers={"Origin": canopy.up.url}
    )

    assert status == 201


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/api/v1/nowhere", 404, "not_found"),
        ("GET", "/nowhere", 404, "not_found"),
        ("GET", "/static/../app.py", 404, "not_found"),
        ("GET", "/static/nothing.js", 404, "not_found"),
        ("DELETE", "/api/v1/health", 405, "method_not_allowed"),
        ("POST", "/", 405, "method_not_allowed"),
        ("OPTIONS", "/api/v1/channels/messages", 405, "method_not_allowed"),
        ("GET", "/problems/nothing", 404, "not_found"),
    ],
)
async def test_what_is_not_there_is_a_problem(
    canopy: Canopy, method: str, path: str, status: int, code: str
) -> None:
    found, headers, text = await raw(canopy, method, path)

    assert found == status
    assert headers["Content-Type"] == "application/problem+json"
    assert f'"code":"{code}"' in text
    assert ("Allow" in headers) == (status == 405)


async def test_bodies_are_json_and_not_too_large(canopy: Canopy) -> None:
    ann = await canopy.register("ann")
    key = {"X-API-Key": ann.key}
    path = "/api/v1/channels/messages"
    form = await raw(canopy, "POST", path, data="a=b", headers=key)
    plain = {**key, "Content-Type": "text/plain"}
    text = await raw(canopy, "POST", path, data="{}", headers=plain)
    as_json = {**key, "Content-Type": "application/json; charset=utf-8"}
    broken = await raw(canopy, "POST", path, data="{", headers=as_json)
    listed = await raw(canopy, "POST", path, data="[]", headers=as_json)
    too_much = BytesIO(b"x" * (2**20 + 1))
    large = await raw(canopy, "POST", path, data=too_much, headers=as_json)

    assert [one[0] for one in (form, text, broken, listed, large)] == [415, 415, 400, 400, 413]
    assert "invalid_json" in broken[2]


async def test_a_body_is_encoded_as_it_says(canopy: Canopy) -> None:
    ann = await canopy.register("ann")
    form = {"Content-Type": "application/json", "Content-Encoding": "gzip"}
    headers = {"X-API-Key": ann.key, **form}
    path = "/api/v1/channels/messages"
    status, _, text = await raw(canopy, "POST", path, data=b"{not packed}", headers=headers)

    assert status == 400
    assert '"code":"invalid_body"' in text


@pytest.mark.parametrize(
    ("path", "body", "fields"),
    [
        ("/keys", {"permissions": ["everything"]}, {"permissions", "permissions.0"}),
        ("/keys", {"permissions": {"str": 1}}, {"permissions"}),
        ("/channels/messages", POST | {"attachments": [{"name": "a"}]}, {"attachments.0"}),
        ("/channels/messages", POST | {"security": {"iv": [1]}}, {"security.iv"}),
        ("/channels/messages", {"content": "Hi."}, {"channel_id"}),
        ("/channels/messages", [], {"body"}),
    ],
)
async def test_a_fault_is_named_as_the_request_names_it(
    canopy: Canopy, path: str, body: Any, fields: set[str]
) -> None:
    await canopy.register("ann")
    status, problem = await (await signed_in(canopy, "ann")).call("POST", path, body)

    assert status == 400
    assert {fault["field"] for fault in problem["errors"]} == fields


async def test_a_head_is_a_get_without_a_body(canopy: Canopy) -> None:
    for path in ("/api/v1/health", "/healthz", "/", "/openapi.json"):
        status, headers, text = await raw(canopy, "HEAD", path)

        assert (status, text) == (200, "")
        assert int(headers["Content-Length"]) > 0


async def test_callers_know_what_they_may_still_ask(tmp_path: Path) -> None:
    async with running(
        tmp_path / "node", requests_per_second_max=1, requests_burst_max=3
    ) as canopy:
        ann = await canopy.register("ann")
        left = [(await ann.call("GET", "/channels"))[1]["RateLimit"] for _ in range(3)]
        status, headers, problem = await ann.call("GET", "/channels")

    assert left == ['"requests";r=2;t=1', '"requests";r=1;t=2', '"requests";r=0;t=3']
    assert (status, problem["code"], headers["Retry-After"]) == (429, "rate_limited", "1")
    assert headers["RateLimit-Policy"] == '"requests";q=3;w=3'


async def test_a_refusal_tells_its_position_and_what_is_left_too(canopy: Canopy) -> None:
    ann = await canopy.register("ann")
    absent = await ann.call("GET", "/channels/C0")
    invalid = await ann.call("POST", "/channels", {})
    unknown = await canopy.nobody.call("GET", "/channels")

    assert [one[0] for one in (absent, invalid, unknown)] == [404, 400, 401]
    assert all(int(one[1]["Canopy-Seq"]) > 0 for one in (absent, invalid, unknown))
    assert all({"RateLimit", "RateLimit-Policy"} <= set(one[1]) for one in (absent, invalid))
    assert "RateLimit" in unknown[1]


async def test_a_chain_of_causes_keeps_its_name(canopy: Canopy) -> None:
    chain = {"X-Correlation-ID": "chain-1"}
    _, _, named = await canopy.nobody.call("GET", "/channels", headers=chain)
    _, _, unnamed = await canopy.nobody.call("GET", "/channels")

    assert named["correlation_id"] == "chain-1"
    assert unnamed["correlation_id"] != "chain-1"
    assert named["instance"] == "/api/v1/channels"


async def test_the_node_tells_how_it_is(canopy: Canopy) -> None:
    before = await canopy.nobody.get("/health")
    ann = await canopy.register("ann")
    after = await canopy.nobody.get("/health")
    ready = await canopy.nobody.get("/readyz")
    version = await canopy.nobody.get("/version")
    info, more = await canopy.nobody.get("/info"), await ann.get("/info")

    assert (before["setup_required"], after["setup_required"], after["ready"]) == (
        True,
        False,
        True,
    )
    assert (ready["ready"], ready["lag"]) == (True, 0)
    assert await canopy.nobody.get("/healthz") == {"status": "ok"}
    assert version["node_id"] == before["peer"]["peer_id"]
    assert set(info) == {"version"}
    assert more["database_stats"]["accounts"] == 1


async def test_metrics_are_for_this_machine_or_with_a_key(canopy: Canopy) -> None:
    ann = await canopy.register("ann")
    here = await raw(canopy, "GET", "/metrics")
    afar = {"X-Forwarded-For": "203.0.113.9"}
    there = await raw(canopy, "GET", "/metrics", headers=afar)
    keyed = await raw(canopy, "GET", "/metrics", headers=afar | {"X-API-Key": ann.key})

    assert (here[0], there[0], keyed[0]) == (200, 401, 200)
    assert "canopy_projection_lag" in here[2]
    assert 'route="/register"' in here[2]


async def test_older_agents_find_everything_under_api(canopy: Canopy) -> None:
    ann = await canopy.register("ann")
    status, _, page = await ann.call("POST", "/api/channels/messages", POST)

    assert (status, page["message"]["content"]) == (201, "Hi.")
    assert (await ann.call("GET", "/api/channels/general/messages"))[2]["count"] == 1


async def test_the_guide_names_what_is_there(canopy: Canopy) -> None:
    guide = await canopy.nobody.get("/agent-instructions")
    sections = [part for part in guide.values() if isinstance(part, dict) and "endpoints" in part]
    told = {
        (way["method"], way["path"])
        for section in sections
        for way in section["endpoints"].values()
    }

    assert told <= {(route.method, route.address) for route in ROUTES}
    assert guide["base_url"] == canopy.up.url
    assert ("POST", "/api/v1/channels/messages") in told


async def test_every_problem_has_its_page(canopy: Canopy) -> None:
    _, _, listed = await raw(canopy, "GET", "/problems")
    for code in CATALOGUE:
        status, headers, text = await raw(canopy, "GET", f"/problems/{code}")

        assert (status, headers["Content-Type"]) == (200, "text/html; charset=utf-8")
        assert code in text
        assert f"/problems/{code}" in listed


async def test_pages_load_nothing_from_elsewhere(canopy: Canopy) -> None:
    """And what they do load is there."""
    for page in ("/", "/docs"):
        status, headers, html = await raw(canopy, "GET", page)
        loaded = re.findall(r'(?:src|href)="(/static/[^"]+)"', html)

        assert (status, headers["Content-Type"].split(";")[0]) == (200, "text/html")
        assert len(loaded) >= 3
        for asset in loaded:
            assert (await raw(canopy, "GET", asset))[0] == 200


async def test_a_browser_does_not_fetch_what_it_has(canopy: Canopy) -> None:
    _, headers, _ = await raw(canopy, "GET", "/static/page.css")
    known = {"If-None-Match": headers["Etag"]}
    status, _, text = await raw(canopy, "GET", "/static/page.css", headers=known)

    assert (status, text) == (304, "")


def test_no_page_names_another_site() -> None:
    served = [path for path in STATIC.rglob("*") if path.suffix in (".html", ".js", ".css")]
    addresses = {
        address
        for path in served
        for address in re.findall(r"https?://[^\s\"'<)]+", path.read_text())
    }

    assert len(served) >= 5
    assert all(address.startswith("http://127.0.0.1:7770") for address in addresses)


async def test_nothing_is_cached_that_is_somebodys(canopy: Canopy) -> None:
    ann = await canopy.register("ann")
    _, headers, _ = await ann.call("GET", "/profile")

    assert headers["Cache-Control"] == "no-store"


async def test_a_ticket_opens_one_live_page(canopy: Canopy) -> None:
    ann = await canopy.register("ann")
    ticket = (await ann.post("/live/tickets"))["ticket"]
    url = f"{canopy.up.url}/api/v1/live?ticket={ticket}"
    async with canopy.http.ws_connect(url) as socket:
        hello = await socket.receive_json(timeout=5)
    with pytest.raises(aiohttp.WSServerHandshakeError) as again:
        await canopy.http.ws_connect(url)

    assert hello["type"] == "hello"
    assert again.value.status == 403


@pytest.mark.parametrize(
    ("loss", "code"), [("key", "credential_invalid"), ("account", "account_suspended")]
)
async def test_a_ticket_is_worth_what_its_credential_is_worth(
    canopy: Canopy, loss: str, code: str
) -> None:
    await canopy.register("ann")
    bob = await canopy.register("bob")
    ticket = (await bob.post("/live/tickets"))["ticket"]
    owner, own = await signed_in(canopy, "ann"), await signed_in(canopy, "bob")
    if loss == "key":
        for key in (await own.call("GET", "/keys"))[1]["keys"]:
            await own.call("DELETE", f"/keys/{key['id']}")
    else:
        await owner.call("POST", f"/accounts/{bob.id}/suspend")
    status, _, text = await raw(canopy, "GET", f"/api/v1/live?ticket={ticket}")

    assert status == 403
    assert f'"code":"{code}"' in text


async def test_live_needs_a_credential(canopy: Canopy) -> None:
    ann = await canopy.register("ann")
    nobody, _, _ = await raw(canopy, "GET", "/api/v1/live")
    wrong, _, _ = await replace(ann, key="wrong").call("GET", "/live")

    assert (nobody, wrong) == (401, 403)


def test_every_route_says_what_it_does() -> None:
    assert not [route.path for route in ROUTES if not (route.handler.__doc__ or "").strip()]

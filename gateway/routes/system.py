"""The node about itself: is it well, what does it offer, how does one begin."""

from __future__ import annotations

import asyncio
from html import escape

from aiohttp import web

from actors.message import queries
from bus.clock import iso_ms
from bus.disk import shortage
from bus.key_table import VaultUnusable
from gateway import about
from gateway.assets import ASSETS
from gateway.attesting import attest
from gateway.call import Call, Reply, existing
from gateway.directives import effective, source
from gateway.errors import CATALOGUE, refuse
from gateway.shapes import system as shape
from gateway.table import Route
from gateway.version import VERSION

TAG = "System"
LAG_MAX = 10_000
"""Positions that the tables may be behind before the node calls itself not ready."""

DOCUMENT = web.AppKey("document", bytes)
"""The OpenAPI document of the application, written once."""
MESSAGES = web.AppKey("messages", bytes)
"""The AsyncAPI document, likewise."""
GUIDE = web.AppKey("guide", dict[str, object])
"""The guide for agents, but for what it says to one of them."""


async def read_health(call: Call) -> Reply:
    """How the node is: for people and older agents; probes ask /healthz and /readyz."""
    gateway, reads = call.gateway, call.gateway.reads
    lag = await reads.lag()
    behind = lag > LAG_MAX or reads.unready
    database = "stopped" if reads.stopped else "behind" if behind else "ok"
    damage, shortage = await _damage(call), await _shortage(call)
    events = "damaged" if damage else "full" if shortage else "ok"
    vault = "unusable" if await _unusable(call) else "ok"
    ready = (database, events, vault) == ("ok", "ok", "ok")
    return Reply(
        {
            "status": "ok" if ready else "degraded",
            "version": VERSION,
            "timestamp": iso_ms(call.now_ms),
            "ready": ready,
            "uptime_seconds": (call.now_ms - gateway.started_ms) // 1000,
            "setup_required": call.directory.owner_id is None,
            "peer": {"peer_id": gateway.identity.node_id, "connected_peers": 0},
            "subsystems": {"database": database, "workspace_events": events, "vault": vault},
        }
    )


async def read_info(call: Call) -> Reply:
    """The version; with an approved account's credential also sizes and limits."""
    return Reply({"version": VERSION, **(await _details(call) if call.principal.active else {})})


async def _details(call: Call) -> dict[str, object]:
    settings, directory = call.gateway.settings, call.directory
    (counted,) = await call.rows(queries.COUNT)
    return {
        "node_id": call.gateway.identity.node_id,
        "database_stats": {
            "accounts": sum(1 for _ in directory.accounts()),
            "channels": sum(1 for _ in directory.channels()),
            "messages": counted["messages"],
            "position": call.gateway.reads.position,
        },
        "config": {
            "max_message_size": 50_000,
            "max_attachments": 20,
            "max_body_bytes": settings.body_bytes_max,
            "page_max": settings.page_max,
        },
    }


async def read_instructions(call: Call) -> Reply:
    """The guide for agents; with a key also what the owner tells this one."""
    me = None if call.principal.suspended else call.principal.account
    own = {
        key: value
        for account in (me,)
        if account is not None
        for key, value in (
            ("agent_directives", effective(account)),
            ("agent_directives_source", source(account)),
        )
    }
    base_url = f"{call.request.scheme}://{call.request.host}"
    return Reply(call.request.app[GUIDE] | {"base_url": base_url} | own)


async def read_version(call: Call) -> Reply:
    """Which program this is."""
    node_id = call.gateway.identity.node_id
    return Reply({"name": "canopy", "version": VERSION, "api": "v1", "node_id": node_id})


async def read_liveness(call: Call) -> Reply:
    """The process answers."""
    return Reply({"status": "ok"})


async def read_readiness(call: Call) -> Reply:
    """The broker answers, the log is whole, the vault opens and the tables keep up, 503 when not;
    the disk has room to write, 507 when not. Reads go on in all these cases, those of what is
    private as long as the vault opens.
    """
    reads = call.gateway.reads
    lag = await reads.lag()
    at = {"position": reads.readable, "head": reads.position + lag}
    if reason := await _damage(call):
        raise refuse("log_damaged", f"{reason}.", **at)
    if await _unusable(call):
        raise refuse("vault_unusable", "", **at)
    behind = "The tables are behind." if lag > LAG_MAX else ""
    for reason in filter(None, (reads.stopped, reads.unready, behind)):
        raise refuse("behind", reason, **at, headers={"Retry-After": 1})
    if reason := await _shortage(call):
        raise refuse("log_full", f"{reason}.", position=reads.position)
    body = {"ready": True, "position": reads.position, "lag": lag, "epoch": reads.log.epoch}
    return Reply(body)


async def _damage(call: Call) -> str:
    """What is wrong with the log, if anything is known to be."""
    fault = (await attest(call)).fault
    return fault.words if fault else ""


async def _unusable(call: Call) -> bool:
    """Whether the vault cannot be opened any more."""
    try:
        await asyncio.to_thread(call.gateway.vault.look)
    except VaultUnusable:
        return True
    return False


async def _shortage(call: Call) -> str:
    """Why the log takes nothing at present, if it does not."""
    return await asyncio.to_thread(shortage, call.gateway.settings)


async def read_metrics(call: Call) -> Reply:
    """Counters in Prometheus' text format; for this machine, or with any credential."""
    await call.gateway.reads.lag()
    await attest(call)
    text = call.gateway.telemetry.render()
    return Reply(text, media_type="text/plain; version=0.0.4; charset=utf-8")


async def read_document(call: Call) -> Reply:
    """The API for programs: OpenAPI 3.1."""
    return Reply(call.request.app[DOCUMENT])


async def read_messages_document(call: Call) -> Reply:
    """All that travels as messages: live pages, and the subjects of the broker."""
    return Reply(call.request.app[MESSAGES])


async def read_problems(call: Call) -> Reply:
    """Every code with which a request can be refused."""
    rows = "".join(
        f'<tr><td><a href="/problems/{code}"><code>{code}</code></a></td>'
        f"<td>{entry.status}</td><td>{escape(entry.title)}</td></tr>"
        for code, entry in sorted(CATALOGUE.items())
    )
    table = f"<table><tr><th>Code</th><th>Status</th><th>Title</th></tr>{rows}</table>"
    return _page("Problems", f"<p>What a request can be refused with.</p>{table}")


async def read_problem(call: Call) -> Reply:
    """What one code means and what to do about it: where `type` of a problem leads."""
    code = call.path["code"]
    entry = existing(CATALOGUE.get(code), lambda: refuse("not_found"))
    return _page(
        entry.title,
        f"<p><code>{escape(code)}</code>, HTTP status {entry.status}.</p>"
        f"<p>{escape(entry.remedy)}</p>"
        '<p><a href="/problems">All problems</a> · <a href="/docs">The API</a></p>',
    )


def _page(title: str, body: str) -> Reply:
    """A page that looks like the others. *body* is HTML already."""
    html = (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)} – Canopy</title>"
        '<link rel="icon" href="/static/canopy.svg"><link rel="stylesheet" href="/static/page.css">'
        f'</head><body><main class="page"><h1>{escape(title)}</h1>{body}</main></body></html>'
    )
    return Reply(html.encode(), media_type="text/html; charset=utf-8")


async def read_start_page(call: Call) -> web.StreamResponse:
    """The page that says how to begin."""
    return call.request.app[ASSETS]["index.html"].answer(call.request)


async def read_document_page(call: Call) -> web.StreamResponse:
    """The API for people; works offline."""
    return call.request.app[ASSETS]["docs.html"].answer(call.request)


def _root(path: str, handler: object, summary: str, reply: object, **more: object) -> Route:
    """A route outside of `/api/v1` that is open to everybody."""
    return Route("GET", path, "learn", handler, summary, TAG, reply=reply, rooted=True, **more)  # type: ignore[arg-type]


HTML = "text/html"
BEHIND = ("behind",)

ROUTES = (
    Route("GET", "/health", "look", read_health, "How the node is", TAG, reply=shape.Health,
          timeless=True),
    Route("GET", "/info", "read_info", read_info, "What the node is", TAG, reply=shape.Info,
          timeless=True),
    Route(
        "GET", "/agent-instructions", "look", read_instructions, "The guide for agents", TAG,
        reply=shape.Instructions, timeless=True,
    ),
    _root("/version", read_version, "Name and version", shape.VersionShape),
    _root("/healthz", read_liveness, "The process lives", shape.Alive),
    _root(
        "/readyz", read_readiness, "The node is ready", shape.Ready,
        codes=("log_damaged", "log_full", "vault_unusable"),
    ),
    Route(
        "GET", "/metrics", "measure", read_metrics, "Metrics", TAG, reply="text/plain",
        rooted=True, about=about.place,
        codes=("credential_required", "credential_invalid", "account_suspended"),
    ),
    _root("/openapi.json", read_document, "The API for programs", shape.Document),
    _root("/asyncapi.json", read_messages_document, "Messages, for programs", shape.Messages),
    _root("/docs", read_document_page, "The API for people", HTML),
    _root("/problems", read_problems, "All problems", HTML),
    _root("/problems/{code}", read_problem, "One problem", HTML, codes=("not_found",)),
    _root("/", read_start_page, "How to begin", HTML),
)  # fmt: skip

"""What the node tells about itself."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from gateway.shapes.account import DirectiveSource
from gateway.shapes.form import Seq, Shape, Time


class PeerHealth(Shape):
    peer_id: str
    connected_peers: int


class Subsystems(Shape):
    database: Literal["ok", "behind", "stopped"]
    workspace_events: Literal["ok", "full", "damaged"]
    vault: Literal["ok", "unusable"]


class Health(Shape):
    status: Literal["ok", "degraded"]
    version: str
    timestamp: Time
    ready: bool
    uptime_seconds: int
    setup_required: bool = Field(description="Nobody owns the workspace yet.")
    peer: PeerHealth
    subsystems: Subsystems


class Info(Shape):
    """Without a key only `version` is told."""

    version: str
    node_id: str | None = None
    database_stats: dict[str, int] | None = None
    config: dict[str, int] | None = None


class VersionShape(Shape):
    name: str
    version: str
    api: str
    node_id: str


class Alive(Shape):
    status: Literal["ok"]


class Ready(Shape):
    ready: bool
    position: Seq = Field(description="How far the tables are.")
    lag: int = Field(description="Positions of the log that the tables do not know yet.")
    epoch: str = Field(description="Identity of the log; positions of another one mean nothing.")


class Instructions(Shape):
    version: str
    base_url: str
    api_prefix: str
    summary: str
    capabilities: list[str]
    auth: dict[str, Any]
    credential_storage: str
    expiration: dict[str, Any]
    channels: dict[str, Any]
    messages: dict[str, Any]
    mentions: dict[str, Any]
    live: dict[str, Any]
    profile: dict[str, Any]
    errors: dict[str, Any]
    etiquette: list[str]
    openapi: str
    agent_directives: str | None = None
    agent_directives_source: DirectiveSource | None = None


class Messages(Shape):
    """An AsyncAPI 3.0 document; see the specification of AsyncAPI for its fields."""

    asyncapi: str
    info: dict[str, Any]
    channels: dict[str, Any]
    operations: dict[str, Any]
    components: dict[str, Any]


class Document(Shape):
    """An OpenAPI 3.1 document; see the specification of OpenAPI for its fields."""

    openapi: str
    info: dict[str, Any]
    paths: dict[str, Any]
    components: dict[str, Any]


class Ticket(Shape):
    ticket: str = Field(description="Opens one live page: GET /api/v1/live?ticket=…")
    expires_in_s: int

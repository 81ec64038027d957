"""Every knob, its unit, its default, and what it is for. One frozen value, built in a root.

A knob's unit is the last part of its name (`_s`, `_bytes`, `_max` counts things) and stands again
in its description for `canopy config explain`. Where values come from: `schemas.configuration`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import platformdirs
from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator

from schemas.servers import server_urls

LogLevel = Literal["debug", "info", "warning", "error"]

KIB = 1024
MIB = 1024 * KIB
GIB = 1024 * MIB

PASSPHRASE_CHARACTERS_MIN = 12
"""Of any passphrase under which something is sealed anew."""


def _knob(default: Any, unit: str, description: str, **limits: Any) -> Any:
    return Field(default, description=description, json_schema_extra={"unit": unit}, **limits)


def default_data_directory() -> Path:
    """Where this user's data belongs by the XDG base directory specification."""
    return platformdirs.user_data_path("canopy")


class Settings(BaseModel):
    """The configuration of one node. Immutable: a change of it is a restart."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", validate_default=True, hide_input_in_errors=True
    )

    # --- Where it lives and listens -------------------------------------------------------------
    data_directory: Path = Field(
        default_factory=default_data_directory,
        description="Log, identity and projections of this node.",
        json_schema_extra={"unit": "path"},
    )
    host: str = _knob("127.0.0.1", "address", "Where the gateway listens.", min_length=1)
    port: int = _knob(
        7770, "port", "Port of the gateway; 0 lets the system choose.", ge=0, le=65535
    )
    allowed_hosts: tuple[str, ...] = _knob(
        (), "host names", "Host headers answered besides the loopback names and `host`."
    )
    allowed_origins: tuple[str, ...] = _knob(
        (), "origins", "Origins of web pages answered besides our own, as scheme://host:port."
    )
    trusted_proxies: tuple[str, ...] = _knob(
        (), "addresses", "Reverse proxies whose X-Forwarded-For is believed."
    )
    secure_cookies: bool = _knob(False, "yes/no", "Send cookies over HTTPS only (behind a proxy).")
    passphrase: SecretStr | None = _knob(
        None,
        "secret",
        "Seals this node's identity; 12 characters or more. Set CANOPY_PASSPHRASE, never a flag.",
    )

    # --- Broker -----------------------------------------------------------------------------------
    nats_url: str = _knob(
        "",
        "URLs",
        "External NATS servers, commas between; empty runs the embedded one.",
        repr=False,
    )
    nats_system_url: str = _knob(
        "",
        "URLs",
        "The external servers for a user of their system account, to check them.",
        repr=False,
    )
    nats_credentials: str = _knob(
        "", "path", "Who signs in to external servers: passwords, *.creds, *.nk, or their folder."
    )
    nats_tls_ca: str = _knob("", "path", "Certificates (PEM) that vouch for external servers.")
    nats_tls_certificate: str = _knob("", "path", "Our certificate (PEM) for external servers.")
    nats_tls_key: str = _knob("", "path", "The key of our certificate, unless that holds it.")
    nats_replicas: int = _knob(
        0,
        "copies",
        "Of the log in an external cluster (1, 3 or 5); 0 takes 3 where there are three servers.",
        ge=0,
        le=5,
    )
    nats_dial_timeout_s: float = _knob(
        1.0, "seconds", "For one of several servers to take us in; then the next is tried.", gt=0
    )
    nats_look_every_s: float = _knob(
        1.0, "seconds", "Between looks whether our external server still knows the log.", gt=0
    )
    nats_look_timeout_s: float = _knob(2.0, "seconds", "For the answer to such a look.", gt=0)
    nats_look_failures_max: int = _knob(
        2, "looks", "Bad ones in a row until we ask whether another server knows better.", ge=1
    )
    nats_host: str = _knob("127.0.0.1", "address", "Where the embedded broker listens.")
    nats_port: int = _knob(
        0, "port", "Port of the embedded broker; 0 chooses one and keeps it.", ge=0, le=65535
    )
    nats_server: str = _knob("", "path", "The nats-server binary; empty takes the bundled one.")
    nats_start_timeout_s: float = _knob(
        60.0,
        "seconds",
        "For the broker to become ready, not counting while it reads its log.",
        gt=0,
    )
    nats_health_every_s: float = _knob(1.0, "seconds", "Between looks at its health.", gt=0)
    nats_health_timeout_s: float = _knob(2.0, "seconds", "For one look at its health.", gt=0)
    nats_health_failures_max: int = _knob(
        3, "looks", "Bad ones in a row until the broker is given up.", ge=1
    )
    nats_stop_timeout_s: float = _knob(
        1.0, "seconds", "For the broker to stop politely; then it is killed.", gt=0
    )
    nats_connect_timeout_s: float = _knob(5.0, "seconds", "For one attempt to connect.", gt=0)
    nats_silence_s: float = _knob(
        30.0, "seconds", "How long the broker may be away before the process gives up.", gt=0
    )
    nats_write_deadline_s: int = _knob(
        5, "seconds", "Until the broker cuts a stalled client.", ge=1
    )
    nats_connections_max: int = _knob(64, "connections", "Clients of the broker.", ge=8)
    log_bytes_max: int = _knob(
        0, "bytes", "Size of the log; 0 takes 60 % of the free disk, at most 1 TiB.", ge=0
    )
    disk_reserve_bytes: int = _knob(
        256 * MIB, "bytes", "Free disk below which the node takes no more writes.", ge=0
    )
    disk_spare_bytes: int = _knob(
        16 * MIB, "bytes", "Set aside, and given up when the disk is full to the last byte.", ge=0
    )
    disk_look_every_s: float = _knob(1.0, "seconds", "Between looks at the disk.", gt=0)
    duplicate_window_s: int = _knob(
        30, "seconds", "The broker's memory of message ids.", ge=1, le=30
    )

    # --- Proving ----------------------------------------------------------------------------------
    tip_every_s: float = _knob(
        1.0, "seconds", "Between two notes of how far the log is hashed, while it grows.", gt=0
    )
    scrub_share: float = _knob(
        0.05, "processors", "For reading the whole log again and again.", gt=0, le=1
    )
    scrub_every_s: float = _knob(
        600.0, "seconds", "From the end of one such reading to the next.", ge=0
    )
    alarm_every_s: float = _knob(
        1.0, "seconds", "Between looks whether the log was found to be damaged.", gt=0
    )

    # --- Writing ----------------------------------------------------------------------------------
    command_timeout_s: float = _knob(5.0, "seconds", "For a command to be answered.", gt=0)
    append_timeout_s: float = _knob(5.0, "seconds", "For the log to acknowledge one send.", gt=0)
    group_commit_plain_max: int = _knob(
        16, "commits", "Up to here waiting commits go out singly; more go as one batch.", ge=0
    )
    group_commit_full: int = _knob(
        32, "commits", "So many that wait leave at once, not at the end of the turn.", ge=1
    )
    group_commit_batch_max: int = _knob(
        1000, "commits", "In one atomic batch (the broker allows 1,000).", ge=1, le=1000
    )
    group_commits_in_flight_max: int = _knob(1, "batches", "On their way at once.", ge=1, le=50)
    host_commands_in_flight_max: int = _knob(
        4096, "commands", "Being decided at once; more wait in the broker.", ge=1
    )
    conflict_retries_max: int = _knob(8, "attempts", "Reloads after a conflict.", ge=1)
    aggregates_cached_max: int = _knob(20_000, "aggregates", "Kept in memory.", ge=1)
    snapshot_every: int = _knob(256, "commits", "Between snapshots of one aggregate.", ge=1)
    payload_bytes_max: int = _knob(1 * MIB, "bytes", "Of one commit.", ge=64 * KIB, le=8 * MIB)

    # --- Erasing ----------------------------------------------------------------------------------
    erasure_gather_s: float = _knob(
        1.0, "seconds", "Deletions gather so long; then their keys are destroyed together.", ge=0
    )
    expiry_every_s: float = _knob(
        10.0, "seconds", "Between looks for private messages that have expired.", gt=0
    )
    clock_tolerance_s: float = _knob(
        60.0, "seconds", "That the wall clock may run ahead of what has passed, undoubted.", gt=0
    )
    clock_ahead_max_s: float = _knob(
        7 * 86_400.0,
        "seconds",
        "That it may be ahead of the last commit when a process begins.",
        gt=0,
    )
    clock_grace_s: float = _knob(
        86_400.0,
        "seconds",
        "A doubted wall clock must stand so long until things expire by it.",
        gt=0,
    )

    # --- Reading ----------------------------------------------------------------------------------
    read_wait_s: float = _knob(2.0, "seconds", "A read waits for the position it asks for.", gt=0)
    fold_batch_max: int = _knob(5000, "commits", "Folded into the tables at once.", ge=1)
    tail_fetch_max: int = _knob(5000, "commits", "Fetched from the log at once.", ge=1)
    tail_fetch_bytes_max: int = _knob(16 * MIB, "bytes", "Fetched from the log at once.", ge=MIB)
    read_threads: int = _knob(4, "threads", "That query the tables.", ge=1, le=64)
    projection_memory_bytes_max: int = _knob(
        512 * MIB, "bytes", "The tables' working memory.", ge=64 * MIB
    )
    gateways_max: int = _knob(
        16, "gateways", "On one data directory at once, each with tables of its own.", ge=1
    )
    past_directories_max: int = _knob(
        16,
        "directories",
        "Of the past, kept in memory: who was who when rights last changed.",
        ge=1,
    )
    page_default: int = _knob(50, "items", "On a page when nothing is said.", ge=1, le=200)
    page_max: int = _knob(200, "items", "On a page at most.", ge=1, le=1000)

    # --- SQL --------------------------------------------------------------------------------------
    sql_timeout_s: float = _knob(10.0, "seconds", "For one statement to be answered.", gt=0)
    sql_memory_bytes_max: int = _knob(
        768 * MIB, "bytes", "Memory of the process that answers one statement.", ge=64 * MIB
    )
    sql_rows_max: int = _knob(10_000, "rows", "In one answer; more are cut off.", ge=1)
    sql_bytes_max: int = _knob(8 * MIB, "bytes", "Of the rows of one answer.", ge=KIB)
    sql_statements_max: int = _knob(2, "statements", "Answered at once.", ge=1, le=16)
    sql_statements_per_account_max: int = _knob(
        1, "statements", "Of one account, answered at once.", ge=1, le=16
    )

    # --- Live pages -------------------------------------------------------------------------------
    live_buffer_commits: int = _knob(
        20_000, "commits", "Kept in memory for those who follow.", ge=1
    )
    live_buffer_bytes: int = _knob(64 * MIB, "bytes", "That this buffer may hold.", ge=MIB)
    live_page_commits: int = _knob(500, "commits", "Handed to one follower at once.", ge=1)
    live_replay_max: int = _knob(100_000, "commits", "Behind which a follower starts afresh.", ge=1)
    live_send_timeout_s: float = _knob(10.0, "seconds", "For a slow client to take one send.", gt=0)
    live_heartbeat_s: float = _knob(15.0, "seconds", "Between signs of life.", gt=0)
    live_ticket_ttl_s: float = _knob(30.0, "seconds", "A ticket opens a socket, once.", gt=0)
    live_signs_per_second_max: int = _knob(
        10, "frames/s", "From one client, typing and such.", ge=1
    )
    live_clients_max: int = _knob(10_000, "clients", "Following at once.", ge=1)
    live_clients_per_account_max: int = _knob(100, "clients", "Following at once.", ge=1)
    live_message_bytes_max: int = _knob(64 * KIB, "bytes", "Of one message from a client.", ge=1024)
    typing_ttl_s: float = _knob(6.0, "seconds", "Until a typing sign fades.", gt=0)

    # --- Backups ----------------------------------------------------------------------------------
    archive_part_commits_max: int = _knob(
        50_000, "commits", "In one part of an export or a backup.", ge=1, le=1_000_000
    )
    archive_part_bytes_max: int = _knob(
        64 * MIB, "bytes", "Of the payloads in one part, before compression.", ge=MIB, le=512 * MIB
    )

    # --- Requests ---------------------------------------------------------------------------------
    body_bytes_max: int = _knob(1 * MIB, "bytes", "Of one request.", ge=1024)
    request_timeout_s: float = _knob(30.0, "seconds", "For one request as a whole.", gt=0)
    requests_queued_s: float = _knob(
        5.0, "seconds", "Requests wait for a gateway that has lost its broker; then 503.", gt=0
    )
    shutdown_timeout_s: float = _knob(1.5, "seconds", "For open requests when stopping.", gt=0)
    requests_per_second_max: int = _knob(1000, "requests/s", "Of one account.", ge=1)
    requests_burst_max: int = _knob(4000, "requests", "Of one account at once.", ge=1)
    logins_per_minute_max: int = _knob(
        30, "attempts/min", "To sign in, from one address and into one account.", ge=1
    )
    registrations_per_minute_max: int = _knob(60, "attempts/min", "From one address.", ge=1)
    password_hashes_in_flight_max: int = _knob(
        2, "hashes", "Checked at once; each takes 64 MiB.", ge=1, le=64
    )

    # --- Accounts ---------------------------------------------------------------------------------
    session_ttl_s: int = _knob(30 * 86_400, "seconds", "A browser stays signed in.", ge=60)
    code_ttl_s: int = _knob(7 * 86_400, "seconds", "An invitation code is good for.", ge=60)
    auto_approve_agents: bool = _knob(
        False, "yes/no", "Agents that register are active without anyone's approval."
    )

    # --- Watching ---------------------------------------------------------------------------------
    otlp_endpoint: str | None = _knob(
        None, "URL", "Where spans are sent over OTLP/HTTP; unset sends none.", repr=False
    )
    log_level: LogLevel = _knob("info", "level", "Least severity that is logged.")
    log_json: bool | None = _knob(
        None, "yes/no", "Log lines as JSON; unset: JSON when standard error is no terminal."
    )

    spans_kept_max: int = _knob(
        20_000, "steps", "Remembered by each process, to draw the tree of a command.", ge=0
    )
    refusals_kept_max: int = _knob(
        2_000, "refusals", "Remembered by each process, for `canopy why`.", ge=0
    )
    chain_commits_max: int = _knob(
        200, "commits", "Told of the chains that `why` and `trace` follow, the nearest.", ge=50
    )
    recall_wait_s: float = _knob(
        0.2, "seconds", "For the processes of a node to say what they remember.", gt=0
    )

    # --- Supervision ------------------------------------------------------------------------------
    restarts_max: int = _knob(5, "restarts", "Of one room within `restarts_window_s`.", ge=0)
    restarts_window_s: float = _knob(60.0, "seconds", "In which restarts are counted.", gt=0)
    restart_backoff_s: float = _knob(
        0.1, "seconds", "Before the first restart; then doubled.", gt=0
    )

    @field_validator("nats_url", "nats_system_url")
    @classmethod
    def _addresses(cls, text: str) -> str:
        server_urls(text)
        return text

    @field_validator("nats_replicas")
    @classmethod
    def _odd(cls, copies: int) -> int:
        if copies not in (0, 1, 3, 5):
            raise ValueError("an even number of copies is no safer than one less: take 1, 3 or 5")
        return copies

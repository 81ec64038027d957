"""The log itself, for the owner: its commits, where this node stands, and two ways to be sure.

Commits are shown as live pages show them, redacted alike; unlike there all of them, whoever's they
are. So these routes need the owner, and a key that holds `delete_data`.
"""

from __future__ import annotations

from typing import Any

from actors.commit import queries
from actors.message.queries import COUNT
from bus import codec
from bus.clock import iso, iso_ms
from bus.log import Log, Stored
from bus.vault import Vault
from gateway.attesting import attest, integrity
from gateway.call import Call, Reply, existing
from gateway.errors import refuse
from gateway.redaction import shown
from gateway.shapes import log as shape
from gateway.table import Route
from gateway.version import VERSION

TAG = "Node"
WINDOW = 500
"""Positions within which commits are read from the log at once."""
END = 2**63 - 1

Row = dict[str, Any]


async def read_node_status(call: Call) -> Reply:
    """Where this node stands: position, head, lag, and how much there is."""
    gateway, reads, directory = call.gateway, call.gateway.reads, call.directory
    lag = await reads.lag()
    (counted,) = await call.rows(COUNT)
    return Reply(
        {
            "node": gateway.identity.node_id,
            "version": VERSION,
            "epoch": reads.log.epoch,
            "started": iso_ms(gateway.started_ms),
            "uptime_s": (call.now_ms - gateway.started_ms) / 1000,
            "position": reads.position,
            "head": reads.position + lag,
            "lag": lag,
            "stopped": reads.stopped,
            "integrity": integrity(await attest(call)),
            "warning": await gateway.warning(),
            "clients": gateway.live.clients,
            "counts": {
                "accounts": sum(1 for _ in directory.accounts()),
                "channels": sum(1 for _ in directory.channels()),
                "messages": counted["messages"],
            },
        }
    )


async def list_commits(call: Call) -> Reply:
    """Commits of the log, the newest first unless `after` is given."""
    reads, query, head = call.gateway.reads, call.query, call.position
    wanted = (query.noun, query.key, query.author, query.cause, query.correlation, query.limit + 1)
    if query.after is None:
        rows = await call.rows(queries.BEFORE, min(query.before or END, head + 1), *wanted)
    else:
        rows = await call.rows(queries.AFTER, query.after, *wanted)
    seqs = [row["seq"] for row in rows if row["seq"] <= head]
    page, more = seqs[: query.limit], len(seqs) > query.limit
    found = await _stored(reads.log, page)
    commits = [_shown(call.gateway.vault, found[seq], _commit(found[seq])) for seq in page]
    return Reply(
        {
            "epoch": reads.log.epoch,
            "head": head,
            "commits": commits,
            "next": page[-1] if more else None,
        }
    )


async def _stored(log: Log, seqs: list[int]) -> dict[int, Stored]:
    """The commits at *seqs*, neighbours read together. Raises `Refused` (log_damaged) when the log
    does not have what the tables know of.
    """
    found: dict[int, Stored] = {}
    for seq in sorted(seqs):
        if seq not in found:
            ahead = sum(1 for one in seqs if seq <= one < seq + WINDOW)
            for stored in await log.page(seq - 1, ahead):
                found[stored.seq] = stored
        if seq not in found:
            raise refuse("log_damaged", f"The log does not have position {seq} any more.")
    return found


def _commit(stored: Stored) -> Row:
    """What *stored* says. Raises `Refused` (log_damaged) when it says it no more."""
    try:
        return codec.parse(stored.payload)
    except codec.Undecodable as error:
        text = f"Position {stored.seq} of the log cannot be read any more: {error}."
        raise refuse("log_damaged", text) from error


async def read_commit(call: Call) -> Reply:
    """One commit with its whole header."""
    found = await _at(call, _position(call.path["seq"]))
    return Reply(
        _whole(
            call.gateway.vault,
            existing(found, lambda: refuse("not_found", "The log has no such position.")),
        )
    )


async def rebuild(call: Call) -> Reply:
    """Fills new tables from the whole log and puts them in the place of the old; reads go on."""
    return Reply({"position": await call.gateway.reads.rebuild()})


async def verify(call: Call) -> Reply:
    """Folds the whole log aside, checks every commit on the way, and compares the tables."""
    return Reply(await call.gateway.reads.verify())


def _position(text: str) -> int:
    """The position that *text* names, 0 when it names none."""
    return int(text) if text.isdigit() and len(text) < 19 else 0


async def _at(call: Call, seq: int) -> Stored | None:
    """The commit at *seq*, None where there is none yet. Raises `Refused` (log_damaged)."""
    if not 0 < seq <= call.position:
        return None
    return (await _stored(call.gateway.reads.log, [seq]))[seq]


def _shown(vault: Vault, stored: Stored, commit: Row) -> Row:
    """A commit as live pages show it to one who may see all of it."""
    header = commit["header"]
    return {
        "type": "commit",
        "seq": stored.seq,
        "noun": stored.noun,
        "id": stored.key,
        "time": iso(header["clock"]),
        "author": header["author"],
        "origin": header["origin"],
        "cause": header["cause"],
        "events": [
            {"kind": fact["kind"], "data": shown(vault, header, fact)} for fact in commit["events"]
        ],
    }


def _whole(vault: Vault, stored: Stored) -> Row:
    commit = _commit(stored)
    header = commit["header"]
    return _shown(vault, stored, commit) | {
        "commit": header["id"],
        "correlation": header["correlation"],
        "parent": header.get("parent", ""),
        "clock": header["clock"],
        "traceparent": header.get("traceparent", ""),
        "digest": header["digest"],
        "payload_bytes": len(stored.payload),
    }


OWNED = ("not_owner",)

ROUTES = (
    Route(
        "GET", "/node/status", "operate", read_node_status, "Where the node stands", TAG,
        reply=shape.NodeStatus, timeless=True, codes=OWNED,
    ),
    Route(
        "GET", "/log", "operate", list_commits, "Read the log", TAG,
        query=shape.LogQuery, reply=shape.LogPage, codes=(*OWNED, "log_damaged", "vault_unusable"),
    ),
    Route(
        "GET", "/log/{seq}", "operate", read_commit, "Read a commit", TAG,
        reply=shape.WholeCommit, codes=(*OWNED, "not_found", "log_damaged", "vault_unusable"),
    ),
    Route(
        "POST", "/node/rebuild", "operate", rebuild, "Make the tables anew", TAG,
        reply=shape.Rebuilt, endless=True, commands=False, codes=OWNED,
    ),
    Route(
        "POST", "/node/verify", "operate", verify, "Prove the tables", TAG,
        reply=shape.Verified, endless=True, commands=False, codes=OWNED,
    ),
)  # fmt: skip

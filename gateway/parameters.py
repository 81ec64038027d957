"""Parameters that many routes share, as the OpenAPI document describes them."""

from __future__ import annotations

POSITION = "[0-9]{1,19}"
"""What names a position where a time might stand; one that is too large has yet to come."""
AFTER_SEQ = {
    "name": "after_seq",
    "in": "query",
    "schema": {"type": "integer", "minimum": 0, "maximum": 2**63 - 1},
    "description": "Answer once the tables know this position (a write's Canopy-Seq).",
}
AT = {
    "name": "at",
    "in": "query",
    "schema": {
        "anyOf": [
            {"type": "string", "pattern": f"^{POSITION}$"},
            {"type": "string", "format": "date-time"},
        ]
    },
    "description": "Answer as it was at this position or time (RFC 3339), with the rights of then; "
    "Canopy-Seq tells the position. What has been deleted or has expired since stays gone.",
}
VISIBLE = {"type": "string", "pattern": "^[!-~]{1,255}$"}
IDEMPOTENCY_KEY = {
    "name": "Idempotency-Key",
    "in": "header",
    "schema": VISIBLE,
    "description": "The same key with the same request has one effect and the same answer.",
}
IF_MATCH = {
    "name": "If-Match",
    "in": "header",
    "schema": {"type": "string", "pattern": r'^(\*|(W/)?"?[0-9]{1,18}"?)$'},
    "description": "The ETag that the change is based on; 412 when there is a later one.",
}

"""What the tables say of requests that carried an Idempotency-Key."""

from __future__ import annotations

DONE = "SELECT seq, fingerprint FROM keyed_command WHERE id = $1 ORDER BY seq LIMIT 1"
"""The position of what the command `$1` has done, and which request it was; no row for nothing."""

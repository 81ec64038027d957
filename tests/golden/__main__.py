"""Adds to the golden log what it lacks, and writes down what comes of it."""

from __future__ import annotations

import json

from tests.golden import LOG, STATE, completed, golden, state

log = completed(golden())
lines = [
    json.dumps({"noun": one.noun, "key": one.key, "payload": one.payload.decode()}) for one in log
]
LOG.write_text("\n".join(lines) + "\n", "utf-8")
STATE.write_text(json.dumps(state(log), indent=1, sort_keys=True) + "\n", "utf-8")

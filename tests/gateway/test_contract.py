"""The document and the server agree: requests made up from OpenAPI are answered as it says.

schemathesis writes them: valid ones must be taken, broken ones refused, answers must have the
form, the status and the headers that the document promises, and nothing may end in a 500.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path

import pytest

from tests.canopy import Canopy
from tests.gateway.browser import signed_in

SCOPES = ("read_messages", "write_messages", "manage_keys", "delete_data")
EXAMPLES = 12
"""Requests made up for each operation besides the boundary cases."""

CONFIGURATION = """
[checks]
positive_data_acceptance.expected-statuses = ["2xx", 401, 403, 404, 405, 409, 412, 422, 429]

[[operations]]
include-path-regex = "/(register|password|sql)$"
checks.positive_data_acceptance.enabled = false
"""
"""What a valid request may be answered with, depending on what there is: 412 for an If-Match of
the past, 422 for an Idempotency-Key that was used, 405 for a channel that is called `messages`.
What makes a password strong, or a statement SQL, is more than a schema can tell.
"""


@pytest.mark.slow
@pytest.mark.timeout(300)
async def test_the_server_does_what_its_document_says(canopy: Canopy, tmp_path: Path) -> None:
    await canopy.register("ann")
    key = await (await signed_in(canopy, "ann")).key(*SCOPES)
    (tmp_path / "schemathesis.toml").write_text(CONFIGURATION)
    command = [
        sys.executable, "-m", "schemathesis.cli", "run", f"{canopy.up.url}/openapi.json",
        "--header", f"X-API-Key: {key}", "--exclude-path-regex", "(/live$|/node/)",
        "--seed", "1", "--max-examples", str(EXAMPLES), "--request-timeout", "20", "--no-color",
    ]  # fmt: skip
    told = await asyncio.to_thread(
        subprocess.run, command, cwd=tmp_path, capture_output=True, text=True, check=False
    )

    assert told.returncode == 0, told.stdout[-6_000:] + told.stderr[-2_000:]
    assert "Traceback" not in told.stderr

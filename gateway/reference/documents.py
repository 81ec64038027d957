"""The documents for programs, as a node serves them: OpenAPI of routes, AsyncAPI of messages."""

from __future__ import annotations

import json
from typing import Any

from gateway.messages import messages
from gateway.routes import ROUTES
from gateway.table import document
from gateway.version import VERSION

COOKIE = "canopy_<node>"
"""A node's own name of the session cookie has its id in it."""


def openapi() -> str:
    """The OpenAPI 3.1 document."""
    return _written(document(ROUTES, VERSION, COOKIE))


def asyncapi() -> str:
    """The AsyncAPI 3.0 document."""
    return _written(messages(VERSION))


def _written(told: Any) -> str:
    return json.dumps(told, indent=1, ensure_ascii=False) + "\n"

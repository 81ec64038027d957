"""A node that keeps no marks and hashes nothing: what a node that does is measured against.

    python -m gateway.bench.unmarked up --data <directory> …

It takes the words of `canopy`. It is the same node up to that; what it writes in a public channel
no vault is asked for either.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from bus import attachment
from bus.attachment import Bus
from bus.marks import Mark, Unmarked
from bus.wire import Wire
from gateway import node
from gateway.cli.app import main
from schemas.settings import Settings


@asynccontextmanager
async def _unmarked(
    _settings: Settings, _epoch: str, _wire: Wire
) -> AsyncIterator[tuple[Mark, str]]:
    yield Unmarked(), ""


async def _unhashed(_bus: Bus) -> None:
    await asyncio.Event().wait()


if __name__ == "__main__":
    vars(attachment)["marked"] = _unmarked
    vars(node)["notarize"] = _unhashed
    main()

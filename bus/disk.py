"""Room on the disk: below the reserve nothing is added to the log, and all that is there is read.

A broker whose disk is full gives up the whole log, reads included, until it is started again. So we
stop before it must.
"""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Never

import structlog

from bus.group_commit import GroupCommit
from schemas.settings import MIB, Settings

Free = Callable[[Path], int]
"""How many bytes may still be written where a path lies."""

journal = structlog.get_logger()


def free_bytes(path: Path) -> int:
    """What the disk has left for us at *path*."""
    return shutil.disk_usage(path).free


def shortage(settings: Settings, free: Free = free_bytes) -> str:
    """Why nothing may be written: what is free, what is kept, what to do. Empty while there is
    room, and for a broker that is not ours: its disk is elsewhere.
    """
    if settings.nats_url:
        return ""
    left = free(settings.data_directory)
    if left >= settings.disk_reserve_bytes:
        return ""
    return (
        f"the disk has {left // MIB} MiB free and Canopy keeps "
        f"{settings.disk_reserve_bytes // MIB} MiB in reserve: make room first"
    )


async def keep_reserve(writer: GroupCommit, settings: Settings, free: Free = free_bytes) -> Never:
    """Let *writer* take nothing while there is a shortage, looking again and again, for ever."""
    while True:
        found = await asyncio.to_thread(shortage, settings, free)
        if found and not writer.shut:
            journal.critical("disk_short", reason=found, path=str(settings.data_directory))
        elif writer.shut and not found:
            journal.warning("disk_freed", remedy="none needed: commits are taken again")
        writer.shut = found
        await asyncio.sleep(settings.nats_health_every_s)

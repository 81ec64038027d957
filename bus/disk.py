"""Room on the disk: below the reserve nothing is added to the log, and all that is there is read.

A broker whose disk is full gives up the whole log until it is started again, so we stop before it
must. If somebody else fills the disk to the last byte all the same, the spare is given up: files
that hold nothing but room, in which broker and tables can finish and start.
"""

from __future__ import annotations

import asyncio
import errno
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from secrets import token_hex
from typing import NamedTuple, Never

import structlog

from bus.group_commit import GroupCommit
from schemas.settings import KIB, MIB, Settings

SPARE = "spare"
SPARE_FILES = 64
"""Each of them holds a part of the spare bytes, and an inode."""
FILES_RESERVED = 1000
FILES_NEEDED = 16
"""Inodes with which broker and tables can start."""
PROBE_BYTES = 4 * KIB
UNWRITABLE = frozenset({errno.ENOSPC, errno.EROFS, errno.EDQUOT, errno.EIO})
"""What the kernel says of a disk that takes nothing."""

journal = structlog.get_logger()


class Room(NamedTuple):
    """What may still be written to a disk: bytes, and files."""

    bytes: int
    files: int


Look = Callable[[Path], Room]


def free_room(path: Path) -> Room:
    """What the disk has left for us at *path*; nothing when it is read-only."""
    found = os.statvfs(path)
    if found.f_flag & os.ST_RDONLY:
        return Room(0, 0)
    # Some file systems make inodes as they go, and say that they have none.
    files = found.f_favail if found.f_files else FILES_RESERVED
    return Room(found.f_bavail * found.f_frsize, files)


def shortage(settings: Settings, look: Look = free_room) -> str:
    """Why nothing may be written: what is free, what is kept, what to do. Empty while there is
    room, and for a broker that is not ours: its disk is elsewhere.
    """
    if settings.nats_url:
        return ""
    left = look(settings.data_directory)
    if left.bytes < settings.disk_reserve_bytes:
        return (
            f"the disk has {left.bytes // MIB} MiB free and Canopy keeps "
            f"{settings.disk_reserve_bytes // MIB} MiB in reserve: make room first"
        )
    if left.files < FILES_RESERVED and settings.disk_reserve_bytes:  # None of either, if that is 0.
        return (
            f"the disk has room for {left.files} more files and Canopy keeps {FILES_RESERVED} in "
            "reserve: remove some first"
        )
    return ""


def refusal(settings: Settings) -> str:
    """Why the disk takes nothing, by trying; empty when it does. Costs a write."""
    draft = settings.data_directory / f".probe.{token_hex(4)}"
    try:
        draft.write_bytes(bytes(PROBE_BYTES))
    except OSError as error:
        if error.errno not in UNWRITABLE:
            raise
        return f"the disk takes nothing ({error.strerror}): make room, or make it writable again"
    finally:
        with suppress(OSError):
            draft.unlink(missing_ok=True)
    return ""


async def keep_reserve(writer: GroupCommit, settings: Settings, look: Look = free_room) -> Never:
    """Let *writer* take nothing while there is a shortage, looking again and again, for ever.

    Whether the disk takes anything is tried only when there is a doubt: an idle disk may sleep.
    """
    while True:
        found = await asyncio.to_thread(shortage, settings, look)
        if not found and (writer.shut or writer.doubted):
            found = await asyncio.to_thread(refusal, settings)
            writer.doubted = False
        if found and not writer.shut:
            journal.critical("disk_short", reason=found, path=str(settings.data_directory))
        elif writer.shut and not found:
            journal.warning("disk_freed", remedy="none needed: commits are taken again")
        writer.shut = found
        await asyncio.to_thread(_tend_spare, settings, look)
        await asyncio.sleep(settings.disk_look_every_s)


def has_room(settings: Settings, look: Look = free_room) -> bool:
    """Whether the disk has room enough to start and to finish in; gives up the spare for that."""
    if _suffices(settings, look):
        return True
    _give_up_spare(settings)
    return _suffices(settings, look)


async def roomy(settings: Settings) -> None:
    """Returns once there is room enough to start and to finish in."""
    while not await asyncio.to_thread(has_room, settings):
        reason = await asyncio.to_thread(refusal, settings)
        journal.critical("disk_full", reason=reason, path=str(settings.data_directory))
        await asyncio.sleep(settings.disk_look_every_s)


def _suffices(settings: Settings, look: Look) -> bool:
    if not settings.data_directory.exists():
        return True  # Whoever makes it will see.
    left = look(settings.data_directory)
    enough = left.bytes >= settings.disk_spare_bytes // 4 and left.files >= FILES_NEEDED
    return enough and not refusal(settings)


def _tend_spare(settings: Settings, look: Look) -> None:
    """Give up the spare when nothing else is left, make it again when there is plenty."""
    left = look(settings.data_directory)
    if left.bytes < settings.disk_spare_bytes // 4 or left.files < FILES_NEEDED:
        _give_up_spare(settings)
        return
    plenty = left.bytes >= settings.disk_reserve_bytes + settings.disk_spare_bytes
    if plenty and left.files >= FILES_RESERVED + SPARE_FILES:
        _set_aside(settings)


def _give_up_spare(settings: Settings) -> None:
    folder = settings.data_directory / SPARE
    files = sorted(folder.glob("*")) if folder.exists() else []
    for file in files:
        with suppress(OSError):  # A disk that is read-only lets nothing go either.
            file.unlink(missing_ok=True)
    if files:
        journal.critical("spare_given_up", path=str(folder), remedy="make room")


def _set_aside(settings: Settings) -> None:
    """The spare is there, every byte of it really on the disk."""
    folder = settings.data_directory / SPARE
    each = settings.disk_spare_bytes // SPARE_FILES
    if not each or _is_whole(folder, each):
        return
    with suppress(OSError):  # Somebody was faster to take the room: it is tried again.
        folder.mkdir(mode=0o700, exist_ok=True)
        for nth in range(SPARE_FILES):
            descriptor = os.open(folder / f"{nth:02}", os.O_WRONLY | os.O_CREAT, 0o600)
            try:
                os.posix_fallocate(descriptor, 0, each)
            finally:
                os.close(descriptor)


def _is_whole(folder: Path, each: int) -> bool:
    """Whether all files of the spare are there and have *each* so many bytes."""
    files = list(folder.iterdir()) if folder.exists() else []
    filled = [one for one in files if one.stat().st_size >= each]  # One may have got no room.
    return len(filled) == len(files) == SPARE_FILES

"""What kind of place a data directory lies in: who else writes there, and on what disk.

A log that a sync service copies back and forth, or that lands in a git history, is a log that is
lost or told to strangers sooner or later; so both are looked for before anything is written.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil

SYNCED_NAMES = {
    "dropbox": "Dropbox",
    "onedrive": "OneDrive",
    "icloud": "iCloud Drive",
    "com~apple~clouddocs": "iCloud Drive",
    "mobile documents": "iCloud Drive",
    "nextcloud": "Nextcloud",
    "owncloud": "ownCloud",
    "google drive": "Google Drive",
    "googledrive": "Google Drive",
    "my drive": "Google Drive",
    "box sync": "Box",
    "pcloud": "pCloud",
    "pclouddrive": "pCloud",
    "megasync": "MEGA",
    "synology drive": "Synology Drive",
    "synologydrive": "Synology Drive",
}
"""Directories by whose names sync services are known, in lower case."""

SYNCED_MARKS = {
    ".dropbox": "Dropbox",
    ".dropbox.cache": "Dropbox",
    ".stfolder": "Syncthing",
    ".stignore": "Syncthing",
    ".sync_folder": "a sync service",
    ".nextcloudsync.log": "Nextcloud",
    ".owncloudsync.log": "ownCloud",
    ".SynologyWorkingDirectory": "Synology Drive",
}
"""What sync services leave behind at the top of what they sync; `_sync_*.db` is Nextcloud's."""

NETWORKED = frozenset({"nfs", "nfs4", "cifs", "smb", "smb3", "smbfs", "afpfs", "9p", "davfs"})
CLUSTERED = frozenset({"glusterfs", "ceph", "fuse.glusterfs", "fuse.ceph"})
BRIDGED = frozenset({"sshfs", "fuse.sshfs", "fuse.rclone", "fuse.s3fs"})
REMOTE = NETWORKED | CLUSTERED | BRIDGED
FORGETFUL = frozenset({"tmpfs", "ramfs", "devtmpfs"})


@dataclass(frozen=True, slots=True)
class Hazard:
    """What is wrong with a place, and what to do about it."""

    what: str
    remedy: str


@dataclass(frozen=True, slots=True)
class Volume:
    """The file system that a path lies on. `kind` is `unknown` when the system does not say."""

    mount: str
    kind: str


def hazards(path: Path) -> list[Hazard]:
    """Who else would write to, or publish, what lies at *path*; it need not exist yet."""
    path = path.expanduser().resolve()
    elsewhere = "Choose another place with --data or CANOPY_DATA."
    found = []
    if (top := _git_top(path)) is not None:
        found.append(Hazard(f"{path} lies in the git work tree {top}.", elsewhere))
    if (service := _synced_by(path)) is not None:
        found.append(Hazard(f"{path} is synced by {service}.", elsewhere))
    return found


def volume(path: Path) -> Volume:
    """The file system that holds *path*, or will."""
    path = existing(path)
    best = Volume("", "unknown")
    for partition in psutil.disk_partitions(all=True):
        mount = Path(partition.mountpoint)
        if path.is_relative_to(mount) and len(partition.mountpoint) >= len(best.mount):
            best = Volume(partition.mountpoint, partition.fstype or "unknown")
    return best


def existing(path: Path) -> Path:
    """*path* itself, or the nearest directory above it that is there."""
    path = path.expanduser().resolve()
    return next((one for one in (path, *path.parents) if one.exists()), Path("/"))


def _git_top(path: Path) -> Path | None:
    return next((one for one in (path, *path.parents) if (one / ".git").exists()), None)


def _synced_by(path: Path) -> str | None:
    for one in (path, *path.parents):
        name = one.name.casefold()
        for known, service in SYNCED_NAMES.items():
            if name == known or name.startswith((f"{known} ", f"{known}-", f"{known} (")):
                return service
        if (marked := next(_marks(one), None)) is not None:
            return marked
    return None


def _marks(directory: Path) -> Iterator[str]:
    for mark, service in SYNCED_MARKS.items():
        if os.path.lexists(directory / mark):
            yield service
    readable = directory.is_dir() and os.access(directory, os.R_OK)
    if readable and any(any(directory.glob(mark)) for mark in ("._sync_*.db", ".sync_*.db")):
        yield "Nextcloud"

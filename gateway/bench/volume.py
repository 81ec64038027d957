"""A small disk of one's own whose power can be cut: an ext4 file system in a file, for root.

The cut is the file system's own forced shutdown without a flush of its journal: what was not synced
is gone, as it would be with the power. Mounted again, the journal is replayed.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import struct
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from secrets import token_hex
from typing import ClassVar

EXT4_IOC_SHUTDOWN = 0x8004587D
NO_LOG_FLUSH = 2
TOOLS = ("mkfs.ext4", "mount", "umount", "losetup", "cp")
TOOL_S = 60.0
UNMOUNT_TRIES = 50
UNMOUNT_S = 0.1


class NoVolume(Exception):
    """There can be no volume here; the text says what is missing."""

    remedy: ClassVar[str] = "Run this as root on Linux, with e2fsprogs and free loop devices."


@dataclass
class Volume:
    """A mounted file system at `path`. Its methods block."""

    image: Path
    path: Path

    def cut(self) -> None:
        """The power is gone: from here on every write fails, and nothing unsynced reaches the
        disk."""
        descriptor = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.ioctl(descriptor, EXT4_IOC_SHUTDOWN, struct.pack("I", NO_LOG_FLUSH))
        finally:
            os.close(descriptor)

    def abort(self) -> None:
        """The disk has failed and the kernel has made it read-only, open files or not."""
        _run("mount", "-o", "remount,abort", str(self.path))

    def protect(self, *, read_only: bool) -> None:
        """It takes nothing, or everything again. Nobody may have a file open to write."""
        _run("mount", "-o", "remount,ro" if read_only else "remount,rw", str(self.path))

    def remount(self) -> None:
        """The power is back and the journal replayed. Nobody may have a file open."""
        for last in (False,) * UNMOUNT_TRIES + (True,):
            try:
                _run("umount", str(self.path))
                break
            except NoVolume:
                if last:
                    raise
                time.sleep(UNMOUNT_S)  # Who was killed lets go of his files a moment later.
        if _run("losetup", "-j", str(self.image)):
            # Another mount namespace still holds the dead file system, and a second mount of the
            # same disk would be that one: go on with a copy of what had reached it.
            copy = self.image.with_name(f"{self.image.name}.{token_hex(4)}")
            _run("cp", "--sparse=always", str(self.image), str(copy))
            self.image.unlink()
            self.image = copy
        self.mount()

    def mount(self) -> None:
        _run("mount", "-o", "loop,errors=remount-ro", str(self.image), str(self.path))


@contextmanager
def volume(directory: Path, size_bytes: int, files: int = 0) -> Iterator[Volume]:
    """A fresh volume of *size_bytes*, with room for so many *files* if that is said, below
    *directory*; gone when the block ends. Raises `NoVolume`."""
    missing = [tool for tool in TOOLS if shutil.which(tool) is None]
    if os.geteuid() != 0 or missing:
        raise NoVolume(f"not root, or missing: {', '.join(missing) or 'nothing else'}")
    image, path = directory / "disk.img", directory / "disk"
    path.mkdir(parents=True, exist_ok=True)
    with image.open("wb") as file:
        file.truncate(size_bytes)
    inodes = ("-N", str(files)) if files else ()
    _run("mkfs.ext4", "-q", "-F", "-m", "0", *inodes, str(image))
    made = Volume(image, path)
    made.mount()
    try:
        yield made
    finally:
        _run("umount", "--lazy", str(path))
        made.image.unlink()


def _run(*words: str) -> str:
    """What *words* said, once they are done. Raises `NoVolume` with what they complained of."""
    ran = subprocess.run(  # noqa: S603  # words of our own
        words, capture_output=True, text=True, timeout=TOOL_S, check=False
    )
    if ran.returncode:
        raise NoVolume(f"{' '.join(words)}: {ran.stderr.strip()}")
    return ran.stdout.strip()

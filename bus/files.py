"""Small private files that must be whole after any crash: written durably, replaced atomically."""

from __future__ import annotations

import os
from pathlib import Path
from secrets import token_hex


def written(path: Path, text: str, *, replace: bool = True) -> None:
    """*text* is durably at *path*, mode 0600, and never half of it.

    Without *replace* an existing file is left alone and FileExistsError raised.
    """
    written_bytes(path, text.encode(), replace=replace)


def written_bytes(path: Path, data: bytes, *, replace: bool = True) -> None:
    """*data* is durably at *path*, as `written` has it."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    draft = path.with_name(f".{path.name}.{token_hex(8)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        if replace:
            draft.replace(path)
        else:
            os.link(draft, path)  # A rename would overwrite what another process made meanwhile.
    finally:
        draft.unlink(missing_ok=True)
    sync_directory(path.parent)


def sync_directory(path: Path) -> None:
    """A new name is durable only once its directory is."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

"""Where a node's identity is kept: `identity.json`, readable by its owner alone.

Losing this file is losing the node's name and every key derived from it, so it is written once,
durably, and never made anew beside a log that an earlier identity has written.
"""

from __future__ import annotations

import fcntl
import json
import os
import stat
from base64 import b64decode, b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bus.crypto.identity import SECRET_BYTES, Identity, Secrets, identity, new_secrets
from bus.crypto.passphrase import Cost, PassphraseWrong, lock, unlock
from bus.files import written
from bus.storage import lock_file
from schemas.settings import PASSPHRASE_CHARACTERS_MIN

FILE = "identity.json"
LOG_DIRECTORY = Path("nats", "jetstream")
RESTORING = ".restoring"
"""Where a node is put together again before it takes its place (`gateway.restore`)."""
VERSION = 1


class IdentityUnusable(Exception):
    """The node cannot become itself; the text says which file and what to do."""


class PassphraseMissing(IdentityUnusable):
    """The identity is sealed under a passphrase and none was given."""


class PassphraseWeak(IdentityUnusable):
    """Nothing is sealed under a passphrase that can be guessed; what was, still opens."""


class NoNode(IdentityUnusable):
    """There is no node in that data directory."""


def require_node(directory: Path) -> None:
    """Returns where a node lives, or what it left. Raises `NoNode`: none is made there unasked."""
    if not any(((directory / FILE).exists(), (directory / RESTORING).exists(), _log_in(directory))):
        raise NoNode(f"There is no node in {directory}.")


def identify(directory: Path, passphrase: str | None = None, cost: Cost | None = None) -> Identity:
    """The identity of the node in *directory*, made on its first start.

    With a passphrase the secrets are sealed under it; an identity that lay open so far is sealed
    now. *cost* is the price of guessing the passphrase. Raises `IdentityUnusable`, also for a wrong
    passphrase, `PassphraseMissing` or `PassphraseWeak`; takes about 0.4 s with a passphrase.
    """
    path = directory / FILE
    cost = cost or Cost()
    if not path.exists():
        _refuse_beside_a_log(directory)
        made = identity(new_secrets())
        written(path, json.dumps(_record(made, passphrase, cost), indent=1), replace=False)
        return made
    with _alone(directory):
        record = _read(path)
    found = _revive(path, record, passphrase)
    if passphrase is None or "locked" in record:
        return found
    sealed = _record(found, passphrase, cost)
    with _alone(directory):
        record = _read(path)  # Another process may have named the vault, or sealed it, meanwhile.
        if "locked" in record:
            return _revive(path, record, passphrase)
        _rewrite(path, sealed | {k: record[k] for k in ("vault",) if k in record})
    return found


def vault_name(directory: Path) -> str:
    """The vault that belongs to the identity in *directory*; empty while it has none yet."""
    with _alone(directory):
        return str(_read(directory / FILE).get("vault", ""))


def name_vault(directory: Path, name: str) -> None:
    """From now on the identity in *directory* is nothing without the vault of that *name*."""
    path = directory / FILE
    with _alone(directory):
        _rewrite(path, _read(path) | {"vault": name})


def require_strength(passphrase: str | None) -> None:
    """Returns when secrets may be sealed under *passphrase*, or are to lie open. Raises
    `PassphraseWeak`."""
    if passphrase is not None and len(passphrase) < PASSPHRASE_CHARACTERS_MIN:
        raise PassphraseWeak(
            f"CANOPY_PASSPHRASE has less than {PASSPHRASE_CHARACTERS_MIN} characters, and all that "
            "the node keeps secret would depend on it"
        )


def keep(directory: Path, made: Identity, passphrase: str | None, cost: Cost | None = None) -> None:
    """*made* is the identity of the node in *directory*, which had none: its log was restored."""
    record = _record(made, passphrase, cost or Cost())
    written(directory / FILE, json.dumps(record, indent=1), replace=False)


@contextmanager
def _alone(directory: Path) -> Iterator[None]:
    """Nobody else reads or changes the identity in *directory* until the block ends."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        lock_file(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _rewrite(path: Path, record: dict[str, Any]) -> None:
    """*record* is what the identity says; of what it said, the blocks hold zeros: the secrets may
    have lain open in it. A crash in between leaves them in a file that is gone (ADR 0016)."""
    with path.open("r+b") as before:
        written(path, json.dumps(record, indent=1))
        before.write(b"\0" * os.fstat(before.fileno()).st_size)
        before.flush()
        os.fsync(before.fileno())


def _refuse_beside_a_log(directory: Path) -> None:
    if (directory / RESTORING).exists():
        raise IdentityUnusable(
            f"{directory} holds a restore that is not finished. Run the same `canopy restore` "
            f"again, or remove {directory / RESTORING}."
        )
    if _log_in(directory):
        raise IdentityUnusable(
            f"{directory} holds a log but no {FILE}. Restore {FILE} from your backup, "
            "or start with another data directory; a new identity could not vouch for that log."
        )


def _log_in(directory: Path) -> bool:
    log = directory / LOG_DIRECTORY
    return log.is_dir() and any(log.iterdir())


def _record(of: Identity, passphrase: str | None, cost: Cost) -> dict[str, Any]:
    require_strength(passphrase)
    record: dict[str, Any] = {
        "v": VERSION,
        "node": of.node_id,
        "verify_key": b64encode(of.verify_key).decode(),
        "exchange_key": b64encode(of.exchange_key).decode(),
        "binding": b64encode(of.sign("bind-exchange", of.exchange_key)).decode(),
    }
    if passphrase is not None:
        return record | {"locked": lock(of.secrets, passphrase, cost)}
    secrets = of.secrets
    names = ("signing", "exchange", "root")
    return record | {"secrets": {n: b64encode(getattr(secrets, n)).decode() for n in names}}


def _read(path: Path) -> dict[str, Any]:
    mode = stat.S_IMODE(path.stat().st_mode)
    if mode & 0o077:
        raise IdentityUnusable(f"{path} can be read by others (mode {mode:o}): chmod 600 {path}")
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise _damaged(path) from error
    if not isinstance(record, dict) or record.get("v") != VERSION:
        raise _damaged(path)
    return record


def _revive(path: Path, record: dict[str, Any], passphrase: str | None) -> Identity:
    try:
        if "locked" in record:
            if passphrase is None:
                raise PassphraseMissing(f"{path} is sealed: set CANOPY_PASSPHRASE to open it")
            secrets = unlock(record["locked"], passphrase)
        else:
            names = ("signing", "exchange", "root")
            secrets = Secrets(*(b64decode(record["secrets"][n], validate=True) for n in names))
        found = identity(secrets)
        public = (found.node_id, b64encode(found.verify_key).decode())
        told = (record["node"], record["verify_key"])
        same_exchange = b64encode(found.exchange_key).decode() == record["exchange_key"]
    except PassphraseWrong as error:
        raise IdentityUnusable(
            f"{path} is sealed under another passphrase: set CANOPY_PASSPHRASE to that one"
        ) from error
    except (KeyError, ValueError, TypeError) as error:
        raise _damaged(path) from error
    if public != told or not same_exchange or len(secrets.root) != SECRET_BYTES:
        raise _damaged(path)
    return found


def _damaged(path: Path) -> IdentityUnusable:
    return IdentityUnusable(f"{path} is damaged: restore it from your backup")

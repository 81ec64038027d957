"""What is well with what a node keeps, whether it runs or not: its log and its vault."""

from __future__ import annotations

from pathlib import Path

from bus import marks
from bus.crypto.identity import Identity
from bus.identity_file import FILE, IdentityUnusable, PassphraseMissing, identify, vault_name
from bus.key_table import VaultUnusable
from bus.notary import attested
from bus.vault_file import whole
from gateway.finding import Finding
from gateway.node import passphrase
from schemas.settings import Settings


def log(settings: Settings) -> Finding:
    """Whether the log is known to be damaged."""
    if not marks.path(settings).exists():
        return Finding("log", "ok", "not begun yet")
    known = attested(settings)
    if known.fault is not None:
        what = f"{known.fault.text}, from position {known.fault.seq}."
        return Finding(
            "log", "fail", what, f"{known.fault.remedy[:1].upper()}{known.fault.remedy[1:]}."
        )
    return Finding("log", "ok", f"hashed up to {known.seq:,}, nothing known to be wrong")


def vault(settings: Settings) -> Finding:
    """Whether the vault opens for the identity beside it, as it has to at the next start."""
    data = settings.data_directory
    if not (data / FILE).exists():
        return Finding("vault", "ok", "not begun yet")
    try:
        name = vault_name(data)
        with whole(data, _identity(data, settings), name):
            return Finding("vault", "ok", "it opens" if name else "not begun yet")
    except PassphraseMissing:
        what = "The identity is sealed, so the vault cannot be looked at."
        return Finding("vault", "warn", what, "Set CANOPY_PASSPHRASE.")
    except VaultUnusable as error:
        return Finding("vault", "fail", f"{error.problem}.", error.remedy)
    except (IdentityUnusable, OSError) as error:
        return Finding(
            "vault", "fail", f"{error}.", f"Put back {FILE} and the vault of one backup."
        )


def _identity(data: Path, settings: Settings) -> Identity:
    """The identity that lies there, left as it is: one that lies open is not sealed here."""
    try:
        return identify(data)
    except PassphraseMissing:
        return identify(data, passphrase(settings))

"""Passwords: asked for without echo, taken from CANOPY_PASSWORD, or made up. Never an option.

An option would be seen by every program of the machine and kept in the shell's history.
"""

from __future__ import annotations

import os
import secrets
import string

import typer

from gateway.cli.exits import Exit, Failure
from gateway.cli.terminal import Terminal
from schemas.settings import PASSPHRASE_CHARACTERS_MIN

VARIABLE = "CANOPY_PASSWORD"
BACKUP_VARIABLE = "CANOPY_BACKUP_PASSPHRASE"
UNGUESSED = "Take some words that nobody would guess together."
GENERATED_CHARACTERS = 24
CLASSES = (string.ascii_uppercase, string.ascii_lowercase, string.digits, "-_.!?+")


def given() -> str:
    """The password in the environment, empty when there is none."""
    return os.environ.get(VARIABLE, "")


def ask(terminal: Terminal, username: str, *, new: bool) -> str:
    """The password of *username*, a *new* one typed twice. Raises `Failure` if nobody is there."""
    if password := given():
        return password
    if not terminal.interactive:
        raise Failure(
            Exit.USAGE,
            f"The password of {username} is needed, and nobody is there to type it.",
            f"Put it into {VARIABLE}.",
            "password_needed",
        )
    return str(
        typer.prompt(f"Password of {username}", hide_input=True, confirmation_prompt=new, err=True)
    )


def passphrase(terminal: Terminal, *, new: bool) -> str:
    """The passphrase of a backup's keys, a *new* one typed twice. Raises `Failure`."""
    told = os.environ.get(BACKUP_VARIABLE, "")
    if not told and not terminal.interactive:
        raise Failure(
            Exit.USAGE,
            "The passphrase of the backup's keys is needed, and nobody is there to type it.",
            f"Put it into {BACKUP_VARIABLE}.",
            "passphrase_needed",
        )
    if not told:
        prompt = "Passphrase of the keys in the backup"
        told = str(typer.prompt(prompt, hide_input=True, confirmation_prompt=new, err=True))
    if new and len(told) < PASSPHRASE_CHARACTERS_MIN:
        raise Failure(
            Exit.USAGE,
            f"The passphrase has less than {PASSPHRASE_CHARACTERS_MIN} characters, and all that "
            "was said in private will depend on it.",
            UNGUESSED,
            "passphrase_weak",
        )
    return told


def made_up() -> str:
    """A random password that has what every password must have."""
    every = "".join(CLASSES)
    signs = [secrets.choice(some) for some in CLASSES]
    signs += [secrets.choice(every) for _ in range(GENERATED_CHARACTERS - len(signs))]
    secrets.SystemRandom().shuffle(signs)
    return "".join(signs)

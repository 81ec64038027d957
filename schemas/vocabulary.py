"""The vocabulary in one place: every noun with its commands and its events."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, get_args, get_origin

from schemas.account import AccountCommand, AccountEvent
from schemas.channel import ChannelCommand, ChannelEvent
from schemas.cursor import CursorCommand, CursorEvent
from schemas.envelope import Command, Event
from schemas.message import MessageCommand, MessageEvent
from schemas.receipt import ReceiptCommand, ReceiptEvent
from schemas.workspace import WorkspaceCommand, WorkspaceEvent


@dataclass(frozen=True)
class Noun:
    """One noun: its name, the form of its key, its command and its event classes."""

    name: str
    key: str
    commands: tuple[type[Command], ...]
    events: tuple[type[Event], ...]


def _noun(name: str, key: str, commands: Any, events: Any) -> Noun:
    return Noun(name, key, _classes(commands), _classes(events))


def _classes(union: Any) -> tuple[Any, ...]:
    """The classes of a union, whether it names its discriminator or not, or of one class."""
    bare = get_args(union)[0] if get_origin(union) is Annotated else union
    return get_args(bare) or (bare,)


NOUNS: dict[str, Noun] = {
    noun.name: noun
    for noun in (
        _noun("account", "<account>", AccountCommand, AccountEvent),
        _noun("channel", "<channel>", ChannelCommand, ChannelEvent),
        _noun("cursor", "<channel>.<account>", CursorCommand, CursorEvent),
        _noun("message", "<channel>.<message>", MessageCommand, MessageEvent),
        _noun("receipt", "<command>", ReceiptCommand, ReceiptEvent),
        _noun("workspace", "main", WorkspaceCommand, WorkspaceEvent),
    )
}

COMMANDS: dict[str, type[Command]] = {
    one.model_fields["kind"].default: one for noun in NOUNS.values() for one in noun.commands
}
EVENTS: dict[str, type[Event]] = {
    event.model_fields["kind"].default: event for noun in NOUNS.values() for event in noun.events
}

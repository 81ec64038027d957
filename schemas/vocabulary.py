"""The vocabulary in one place: every noun with its commands and its events."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, get_args

from pydantic import TypeAdapter

from schemas.account import AccountCommand, AccountEvent
from schemas.channel import ChannelCommand, ChannelEvent
from schemas.cursor import CursorCommand, CursorEvent
from schemas.envelope import Event
from schemas.message import MessageCommand, MessageEvent
from schemas.workspace import WorkspaceCommand, WorkspaceEvent


@dataclass(frozen=True)
class Noun:
    """One noun: its name, the form of its key, its commands (a union) and its event classes."""

    name: str
    key: str
    commands: TypeAdapter[Any]
    events: tuple[type[Event], ...]


def _noun(name: str, key: str, commands: Any, events: Any) -> Noun:
    return Noun(name, key, TypeAdapter(commands), get_args(events) or (events,))


NOUNS: dict[str, Noun] = {
    noun.name: noun
    for noun in (
        _noun("account", "<account>", AccountCommand, AccountEvent),
        _noun("channel", "<channel>", ChannelCommand, ChannelEvent),
        _noun("cursor", "<channel>.<account>", CursorCommand, CursorEvent),
        _noun("message", "<channel>.<message>", MessageCommand, MessageEvent),
        _noun("workspace", "main", WorkspaceCommand, WorkspaceEvent),
    )
}

EVENTS: dict[str, type[Event]] = {
    event.model_fields["kind"].default: event for noun in NOUNS.values() for event in noun.events
}

"""Who a text mentions: `@` and a handle of 2 to 49 letters, digits, `_ . -`, alphanumeric at both
ends, not preceded by a character of a handle or another `@` (so that e-mail addresses do not
count; `**@ann**` does).
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from gateway.directory import Channel, Directory

HANDLE_CHARACTERS_MIN = 2
HANDLE_CHARACTERS_MAX = 49
_RUN = re.compile(r"(?<![A-Za-z0-9_.@-])@([A-Za-z0-9][A-Za-z0-9_.-]*)")


def handles(text: str) -> Iterator[str]:
    """The handles in *text*, in order, without their `@`; repeated ones are repeated."""
    for run in _RUN.finditer(text) if "@" in text else ():
        handle = run[1].rstrip("_.-")
        if HANDLE_CHARACTERS_MIN <= len(handle) <= HANDLE_CHARACTERS_MAX:
            yield handle


def mentioned(text: str, channel: Channel, author_id: str, directory: Directory) -> tuple[str, ...]:
    """The ids of the accounts that *text* calls: members who have not muted the channel, once each.

    Nobody mentions himself.
    """
    found: dict[str, None] = {}
    for handle in handles(text):
        account = directory.by_username(handle)
        if (
            account is not None
            and account.id != author_id
            and account.id not in channel.muted
            and directory.role(channel.id, account.id) is not None
        ):
            found[account.id] = None
    return tuple(found)

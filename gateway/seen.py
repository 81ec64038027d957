"""Read your writes without asking: the last position that each account was answered with.

Not while the disk takes nothing into the tables: who wrote just before would be shut out from all
that they do hold, for as long as the disk is not mended.
"""

from __future__ import annotations

from collections.abc import Callable

ACCOUNTS_MAX = 10_000


class Seen:
    """Positions that reads of an account have to wait for, as far as they lie ahead."""

    def __init__(self, position: Callable[[], int], forgone: Callable[[], int]) -> None:
        """*position* tells how far the tables are: what they know need not be remembered;
        *forgone* up to where waiting for them is in vain at present."""
        self._position = position
        self._forgone = forgone
        self._seen: dict[str, int] = {}

    def note(self, account_id: str, seq: int) -> None:
        """An answer told this account of *seq*."""
        if seq > self._seen.get(account_id, 0):
            self._seen[account_id] = seq
        if len(self._seen) > ACCOUNTS_MAX:
            position = self._position()
            self._seen = {account: at for account, at in self._seen.items() if at > position}

    def of(self, account_id: str) -> int:
        """The position that a read of this account must have reached."""
        seq = self._seen.get(account_id, 0)
        return seq if seq > self._forgone() else 0

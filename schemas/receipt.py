"""Receipts: what a request that carried an Idempotency-Key was answered (`<command>`).

The key of a receipt is the id that the request's command has; the request itself is told by the
`fingerprint` in the header of the commit. A receipt is sealed by the node that answered: an answer
may hold a secret, such as a new API key. One that holds what was said in private is sealed under
the `key` in the vault that this was sealed under, and is erased with it.
"""

from __future__ import annotations

from typing import Literal

from schemas.envelope import Command, Event


class KeepReceipt(Command):
    """The first receipt of a request is kept; there is no second."""

    kind: Literal["keep_receipt"] = "keep_receipt"
    sealed: str
    key: str = ""


ReceiptCommand = KeepReceipt


class ReceiptKept(Event):
    kind: Literal["receipt_kept"] = "receipt_kept"
    sealed: str
    key: str = ""


ReceiptEvent = ReceiptKept

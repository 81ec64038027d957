"""A receipt: what one request was answered. The first one is for ever."""

from __future__ import annotations

from dataclasses import dataclass, field

from actors.aggregate import Aggregate
from actors.register import Register
from schemas.envelope import Header, Id
from schemas.receipt import KeepReceipt, ReceiptKept
from schemas.vocabulary import NOUNS


@dataclass(frozen=True)
class Receipt:
    """What is kept, sealed; None while nothing is."""

    sealed: Register[str | None] = field(default_factory=lambda: Register[str | None](None))


def decide(command: KeepReceipt, receipt: Receipt, author: Id) -> tuple[ReceiptKept, ...]:
    """The receipt, if it is the first."""
    kept = receipt.sealed.value is not None
    return () if kept else (ReceiptKept(sealed=command.sealed, key=command.key),)


def evolve(receipt: Receipt, event: ReceiptKept, header: Header) -> Receipt:
    """The receipt after *event*: the first that any node has kept."""
    return Receipt(receipt.sealed.claimed(event.sealed, header.stamp))


RECEIPT = Aggregate(
    "receipt", Receipt(), decide, evolve, NOUNS["receipt"].commands, opens="keep_receipt"
)

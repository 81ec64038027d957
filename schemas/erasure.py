"""Erasure: that the keys of what an aggregate has said in private are destroyed.

One vocabulary for every noun that can say something in private: messages one by one, and channels
with all that was ever said in them.
"""

from __future__ import annotations

from typing import Literal

from schemas.envelope import Command, Event


class RecordErasure(Command):
    """The keys are destroyed: only to be wished once that is so."""

    kind: Literal["record_erasure"] = "record_erasure"


class ContentErased(Event):
    """Nothing opens any longer what was said, here or in any copy of the log."""

    kind: Literal["content_erased"] = "content_erased"

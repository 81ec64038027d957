"""The alarm: the log has lost or changed something, so nothing more is added to it.

It is a small durable file beside the marks, so that every process of the node hears it, and one
that is started again too. Reading goes on. Only what proves the log again lifts it: the notary,
from end to end, or the owner, who vouches for the log as it is (`canopy vouch`).
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Literal, Never

import msgspec
import structlog
from msgspec import Struct

from bus.faults import point
from bus.group_commit import GroupCommit
from bus.log import REMEDY
from bus.marks import storage
from bus.storage import Storage
from schemas.settings import Settings

FILE = "alarm"
VOUCH = "or, to go on with the log as it is, vouch for it with `canopy vouch`"

Kind = Literal[
    "tail_lost",  # the log ends before what was acknowledged
    "commit_missing",  # a position cannot be read though later ones lie behind it
    "commit_changed",  # what is read is not what was hashed
    "number_reused",  # a position was given twice
    "log_foreign",  # another log lies in the place of this one
    "tables_ahead",  # the tables know more than the log
    "marks_absent",  # nothing beside the log says what it should hold
    "marks_damaged",  # what says so cannot be read
]
LASTING: frozenset[Kind] = frozenset({"tables_ahead"})
"""What a log that is whole in itself does not disprove: only the owner lifts these."""
GAPS: frozenset[Kind] = frozenset({"commit_missing"})
"""What nobody can vouch for: no marks can be made of a log that cannot be read on."""

journal = structlog.get_logger()


class Fault(Struct, frozen=True):
    """What is wrong with the log: `seq` is the first position that is, or may be."""

    kind: Kind
    seq: int
    text: str

    @property
    def remedy(self) -> str:
        """What to do."""
        return REMEDY if self.kind in GAPS else f"{REMEDY}; {VOUCH}"

    @property
    def words(self) -> str:
        """What is wrong and what to do, for people."""
        return f"{self.text} (from position {self.seq}): {self.remedy}"


class Broken(Exception):
    """The log is not what it was: see `fault`."""

    def __init__(self, fault: Fault) -> None:
        super().__init__(fault.words)
        self.fault = fault


class Alarm:
    """The alarm of one node, as one room sees it. Its methods block."""

    def __init__(self, kept: Storage) -> None:
        self._kept = kept

    def standing(self) -> Fault | None:
        """What the alarm is about; None while there is none."""
        try:
            data = self._kept.read(FILE)
        except FileNotFoundError:
            return None
        try:
            return msgspec.json.decode(data, type=Fault)
        except (msgspec.MsgspecError, UnicodeDecodeError):
            return Fault("marks_damaged", 1, f"marks/{FILE} cannot be read")

    def sound(self, fault: Fault) -> None:
        """Nothing is added to the log any more, in any process; the first fault stays."""
        if self.standing() is None:
            journal.critical("log_damaged", kind=fault.kind, seq=fault.seq, reason=fault.words)
            self._kept.replace(FILE, msgspec.json.encode(fault))
            point("alarm.sounded")

    def lift(self) -> None:
        """The log is whole; commits are taken again."""
        if self.standing() is not None:
            self._kept.remove(FILE)
            journal.warning("log_whole", remedy="none needed: commits are taken again")

    def close(self) -> None:
        self._kept.close()


def sound(settings: Settings, fault: Fault) -> None:
    """Sound the alarm of this data directory. Blocks."""
    alarm = Alarm(storage(settings))
    try:
        alarm.sound(fault)
    finally:
        alarm.close()


async def heed(writer: GroupCommit, settings: Settings) -> Never:
    """Let *writer* take nothing while the alarm stands, looking again and again, for ever.

    What the writer has found itself is written down first: until that is so, it takes nothing.
    """
    alarm, mute = Alarm(storage(settings)), False
    try:
        while True:
            writer.hurt.clear()
            try:
                await _look(alarm, writer)
                mute = False
            except OSError as error:
                if not mute:
                    journal.critical("alarm_unwritten", reason=str(error), remedy="make room")
                mute = True  # Once is enough, and it is tried again and again.
            with suppress(TimeoutError):
                async with asyncio.timeout(settings.alarm_every_s):
                    await writer.hurt.wait()
    finally:
        alarm.close()


async def _look(alarm: Alarm, writer: GroupCommit) -> None:
    """Raises OSError when the alarm cannot be read or written: then *writer* stays as it is."""
    found = writer.reused
    if found is not None:
        await asyncio.to_thread(alarm.sound, Fault("number_reused", found.seq, str(found)))
        writer.reused = None
    standing = await asyncio.to_thread(alarm.standing)
    if standing is not None:
        writer.damaged = standing.words
    elif writer.reused is None:  # Another may have been found meanwhile.
        writer.damaged = ""

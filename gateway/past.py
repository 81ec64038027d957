"""The past, open to every reader: `?at=` names a position or a time, and a read answers from then.

Tables only grow and every row has its position, so what they held is a filter (ADR 0017). Who asks
is told from today's credentials; what he may see is decided from the rights of then; and what has
been deleted or has expired since is gone from every past.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
from pydantic import BaseModel

from actors.commit import queries
from bus.clock import iso_ms
from bus.turns import Turns
from gateway import policy
from gateway.directory import Directory
from gateway.errors import refuse, wrong
from gateway.parameters import POSITION
from gateway.policy import Principal, Verb
from gateway.reads import Reads
from schemas.envelope import Refused

AT = "at"
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_POSITION = re.compile(POSITION)
_TIME = re.compile(
    r"(\d{4}-\d{2}-\d{2})[Tt ](\d{2}:\d{2}):(\d{2})(\.\d+)?(?:[Zz]|([+ -]\d{2}:\d{2}))"
)
"""RFC 3339. A `+` that was not escaped in a URL arrives as a space."""

FORM = "a position of the log (4711) or a time (2026-11-21T05:29:37Z, RFC 3339)"


Head = Callable[[], Awaitable[int]]


@dataclass(frozen=True, slots=True)
class Moment:
    """One point of the past: the position `seq`, which was reached at `ms` (since 1970).

    `directory` is who was who then, `today` who is now; `today_ms` is the time of asking.
    """

    seq: int
    ms: int
    directory: Directory
    today: Directory
    today_ms: int

    def then(self, principal: Principal, verb: Verb) -> Principal:
        """*principal*, with the credential of today and the standing of then.

        Raises `Refused` when that was not enough for *verb*.
        """
        account = self.directory.account(principal.id)
        if account is None:
            raise refuse(
                "before_account",
                f"The account came after position {self.seq}: ask for a later one.",
            )
        owner = self.directory.owner_id == principal.id
        known = msgspec.structs.replace(principal, account=account, owner=owner)
        try:
            policy.admit(known, verb)
        except Refused as refused:
            message = f"As of position {self.seq}: {refused.message}"
            raise Refused(refused.code, message, refused.detail) from refused
        return known


class Past:
    """Finds moments, and keeps the directories of some of them."""

    def __init__(self, reads: Reads, directories_max: int) -> None:
        self._reads = reads
        self._directories_max = directories_max
        self._directories: OrderedDict[int, Directory] = OrderedDict()
        self._turns = Turns()

    async def moment(self, text: str, head: Head, today_ms: int) -> Moment:
        """The moment that *text* names, once the tables know it; *head* gives the log's end.

        Raises `Refused` for what is no moment or has yet to come, and `Behind`.
        """
        reads, ms = self._reads, None
        if _POSITION.fullmatch(text):
            seq = int(text)
            if seq > reads.position and seq > await head():
                raise refuse("position_ahead", f"The log ends before position {seq}.")
            await reads.reached(seq)
        else:
            ms = _milliseconds(text)
            if ms > today_ms:
                message = f"{text} has yet to come: here it is {iso_ms(today_ms)}."
                raise refuse("position_ahead", message)
            seq = await self._position(ms, head)
        (row,) = await reads.rows(queries.STANDING, [seq])
        directory = await self._directory(row["standing"])
        told_ms = (row["ms"] or 0) if ms is None else ms
        return Moment(seq, told_ms, directory, reads.directory, today_ms)

    async def _position(self, ms: int, head: Head) -> int:
        """The last position before anything later than *ms*."""
        reads = self._reads
        args = [iso_ms(ms)]
        (row,) = await reads.rows(queries.BY_TIME, args)
        if row["seq"] is None:
            # Nothing later that the tables know of; the log may know more of that time.
            known = await head()
            await reads.reached(known)
            (row,) = await reads.rows(queries.BY_TIME, args)
            return int(known if row["seq"] is None else row["seq"])
        return int(row["seq"])

    async def _directory(self, standing: int) -> Directory:
        """Who was who at the position *standing*."""
        async with self._turns.of(str(standing)):
            directory = self._directories.get(standing)
            if directory is None:
                directory = Directory()

                async def rows(sql: str, args: Sequence[Any]) -> list[dict[str, Any]]:
                    return await self._reads.rows(sql, args, standing)

                await directory.load(rows)
                self._directories[standing] = directory
            self._directories.move_to_end(standing)
            while len(self._directories) > self._directories_max:
                self._directories.popitem(last=False)
        return directory


def asked(query: Mapping[str, str]) -> str | None:
    """What `?at=` says, None when it is not there."""
    return query.get(AT)


def none(method: str, body: type[BaseModel] | None) -> Refused:
    """What `?at=` of a route that has no past is answered with."""
    if body is not None and AT in body.model_fields:
        return refuse("no_past", "Name `at` in the body of this request, not in its query.")
    if method != "GET":
        return refuse("no_past", "Ask again without `at`: changes are made at present.")
    return refuse("no_past")


def _milliseconds(text: str) -> int:
    """Since 1970, of a time; 0 for what lies before. Raises `Refused` for what is none."""
    parts = _TIME.fullmatch(text)
    if parts is None:
        raise _no_moment()
    day, minute, second, fraction, offset = parts.groups()
    try:
        # 23:59:60 is a time; Python knows no leap seconds.
        read = datetime.fromisoformat(f"{day}T{minute}:{min(int(second), 59):02d}")
        shift = _offset(offset)
    except ValueError as error:
        raise _no_moment() from error
    if int(second) > 60:
        raise _no_moment()
    whole = (read.replace(tzinfo=UTC) - EPOCH - shift) // timedelta(milliseconds=1)
    return max(0, whole + int(f"{(fraction or '.')[1:]}000"[:3]))


def _offset(text: str | None) -> timedelta:
    if text is None:
        return timedelta()
    hours, minutes = int(text[1:3]), int(text[4:])
    if hours > 23 or minutes > 59:
        raise ValueError(text)
    passed = timedelta(hours=hours, minutes=minutes)
    return -passed if text[0] == "-" else passed


def _no_moment() -> Refused:
    return wrong(AT, f"at must be {FORM}.", kind="moment")

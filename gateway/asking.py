"""Questions in SQL: who may see what, how many at once, and until when one is waited for.

The statement itself is answered elsewhere (`sandboxes.sql`), from rows that are poured for exactly
this asker; here it is never run, nor believed.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import IO, Any

from actors.projection_file import ProjectionFile
from actors.rooms import VIEWS
from actors.view import View, pour
from bus.clock import iso_ms
from gateway import policy
from gateway.directory import Directory
from gateway.errors import refuse
from gateway.policy import Principal
from gateway.reads import Reads
from sandboxes.sql.fault import Fault
from sandboxes.sql.question import Cell, Limits, Question
from schemas.envelope import Id
from schemas.settings import Settings

BY_NAME: Mapping[str, View] = {view.name: view for view in VIEWS}
COLUMNS = {view.name: tuple(column.name for column in view.columns) for view in VIEWS}
FADE_S = 5.0
"""For what was broken off to end."""

Rights = Mapping[str, Any]


class Asking:
    """The statements that are being answered."""

    def __init__(self, reads: Reads, settings: Settings) -> None:
        self._reads = reads
        self._settings = settings
        self._asked: Counter[Id] = Counter()

    async def answer(
        self, asker: Id, query: str, parameters: Sequence[Any], rights: Rights
    ) -> bytes:
        """The answer as JSON: `columns`, `rows`, `truncated`.

        Raises `Refused` for a statement that is not allowed, not valid, or takes too much.
        """
        now = rights["now"].removesuffix("Z")
        question = Question(query, parameters, COLUMNS, now, self._limits())
        with self._place(asker):
            cell = Cell()
            answering = self._reads.lend(partial(_answer, cell, question, rights))
            try:
                async with asyncio.timeout(self._settings.sql_timeout_s):
                    return await asyncio.shield(answering)
            except TimeoutError as error:
                most = f"{self._settings.sql_timeout_s:g} seconds"
                raise refuse(
                    "sql_too_long", f"A statement may take {most}: ask for less of the rows."
                ) from error
            except Fault as fault:
                raise refuse(fault.code, str(fault)) from fault
            finally:
                cell.kill()
                await _ended(answering)

    def _limits(self) -> Limits:
        settings = self._settings
        return Limits(
            cpu_s=int(settings.sql_timeout_s) + 1,
            memory_bytes=settings.sql_memory_bytes_max,
            rows_max=settings.sql_rows_max,
            bytes_max=settings.sql_bytes_max,
        )

    @contextmanager
    def _place(self, asker: Id) -> Iterator[None]:
        """Room for one more statement. Raises `Refused` (sql_busy) when there is none."""
        settings = self._settings
        if (
            self._asked.total() >= settings.sql_statements_max
            or self._asked[asker] >= settings.sql_statements_per_account_max
        ):
            raise refuse(
                "sql_busy",
                f"At most {settings.sql_statements_per_account_max} at once for an account, and "
                f"{settings.sql_statements_max} for all: try again in a moment.",
                headers={"Retry-After": 1},
            )
        self._asked[asker] += 1
        try:
            yield
        finally:
            self._asked[asker] -= 1
            self._asked += Counter()  # Who asks nothing any more is forgotten.


def rights(
    principal: Principal,
    directory: Directory,
    at: int,
    times_ms: tuple[int, int],
    today: Directory | None = None,
) -> Rights:
    """What *principal* may see at the position *at*, as the views take it; *times_ms* are the time
    of that position and the present. *directory* tells of then; *today*, of the present, is the
    same unless told.
    """
    then_ms, today_ms = times_ms
    every = list(directory.all_channels())
    mine = {channel.id for channel in directory.channels_of(principal.id)}
    shown = (one.id for one in directory.channels() if one.id in mine or not policy.hidden(one))
    return {
        "reader": principal.id,
        "owner": directory.owner_id,
        "mine": sorted(mine),
        "told": sorted(one for one in mine if not (today or directory).removed(one)),
        "known": sorted(shown),
        "listed": sorted(one.id for one in every if principal.id in one.members),
        "open": sorted(one.id for one in every if not policy.hidden(one)),
        "keeper": policy.holds(principal.scopes, "manage_keys"),
        "rules": principal.owner,
        "now": iso_ms(then_ms),
        "today": iso_ms(today_ms),
        "at": at,
    }


async def _ended(answering: asyncio.Future[bytes]) -> None:
    """Returns once the worker is free again; what it has come to is known or of no use."""
    await asyncio.wait({answering}, timeout=FADE_S)
    if answering.done() and not answering.cancelled():
        answering.exception()


def _answer(cell: Cell, question: Question, allowed: Rights, file: ProjectionFile) -> bytes:
    with cell, file.reading() as cursor:

        def poured(view: str, columns: Sequence[str], sink: IO[bytes]) -> None:
            pour(cursor, BY_NAME[view], columns, allowed, sink)

        return cell.ask(question, poured)

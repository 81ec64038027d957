"""The tables that are read: one file, the directory kept from it, and the threads of who reads.

One file is current at a time. Whoever finds it damaged says so, and from then on nobody is answered
from it until it has been opened again, or another has its place: every reader is told how far the
tables are, and never half a truth. `gateway.reads` keeps them at the head of the log.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from threading import Thread
from typing import Any, Protocol, TypeVar

import structlog

from actors.message.queries import OUTLASTING
from actors.projection_file import Damaged, ProjectionFile
from actors.projection_folder import ProjectionFolder
from gateway.directory import Directory
from schemas.settings import Settings

MENDING = "The tables were damaged and are being mended."
INTERRUPT_S = 0.02
"""Between attempts to break off what is read: a query that is about to begin hears none of them."""

log = structlog.get_logger()
Row = dict[str, Any]
Result = TypeVar("Result")


class Rows(Protocol):
    """The rows of one statement as dictionaries, column → value. Blocks."""

    def __call__(self, sql: str, *args: Any) -> list[Row]: ...


class Behind(Exception):
    """The tables have not reached the position that was asked for. `reason` says why, if known."""

    def __init__(self, seq: int, position: int, reason: str = "") -> None:
        super().__init__(f"position {seq} is not reached yet: at {position}. {reason}".strip())
        self.seq, self.position, self.reason = seq, position, reason


class ReadModel:
    """The current file of a folder of tables, and the directory kept from it."""

    def __init__(self, folder: ProjectionFolder, settings: Settings) -> None:
        self.directory = Directory()
        self.position = 0
        """Of what the tables *and* the directory know."""
        self._folder = folder
        self._settings = settings
        self._file: ProjectionFile | None = None
        self._damage: Damaged | None = None
        """Why the current file cannot be read; it is about to be opened again, or replaced."""
        self._damaged = asyncio.Event()
        self._folder_worker = ThreadPoolExecutor(1, "fold")
        self._rebuild_worker = ThreadPoolExecutor(1, "rebuild")
        self._workers = [self._folder_worker, self._rebuild_worker]
        self._exchanged()

    @property
    def file(self) -> ProjectionFile:
        """The current file of tables."""
        if self._file is None:
            raise Behind(0, 0, "The tables are not open yet.")
        return self._file

    @property
    def readable(self) -> int:
        """How far the tables are that can be read now, or soon."""
        return self.file.seq if self._damage else self.position

    async def rows(self, sql: str, args: Sequence[Any] = (), at: int | None = None) -> list[Row]:
        """The rows of one statement as dictionaries: column → value."""
        return await self.together(lambda rows: rows(sql, *args), at)

    async def together(self, read: Callable[[Rows], Result], at: int | None = None) -> Result:
        """What *read* makes of as many statements as it likes, in one trip to a worker thread.

        With *at*, a position that has been reached, of the tables as they were then. Raises
        `Behind` while the tables are being mended.
        """
        loop, file = asyncio.get_running_loop(), self._sound()
        try:
            return await loop.run_in_executor(self._readers, _together, file, read, at)
        except Damaged as damage:
            self._hurt(file, damage)
            raise Behind(self.position, self.readable, MENDING) from damage

    def lend(self, work: Callable[[ProjectionFile], Result]) -> asyncio.Future[Result]:
        """What *work* makes of the current file, in a thread where it may take its time.

        Raises `Behind` while it is being mended.
        """
        loop = asyncio.get_running_loop()
        return loop.run_in_executor(self._lent, work, self._sound())

    def _sound(self) -> ProjectionFile:
        """The current file. Raises `Behind` while it is being mended."""
        if self._damage is not None:
            raise Behind(self.position, self.readable, MENDING)
        return self.file

    def _hurt(self, file: ProjectionFile, damage: Damaged) -> None:
        """*file* cannot be worked with: nobody is answered from it until it has been mended."""
        if file is self._file and self._damage is None:
            log.critical("projection_damaged", reason=str(damage), remedy="none needed: mending it")
            self._damage = damage
            self._damaged.set()

    async def _watch(self) -> None:
        """Raises what is wrong with the current file, once something is."""
        await self._damaged.wait()
        if self._damage is not None:
            raise self._damage

    async def _load(self) -> None:
        """The current file can be read, and the directory is read from it. Raises `Behind`."""
        self._damage = None
        self._damaged.clear()
        await self.directory.load(self.rows)

    async def _opened(self, head: int, *, whole: bool) -> ProjectionFile:
        """The best file there is for a log that ends at *head*; it is the current one from now on.

        Raises what `ProjectionFolder.open` raises.
        """
        loop = asyncio.get_running_loop()
        opening = partial(self._folder.open, head, whole=whole)
        self._file = await loop.run_in_executor(self._folder_worker, opening)
        return self._file

    async def _reopened(self, head: int) -> ProjectionFile:
        """The best file there is, read whole, once the disk lets us open one."""
        while True:
            try:
                return await self._opened(head, whole=True)
            except OSError as error:
                log.critical("projection_unwritable", reason=str(error), remedy="make room")
                await asyncio.sleep(self._settings.disk_look_every_s)

    async def _let_go(self) -> None:
        """Nobody works with the current file any more, and it is closed."""
        loop = asyncio.get_running_loop()
        old, retired = self.file, self._exchanged()
        old.interrupt()
        await self._ended(retired)
        await loop.run_in_executor(self._folder_worker, self._folder.release, old)

    def _exchanged(self) -> list[ThreadPoolExecutor]:
        """Those that read so far; from now on there are others."""
        settings, retired = self._settings, self._workers[2:]
        self._readers = ThreadPoolExecutor(settings.read_threads, "read")
        self._lent = ThreadPoolExecutor(settings.sql_statements_max, "lent")
        self._workers += [self._readers, self._lent]
        return retired

    async def _ended(self, retired: list[ThreadPoolExecutor]) -> None:
        loop = asyncio.get_running_loop()
        for worker in retired:
            await loop.run_in_executor(self._rebuild_worker, worker.shutdown)
            self._workers.remove(worker)

    def close(self) -> None:
        """Close the tables and end the worker threads; what is still being read is broken off."""
        ending = Thread(target=self._end)
        ending.start()
        while ending.is_alive():
            self._folder.interrupt()
            ending.join(INTERRUPT_S)
        if self._file is not None:
            self._file.close()

    def _end(self) -> None:
        for worker in self._workers:
            worker.shutdown(wait=True, cancel_futures=True)


def _together(
    file: ProjectionFile, read: Callable[[Rows], Result], at: int | None = None
) -> Result:
    with file.reading(at, OUTLASTING) as cursor:

        def rows(sql: str, *args: Any) -> list[Row]:
            cursor.execute(sql, args)
            names = [column[0] for column in cursor.description or ()]
            return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]

        return read(rows)

"""What this process reads from: tables at one position of the log, and who may be told of news.

One file of tables is current; a rebuild fills another beside it and then takes its place, so reads
never stop. Everything here is disposable: the log can make it again. It does so by itself when a
file is damaged; until then who reads is told how far the tables are, and never half a truth.

Long because opening, folding, replacing and mending one file are one protocol of shared state.
"""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import count
from pathlib import Path
from threading import Thread
from typing import Any, Protocol, TypeVar

import structlog

from actors.message.queries import OUTLASTING
from actors.projection_file import Damaged, Poison, ProjectionFile, Statements
from actors.projection_folder import ProjectionFolder
from actors.projector import Projector
from bus.alarm import Fault, sound
from bus.disk import has_room, roomy
from bus.inspection import end_of
from bus.log import Log, Stored
from bus.telemetry import Telemetry
from gateway.directory import Directory
from gateway.proof import compare, proven
from schemas.settings import Settings

NEAR = 1_000
"""A rebuilt file takes over once it is this few positions behind the one it replaces."""
CATCHING_UP = "The tables are catching up with the log."
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


class Reads:
    """The tables of this process and the directory kept from them."""

    def __init__(
        self,
        folder: Path,
        statements: Statements,
        log_: Log,
        settings: Settings,
        telemetry: Telemetry,
    ) -> None:
        self.directory = Directory()
        self.position = 0
        self.due = 0
        """Where the log ended when the tables were opened: until they know that, they would take
        those who came later for strangers."""
        self.stopped = ""
        """Why folding has stopped; empty while it goes on."""
        self.forgone = 0
        """Up to here the log was written while the disk takes nothing into the tables: nobody's
        reads wait for what he wrote there. 0 while the disk takes what comes."""
        self._damage: Damaged | None = None
        """Why the current file cannot be read; it is about to be opened again, or replaced."""
        self._damaged = asyncio.Event()
        self.heard: list[Callable[[list[Stored]], None]] = []
        """Told of each batch once the tables and the directory know it."""
        self.sighted: Callable[[list[Stored]], None] = lambda page: None
        """Told of each page of the log before that."""
        limit = settings.projection_memory_bytes_max
        self._folder = ProjectionFolder(folder, statements, log_.epoch, limit)
        self.log = log_
        self._settings = settings
        self._telemetry = telemetry
        self._file: ProjectionFile | None = None
        self._rebuilding = asyncio.Lock()
        self._replaced = asyncio.Event()
        self._waiting: list[tuple[int, int, asyncio.Future[None]]] = []
        self._order = count()
        self._folder_worker = ThreadPoolExecutor(1, "fold")
        self._rebuild_worker = ThreadPoolExecutor(1, "rebuild")
        self._workers = [self._folder_worker, self._rebuild_worker]
        self._exchanged()

    @property
    def folding(self) -> bool:
        """Whether a batch is being folded at this moment."""
        return self._projector.step.locked()

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

    @property
    def unready(self) -> str:
        """Why answers cannot be given yet; empty when they can."""
        if self._damage is not None:
            return MENDING
        return CATCHING_UP if self.position < self.due and not self.stopped else ""

    async def open(self) -> None:
        """Open the tables of this log, or begin empty ones, and load the directory.

        Tables that know more than the log sound the alarm: it has lost something. Raises
        `actors.projection_folder.Locked`, or OSError when the disk takes nothing.
        """
        self.due = (await end_of(self.log, self._settings)).head
        try:
            await self._load(whole=False)
        except Behind:  # Whatever is in it, it cannot be read: one look at all of it settles that.
            await self._let_go()
            await self._load(whole=True)
        if self._folder.ahead:
            text = f"the log ends at {self.due}, and its tables were at {self._folder.ahead}"
            fault = Fault("tables_ahead", self.due + 1, text)
            await asyncio.to_thread(sound, self._settings, fault)
        self._projector = Projector(
            self.file, self.log, self._settings, self._telemetry, self._folder_worker
        )
        self._projector.sighted = self._sight
        self.position = self.file.seq

    async def _load(self, *, whole: bool) -> None:
        """The best file is current, and the directory read from it. Raises `Behind`, OSError."""
        loop = asyncio.get_running_loop()
        opening = partial(self._folder.open, self.due, whole=whole)
        self._file = await loop.run_in_executor(self._folder_worker, opening)
        self._damage = None
        self._damaged.clear()
        await self.directory.load(self.rows)

    async def run(self) -> None:
        """Fold what comes, for ever; replace tables that older SQL has made.

        Raises `Damaged` when the file has to be opened again: the next run begins with that.
        """
        if self._damage is not None:
            await self._mend()
        async with asyncio.TaskGroup() as group:
            group.create_task(self._fold())
            group.create_task(self._watch())
            if not self.file.current:
                log.info("projection_outdated", remedy="rebuilding beside it; reads go on")
                await self._renew()

    async def _renew(self) -> None:
        await roomy(self._settings)
        try:
            await self.rebuild()
        except* Poison as poison:
            reason = str(poison.exceptions[0])
            log.critical("rebuild_stopped", reason=reason, remedy="reads go on with the old tables")

    async def _fold(self) -> None:
        """Fold into the current file, for ever; what has stopped one may not stop its successor."""
        while True:
            file, self.stopped = self.file, ""
            if not file.read_only:
                self.forgone = 0
            try:
                await self._projector.run(self._folded)
            except* Poison as poison:
                self.stopped = str(poison.exceptions[0])
                log.critical("projection_stopped", reason=self.stopped, position=self.position)
                self._give_up()
            except* Damaged as damage:
                await self._takeable(_first(damage))
                self._hurt(file, _first(damage))
            except* Behind:
                pass  # It was hurt while the directory was read: `_watch` knows.
            while self.file is file:
                self._replaced.clear()
                await self._replaced.wait()

    async def _takeable(self, damage: Damaged) -> None:
        """Returns once the disk takes what is folded: until then there is nothing to mend, and what
        the tables hold is read. Whoever finds that it cannot be, says so himself."""
        if not await asyncio.to_thread(has_room, self._settings):
            log.critical("projection_held", reason=str(damage), remedy="reads go on; make room")
            self.forgone = await self.log.head()
            await roomy(self._settings)

    async def _watch(self) -> None:
        await self._damaged.wait()
        if self._damage is not None:
            raise self._damage

    def _hurt(self, file: ProjectionFile, damage: Damaged) -> None:
        """*file* cannot be worked with: nobody is answered from it until it has been mended."""
        if file is self._file and self._damage is None:
            log.critical("projection_damaged", reason=str(damage), remedy="none needed: mending it")
            self._damage = damage
            self._damaged.set()

    async def _mend(self) -> None:
        """Returns once there are tables again, as far as there were, and everybody has heard of
        what is in them: the same file if every row of it can be read, else another, filled anew.
        """
        async with self._rebuilding:
            position = self.position
            await self._let_go()
            file = await self._reopened()
            if file.seq < position:
                log.warning("projection_anew", position=file.seq, head=position)
                await self._refilled(file, position)
            self._projector.file = file
            self._damage = None
            self._damaged.clear()
            await self.directory.load(self.rows)
            self.position = min(position, file.seq)
            async for page in self.log.tail(self.position, file.seq):
                await self._folded(page)
            log.warning("projection_mended", position=self.position)

    async def _let_go(self) -> None:
        """Nobody works with the current file any more, and it is closed."""
        loop = asyncio.get_running_loop()
        old, retired = self.file, self._exchanged()
        old.interrupt()
        await self._ended(retired)
        await loop.run_in_executor(self._folder_worker, self._folder.release, old)

    async def _reopened(self) -> ProjectionFile:
        """The best file there is, read whole, once the disk lets us open one."""
        loop = asyncio.get_running_loop()
        end = await end_of(self.log, self._settings)
        opening = partial(self._folder.open, end.head, whole=True)
        while True:
            try:
                self._file = await loop.run_in_executor(self._folder_worker, opening)
            except OSError as error:
                log.critical("projection_unwritable", reason=str(error), remedy="make room")
                await asyncio.sleep(self._settings.disk_look_every_s)
            else:
                return self._file

    async def _refilled(self, file: ProjectionFile, position: int) -> None:
        """*file* is at *position*, or `stopped` says why it cannot come so far."""
        try:
            await self._aside(file).run(_unheard, until=position)
        except* Poison as poison:
            self.stopped = str(poison.exceptions[0])

    def _sight(self, page: list[Stored]) -> None:
        self.sighted(page)

    async def _folded(self, stored: list[Stored]) -> None:
        touched = {(one.noun, one.key) for one in stored}
        await self.directory.refresh(self.rows, touched)
        self.position = stored[-1].seq
        self._telemetry.position.set(self.position)
        for hear in self.heard:
            hear(stored)
        while self._waiting and self._waiting[0][0] <= self.position:
            _, _, future = heapq.heappop(self._waiting)
            if not future.done():
                future.set_result(None)

    async def rebuild(self) -> int:
        """Fill a new file from the whole log and put it in the old one's place: its position."""
        async with self._rebuilding:
            loop = asyncio.get_running_loop()
            successor = await loop.run_in_executor(self._rebuild_worker, self._folder.fresh)
            try:
                await self._succeeded(successor)
            finally:
                if self.file is not successor:
                    await loop.run_in_executor(self._rebuild_worker, self._folder.retire, successor)
            return successor.seq

    async def _succeeded(self, successor: ProjectionFile) -> None:
        """Returns once *successor* is the file that is read, and the old one is no more."""
        aside = self._aside(successor)
        await aside.run(_unheard, until=self.position)
        while successor.seq + NEAR < self.position:
            await aside.run(_unheard, until=self.position)
        async with self._projector.step:
            await aside.run(_unheard, until=self.file.seq)
            old, self._file, self._projector.file = self.file, successor, successor
            self.stopped = ""
            retired = self._exchanged()
            await self.directory.load(self.rows)
            self._replaced.set()
        # Whoever reads the old file still has its own threads: it goes when they are done.
        await self._ended(retired)
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(self._rebuild_worker, self._folder.retire, old)

    def _aside(self, file: ProjectionFile) -> Projector:
        return Projector(file, self.log, self._settings, self._telemetry, self._rebuild_worker)

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

    async def verify(self) -> dict[str, Any]:
        """Read the whole log, fold it aside, and hold the live tables against that.

        The result has `position`, `tables` with their counts, how far the log was `read` and its
        running hash there, and `difference`: None, or what is wrong first (`gateway.proof`).
        """
        async with self._rebuilding:
            loop = asyncio.get_running_loop()
            worker, live = self._rebuild_worker, self._sound()
            end, position = await end_of(self.log, self._settings), self.position
            log_ = await proven(self.log, self._settings, end)
            fault = log_.difference
            if fault is None and end.head < position:
                fault = {"seq": end.head + 1, "reason": "the log ends before it"}
            if fault is None and self.stopped:
                fault = {"seq": position + 1, "reason": self.stopped}
            position = min(position, fault["seq"] - 1) if fault else position
            aside = await loop.run_in_executor(worker, self._folder.fresh, live.statements)
            try:
                await self._aside(aside).run(_unheard, until=position)
                report = await loop.run_in_executor(worker, compare, live, aside, position)
            except Damaged as damage:
                self._hurt(live, damage)
                raise Behind(self.position, self.readable, MENDING) from damage
            finally:
                await loop.run_in_executor(worker, self._folder.retire, aside)
            at = {"read": log_.place.seq, "digest": log_.place.digest.hex()}
            return report | at | {"difference": report["difference"] or fault}

    @property
    def catching_up(self) -> bool:
        """Whether the tables lack much of what the log held when they were opened."""
        return self.due - self.position > NEAR and not self.stopped

    async def caught_up(self) -> None:
        """Returns once the tables know what the log held when they were opened.

        Raises `Behind`, at once when that will take a while.
        """
        if self.position >= self.due or self.stopped:
            return
        if self.catching_up:
            raise Behind(self.due, self.position, CATCHING_UP)
        await self.reached(self.due)

    async def reached(self, seq: int) -> None:
        """Returns once the tables know the position *seq*.

        Raises `Behind` after `read_wait_s`, or at once when folding has stopped.
        """
        if seq <= self.position:
            return
        if self.stopped:
            raise Behind(seq, self.position, self.stopped)
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        waiting = (seq, next(self._order), future)
        heapq.heappush(self._waiting, waiting)
        try:
            async with asyncio.timeout(self._settings.read_wait_s):
                await future
        except TimeoutError as error:
            raise Behind(seq, self.position, self.stopped) from error
        finally:
            if not future.done() or future.cancelled() or future.exception():
                self._waiting.remove(waiting)
                heapq.heapify(self._waiting)

    def _give_up(self) -> None:
        """Folding has stopped: whoever waits for more need not wait any longer."""
        for seq, _, future in self._waiting:
            if not future.done():
                future.set_exception(Behind(seq, self.position, self.stopped))

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

    def _sound(self) -> ProjectionFile:
        """The current file. Raises `Behind` while it is being mended."""
        if self._damage is not None:
            raise Behind(self.position, self.readable, MENDING)
        return self.file

    async def rows(self, sql: str, args: Sequence[Any] = (), at: int | None = None) -> list[Row]:
        """The rows of one statement as dictionaries: column → value."""
        return await self.together(lambda rows: rows(sql, *args), at)

    def lend(self, work: Callable[[ProjectionFile], Result]) -> asyncio.Future[Result]:
        """What *work* makes of the current file, in a thread where it may take its time.

        Raises `Behind` while it is being mended.
        """
        loop = asyncio.get_running_loop()
        return loop.run_in_executor(self._lent, work, self._sound())

    async def lag(self) -> int:
        """How many positions the tables are behind the head of the log."""
        lag = max(0, await self.log.head() - self.position)
        self._telemetry.lag.set(lag)
        return lag

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


def _first(group: BaseExceptionGroup[Damaged]) -> Damaged:
    error = group.exceptions[0]
    return _first(error) if isinstance(error, BaseExceptionGroup) else error


async def _unheard(_: list[Stored]) -> None:
    """Nobody needs to hear of what is folded aside."""


def _together(
    file: ProjectionFile, read: Callable[[Rows], Result], at: int | None = None
) -> Result:
    with file.reading(at, OUTLASTING) as cursor:

        def rows(sql: str, *args: Any) -> list[Row]:
            cursor.execute(sql, args)
            names = [column[0] for column in cursor.description or ()]
            return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]

        return read(rows)

"""How what is read follows the log: folded, rebuilt beside itself, mended, and waited for.

`gateway.read_model` is the file that is read; here it is kept at the head of the log. A rebuild
fills another beside it and then takes its place, so reads never stop. Everything is disposable: the
log can make it again, and does so by itself when a file is damaged.
"""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from itertools import count
from pathlib import Path
from typing import Any

import structlog

from actors.projection_file import Damaged, Poison, ProjectionFile, Statements
from actors.projection_folder import ProjectionFolder
from actors.projector import Projector
from bus.alarm import Fault, sound
from bus.disk import has_room, roomy
from bus.inspection import end_of
from bus.log import Log, Stored
from bus.telemetry import Telemetry
from gateway.proof import compare, proven
from gateway.read_model import MENDING, Behind, ReadModel
from schemas.settings import Settings

NEAR = 1_000
"""A rebuilt file takes over once it is this few positions behind the one it replaces."""
CATCHING_UP = "The tables are catching up with the log."

log = structlog.get_logger()


class Reads(ReadModel):
    """The read model of this process, kept at the head of the log."""

    def __init__(
        self,
        folder: Path,
        statements: Statements,
        log_: Log,
        settings: Settings,
        telemetry: Telemetry,
    ) -> None:
        limit = settings.projection_memory_bytes_max
        super().__init__(ProjectionFolder(folder, statements, log_.epoch, limit), settings)
        self.due = 0
        """Where the log ended when the tables were opened: until they know that, they would take
        those who came later for strangers."""
        self.stopped = ""
        """Why folding has stopped; empty while it goes on."""
        self.forgone = 0
        """Up to here the log was written while the disk takes nothing into the tables: nobody's
        reads wait for what he wrote there. 0 while the disk takes what comes."""
        self.heard: list[Callable[[list[Stored]], None]] = []
        """Told of each batch once the tables and the directory know it."""
        self.sighted: Callable[[list[Stored]], None] = lambda page: None
        """Told of each page of the log before that."""
        self.log = log_
        self._telemetry = telemetry
        self._rebuilding = asyncio.Lock()
        self._unhurt: asyncio.Timeout | None = None
        """Ends early what is done beside the current file, when that has to be mended."""
        self._replaced = asyncio.Event()
        self._waiting: list[tuple[int, int, asyncio.Future[None]]] = []
        self._order = count()

    @property
    def folding(self) -> bool:
        """Whether a batch is being folded at this moment."""
        return self._projector.step.locked()

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
        await self._opened(self.due, whole=False)
        try:
            await self._load()
        except Behind:  # Whatever is in it, it cannot be read: one look at all of it settles that.
            await self._let_go()
            await self._opened(self.due, whole=True)
            await self._load()
        if self._folder.ahead:
            text = f"the log ends at {self.due}, and its tables were at {self._folder.ahead}"
            fault = Fault("tables_ahead", self.due + 1, text)
            await asyncio.to_thread(sound, self._settings, fault)
        self._projector = Projector(
            self.file, self.log, self._settings, self._telemetry, self._folder_worker
        )
        self._projector.sighted = self._sight
        self.position = self.file.seq

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

    async def _mend(self) -> None:
        """Returns once there are tables again, as far as there were, and everybody has heard of
        what is in them: the same file if every row of it can be read, else another, filled anew.
        """
        self._break_off()
        async with self._rebuilding:
            position = self.position
            await self._let_go()
            file = await self._reopened((await end_of(self.log, self._settings)).head)
            if file.seq < position:
                log.warning("projection_anew", position=file.seq, head=position)
                await self._refilled(file, position)
            self._projector.file = file
            await self._load()
            self.position = min(position, file.seq)
            async for page in self.log.tail(self.position, file.seq):
                await self._folded(page)
            log.warning("projection_mended", position=self.position)

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
            self._sound()
            loop = asyncio.get_running_loop()
            successor = await loop.run_in_executor(self._rebuild_worker, self._folder.fresh)
            try:
                async with self._while_unhurt():
                    while successor.seq + NEAR < self.position:
                        await self._aside(successor).run(_unheard, until=self.position)
                await self._succeeded(successor)
            finally:
                if self.file is not successor:
                    await loop.run_in_executor(self._rebuild_worker, self._folder.retire, successor)
            return successor.seq

    async def _succeeded(self, successor: ProjectionFile) -> None:
        """Returns once *successor* is the file that is read, and the old one is no more."""
        async with self._projector.step:
            await self._aside(successor).run(_unheard, until=self.file.seq)
            old, self._file, self._projector.file = self._sound(), successor, successor
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

    async def verify(self) -> dict[str, Any]:
        """Read the whole log, fold it aside, and hold the live tables against that.

        The result has `position`, `tables` with their counts, how far the log was `read` and its
        running hash there, and `difference`: None, or what is wrong first (`gateway.proof`).
        """
        async with self._rebuilding:
            loop = asyncio.get_running_loop()
            worker, live = self._rebuild_worker, self._sound()
            aside = await loop.run_in_executor(worker, self._folder.fresh, live.statements)
            try:
                async with self._while_unhurt():
                    return await self._compared(live, aside)
            except Damaged as damage:
                self._hurt(live, damage)
                raise Behind(self.position, self.readable, MENDING) from damage
            finally:
                await loop.run_in_executor(worker, self._folder.retire, aside)

    async def _compared(self, live: ProjectionFile, aside: ProjectionFile) -> dict[str, Any]:
        loop = asyncio.get_running_loop()
        end, position = await end_of(self.log, self._settings), self.position
        log_ = await proven(self.log, self._settings, end)
        fault = log_.difference
        if fault is None and end.head < position:
            fault = {"seq": end.head + 1, "reason": "the log ends before it"}
        if fault is None and self.stopped:
            fault = {"seq": position + 1, "reason": self.stopped}
        position = min(position, fault["seq"] - 1) if fault else position
        await self._aside(aside).run(_unheard, until=position)
        report = await loop.run_in_executor(self._rebuild_worker, compare, live, aside, position)
        at = {"read": log_.place.seq, "digest": log_.place.digest.hex()}
        return report | at | {"difference": report["difference"] or fault}

    @asynccontextmanager
    async def _while_unhurt(self) -> AsyncIterator[None]:
        """A block that ends as soon as the current file is to be mended, which waits for nothing
        that can be done again. Raises `Behind` then."""
        try:
            async with asyncio.timeout(None) as self._unhurt:
                yield
        except TimeoutError as error:
            if self._unhurt is not None:
                raise
            raise Behind(self.position, self.readable, MENDING) from error
        finally:
            self._unhurt = None

    def _break_off(self) -> None:
        """What is done beside the current file ends now."""
        unhurt, self._unhurt = self._unhurt, None
        if unhurt is not None:
            unhurt.reschedule(asyncio.get_running_loop().time())
            self._folder.interrupt()

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
            if seq > self.position:
                raise Behind(seq, self.position, self.stopped) from error
        finally:
            if not future.done() or future.cancelled() or future.exception():
                with suppress(ValueError):  # It came as we gave up: we have been taken out.
                    self._waiting.remove(waiting)
                    heapq.heapify(self._waiting)

    def _give_up(self) -> None:
        """Folding has stopped: whoever waits for more need not wait any longer."""
        for seq, _, future in self._waiting:
            if not future.done():
                future.set_exception(Behind(seq, self.position, self.stopped))

    async def lag(self) -> int:
        """How many positions the tables are behind the head of the log."""
        lag = max(0, await self.log.head() - self.position)
        self._telemetry.lag.set(lag)
        return lag


def _first(group: BaseExceptionGroup[Damaged]) -> Damaged:
    error = group.exceptions[0]
    return _first(error) if isinstance(error, BaseExceptionGroup) else error


async def _unheard(_: list[Stored]) -> None:
    """Nobody needs to hear of what is folded aside."""

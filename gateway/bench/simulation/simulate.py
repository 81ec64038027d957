"""One seed: its world, what came of it, and how to see it again."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from random import Random
from time import process_time
from typing import Any

from bus import faults
from bus.clock import drawn_from
from bus.storage import stored_by
from gateway.bench.simulation import fate
from gateway.bench.simulation.invariants import broken
from gateway.bench.simulation.loop import Killed, SimulatedLoop, Stalled
from gateway.bench.simulation.people import People
from gateway.bench.simulation.tables import EVERY, unlike
from gateway.bench.simulation.workload import wishes
from gateway.bench.simulation.world import World

RECOVERY_S = 300.0
"""Virtual seconds after the last fault in which everything must have been answered."""


LOOK_S = 0.5
"""Virtual seconds between two looks at whether all is quiet."""


@dataclass(frozen=True)
class Outcome:
    """What came of one seed."""

    seed: int
    violations: tuple[str, ...]
    trace: tuple[str, ...]
    digest: str
    virtual_s: float
    busy_s: float
    """How long a processor was busy with it."""
    steps: int
    commits: int
    answers: int

    def story(self, last: int) -> str:
        """What went wrong, the last steps, and how to see it again; times are virtual seconds."""
        head = [f"seed {self.seed}: {one}" for one in self.violations]
        left_out = max(0, len(self.trace) - last)
        cut = [f"… {left_out} earlier steps"] if left_out else []
        again = f"again, with every step: canopy bench --sim {self.seed}"
        return "\n".join([*head, *cut, *self.trace[-last:], again])


def simulate(
    seed: int, *, only: Sequence[str] = (), lazy: bool = False, patience_s: float = RECOVERY_S
) -> Outcome:
    """Live through the world of *seed*, in which only faults of the kinds *only* happen unless it
    is empty. A *lazy* broker acknowledges before it syncs. *patience_s* is how long, in virtual
    seconds, everything may take to come to rest."""
    began = process_time()
    chance = Random(seed)
    loop = SimulatedLoop(chance)
    world = World(loop, chance, fate.shape(chance), lazy=lazy)
    people = People(world)
    trace = world.trace

    def unhandled(_loop: object, told: dict[str, Any]) -> None:
        if not isinstance(told.get("exception"), Killed):
            trace.violated(f"nobody handled: {told.get('message')}: {told.get('exception')!r}")

    loop.set_exception_handler(unhandled)
    collecting = gc.isenabled()
    gc.disable()  # A collection would end what is unreachable at a moment of its own choosing.
    faults.hang(world.passed)
    try:
        with drawn_from(world.clocks.sources()), stored_by(world.files.opened), trace.journal():
            try:
                world.process.context.run(
                    loop.run_until_complete, _lived(world, people, only, patience_s)
                )
                world.process.context.run(_judged, world, people, seed)
            except Stalled as stalled:
                trace.violated(str(stalled))
            finally:
                _buried(world)
    finally:
        faults.hang(None)
        loop.close()
        if collecting:
            gc.enable()
    return Outcome(
        seed,
        tuple(trace.violations),
        tuple(trace.lines),
        trace.digest,
        loop.time(),
        process_time() - began,
        loop.steps,
        world.log.head,
        len(people.journal.told),
    )


async def _lived(world: World, people: People, only: Sequence[str], patience_s: float) -> None:
    """Everybody has been answered and has heard everything, or it took too long."""
    shape, chance = world.shape, world.chance
    world.furnish()
    world.start_broker()
    for name in shape.processes:
        world.start(name)
    wanted = [
        wishes(chance, client, shape.wishes, shape.busy_s, people.gateways)
        for client in range(shape.clients)
    ]
    try:
        async with asyncio.timeout(shape.busy_s * 2 + patience_s), asyncio.TaskGroup() as group:
            group.create_task(people.live(wanted))
            await fate.unfold(world, only)
            fate.heal(world)
            world.trace.note("everything has healed", "world")
    except TimeoutError:
        world.trace.violated(f"{people.journal.unanswered} wishes were never answered")
    with suppress(TimeoutError):
        async with asyncio.timeout(patience_s):
            await _settled(world, people)


async def _settled(world: World, people: People) -> None:
    """Reactors have dealt with everything, listeners have heard it, and every gateway has looked
    once more for what has expired."""
    await asyncio.sleep(world.settings.expiry_every_s)
    while not (world.idle and people.heard(world.log.head)) or people.overdue:  # noqa: ASYNC110  # virtual time
        await asyncio.sleep(LOOK_S)


def _judged(world: World, people: People, seed: int) -> None:
    """Whatever is not as it was promised is in the trace."""
    world.armed.clear()
    for promise in broken(world, people.journal):
        world.trace.violated(promise)
    if seed % EVERY == 0:
        for difference in unlike(world.log.kept, world.chance):
            world.trace.violated(difference)


def _buried(world: World) -> None:
    """Nothing of the world is left that would still want to run."""
    world.trace.closed = True
    world.network.close()
    everybody = [*world.dead, *world.running.values(), world.process]
    burial = world.loop.bury(everybody)
    world.process.context.run(world.loop.run_until_complete, burial)

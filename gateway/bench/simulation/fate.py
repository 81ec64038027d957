"""What befalls a simulated world: which faults, whom, and when; all of it from the seed.

Each seed draws a few kinds of fault and leaves the others out: a world in which everything goes
wrong at once hides what one fault alone would show.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping, Sequence
from random import Random
from typing import Any

from gateway.bench.simulation.world import Shape, World

HOUR_S = 3600.0
YEAR_S = 365 * 24 * HOUR_S
SHORT_S = (0.02, 2.0)
"""How long a process stays away, a disk stays slow, and the like: least and most."""
LONG_S = (0.05, 8.0)
"""How long a pause or a partition lasts."""

Fault = Callable[[World], Coroutine[Any, Any, None]]


def _victim(world: World) -> str:
    return world.chance.choice(world.shape.processes)


async def _while(world: World, least: float, most: float) -> None:
    await asyncio.sleep(least + (most - least) * world.chance.random() ** 2)


async def killed(world: World) -> None:
    """A process dies, and is started again."""
    name = _victim(world)
    world.kill(name)
    await _while(world, *SHORT_S)
    world.start(name)


async def killed_at_a_point(world: World) -> None:
    """A process dies between two durable steps, and is started again."""
    name = _victim(world)
    world.armed[name] = world.chance.randint(1, 9)
    await _while(world, *LONG_S)
    world.armed.pop(name, None)
    world.start(name)


async def paused(world: World) -> None:
    """A process stands still, and believes that no time has passed."""
    process = world.running.get(_victim(world))
    if process is None:
        return
    world.trace.note("is paused", process.name)
    world.loop.pause(process)
    await _while(world, *LONG_S)
    world.loop.resume(process)
    world.trace.note("goes on", process.name)


async def parted(world: World) -> None:
    """A process and the broker do not hear each other; then all that was said arrives."""
    process = world.running.get(_victim(world))
    if process is None:
        return
    world.trace.note("is cut off", process.name)
    world.network.part(process)
    await _while(world, *LONG_S)
    world.network.heal(process)
    world.trace.note("is heard again", process.name)


async def reset(world: World) -> None:
    """The connections of a process break."""
    process = world.running.get(_victim(world))
    if process is not None:
        world.trace.note("loses its connections", process.name)
        world.network.reset(process)


async def broker_killed(world: World) -> None:
    """The broker dies and comes back."""
    world.stop_broker(power_cut=False)
    await _while(world, *SHORT_S)
    world.start_broker()


async def power_cut(world: World) -> None:
    """Everything on this machine ends at once."""
    await _dark(world)
    _lit(world)


async def clock_lost(world: World) -> None:
    """The power is cut, and the machine comes back with another time."""
    await _dark(world)
    by_s = _leap_s(world)
    world.trace.note(f"comes back with its clock set by {by_s:+.3f} s", "world")
    for name in world.shape.processes:
        world.skew(name, by_s)
    _lit(world)


async def _dark(world: World) -> None:
    world.stop_broker(power_cut=True)
    for name in world.shape.processes:
        world.kill(name)
    await _while(world, *SHORT_S)


def _lit(world: World) -> None:
    world.start_broker()
    for name in world.shape.processes:
        world.start(name)


async def frozen(world: World) -> None:
    """The broker's disk is full: it says nothing until somebody starts it anew."""
    if world.broker is None:
        return
    world.trace.note("has no room on its disk", "broker")
    world.broker.frozen = True
    await _while(world, *LONG_S)
    world.stop_broker(power_cut=False)
    await _while(world, *SHORT_S)
    world.start_broker()


async def full(world: World) -> None:
    """The disk on which marks and keys are kept takes nothing more for a while."""
    world.trace.note("the disk of the node is full", "world")
    world.files.full = True
    await _while(world, *LONG_S)
    world.files.full = False


async def lossy(world: World) -> None:
    """Answers and questions get lost."""
    world.losing = world.chance.choice((0.05, 0.2, 0.5))
    world.trace.note(f"loses {world.losing:.0%} of its messages", "broker")
    await _while(world, *LONG_S)
    world.losing = 0.0


async def doubled(world: World) -> None:
    """Commands are delivered twice, to one actor process or to two."""
    world.doubling = world.chance.choice((0.2, 1.0))
    world.trace.note(f"doubles {world.doubling:.0%} of the commands", "broker")
    await _while(world, *LONG_S)
    world.doubling = 0.0


async def slow(world: World) -> None:
    """The disk of the broker and the lines are slow."""
    world.slowness = world.chance.choice((5.0, 50.0, 500.0))
    world.network.slow = world.chance.choice((1.0, 10.0, 200.0))
    world.trace.note(f"disk {world.slowness:.0f}×, lines {world.network.slow:.0f}× slower", "world")
    await _while(world, *SHORT_S)
    world.slowness = world.network.slow = 1.0


async def clock_set(world: World) -> None:
    """The wall clock of a process jumps, for good."""
    name = _victim(world)
    by_s = _leap_s(world)
    world.trace.note(f"has its clock set by {by_s:+.3f} s", name)
    world.skew(name, by_s)


def _leap_s(world: World) -> float:
    sizes = (0.5, 60.0, HOUR_S, 10 * YEAR_S)
    return world.chance.choice(sizes) * world.chance.uniform(-1.0, 1.0)


FAULTS: Mapping[str, Fault] = {
    "killed": killed,
    "killed at a point": killed_at_a_point,
    "paused": paused,
    "parted": parted,
    "reset": reset,
    "broker killed": broker_killed,
    "power cut": power_cut,
    "frozen": frozen,
    "full": full,
    "lossy": lossy,
    "doubled": doubled,
    "slow": slow,
    "clock set": clock_set,
    "clock lost": clock_lost,
}

CROWDS: tuple[tuple[str, ...], ...] = (
    ("node-0",),
    ("node-0", "node-1"),
    ("actors-0", "gateway-1"),
    ("actors-0", "actors-1", "gateway-2"),
    ("actors-0", "actors-1", "actors-2", "gateway-3", "gateway-4"),
    ("node-0", "actors-1", "gateway-2"),
)


def shape(chance: Random) -> Shape:
    """How large the world of a seed is."""
    knobs = {
        "group_commit_plain_max": chance.choice((0, 1, 16)),
        "group_commit_full": chance.choice((1, 4, 32)),
        "group_commits_in_flight_max": chance.choice((1, 3)),
        "snapshot_every": chance.choice((2, 5, 256)),
        "aggregates_cached_max": chance.choice((1, 3, 20_000)),
        "tail_fetch_max": chance.choice((2, 7, 5000)),
        "append_timeout_s": chance.choice((0.5, 5.0)),
        "command_timeout_s": chance.choice((1.0, 5.0)),
        "expiry_every_s": chance.choice((0.5, 5.0)),
    }
    return Shape(
        processes=("keeper", *chance.choice(CROWDS)),
        clients=chance.randint(2, 6),
        wishes=chance.randint(3, 10),
        busy_s=chance.choice((0.3, 2.0, 10.0)),
        sync_s=chance.choice(((1e-4, 3e-4), (1e-3, 5e-3))),
        knobs=knobs,
    )


async def unfold(world: World, only: Sequence[str] = ()) -> None:
    """Faults happen as long as the world is busy; some of them overlap. *only* names the kinds,
    which are drawn when it is empty."""
    chance = world.chance
    kinds = list(only) or chance.sample(sorted(FAULTS), chance.randint(0, 4))
    if not kinds:
        return
    world.trace.note(f"faults: {', '.join(kinds)}", "world")
    count = chance.randint(1, 6)
    async with asyncio.TaskGroup() as group:
        for _ in range(count):
            await asyncio.sleep(chance.expovariate(count / world.shape.busy_s))
            group.create_task(FAULTS[chance.choice(kinds)](world))


def heal(world: World) -> None:
    """Everybody runs, and nothing is slow, lost or held up any more; clocks stay as they are."""
    world.armed.clear()
    world.losing = world.doubling = 0.0
    world.files.full = False
    world.slowness = world.network.slow = 1.0
    world.start_broker()
    for process in list(world.running.values()):
        world.network.heal(process)
        world.loop.resume(process)
    for name in world.shape.processes:
        world.start(name)

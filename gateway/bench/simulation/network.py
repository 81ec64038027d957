"""Lines between processes: in order, never altered, and late, held up or broken as the seed wills.

A line is what TCP gives: bytes arrive in the order in which they were sent, or the connection
ends. A partition holds them back; they arrive when it heals. Lost and doubled messages are the
broker's business.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from random import Random
from typing import Any

from typing_extensions import override

from gateway.bench.simulation.loop import PROCESS, Process, SimulatedLoop

DELAY_S = (2e-5, 4e-4)
"""One way, on a good day: least and most."""
CONNECT_TIMEOUT_S = 20.0
"""Until an operating system gives up on a host that is silent."""
Accept = Callable[[], asyncio.Protocol]


class End(asyncio.Transport):
    """One end of a line."""

    def __init__(self, network: Network, process: Process, protocol: asyncio.BaseProtocol) -> None:
        super().__init__()
        self.process = process
        self.peer: End
        self._network = network
        self._protocol = protocol
        self._closing = False
        self._arrival_s = 0.0
        self._held: deque[bytes | None] = deque()
        self._packet: list[bytes] = []
        self._packet_step = -1

    @override
    def write(self, data: bytes | bytearray | memoryview) -> None:
        if data and not self._closing and self.process.alive:
            self._send(bytes(data))

    @override
    def close(self) -> None:
        if not self._closing:
            self._closing = True
            self._send(None)
            self._network.loop.call_soon(self._lost, None, context=self.process.context)

    @override
    def abort(self) -> None:
        self.close()

    @override
    def is_closing(self) -> bool:
        return self._closing

    def dies(self) -> None:
        """The process at this end has died: its machine closes the line."""
        self._closing = True
        self._send(None)

    def closed(self) -> None:
        """There is no line any more, and nobody is told."""
        self._closing = True

    def release(self) -> None:
        """What was held back is on its way."""
        held, self._held = self._held, deque()
        for data in held:
            self._send(data)

    def break_off(self) -> None:
        """The connection is reset, as this end sees it."""
        if not self._closing:
            self._closing = True
            reset = ConnectionResetError("the line broke")
            self._network.loop.call_soon(self._lost, reset, context=self.process.context)

    def made(self) -> None:
        """Tell the protocol that the line stands."""
        self._protocol.connection_made(self)

    def _send(self, data: bytes | None) -> None:
        """*data*, or the end of it all, is on its way to the other end."""
        network, peer = self._network, self.peer
        if network.parted(self.process, peer.process):
            self._held.append(data)
            return
        if data is not None and self._packet_step == network.loop.steps:
            self._packet.append(data)  # What is written in one step travels together.
            return
        when = network.loop.time() + network.delay_s()
        self._arrival_s = when = max(when, self._arrival_s)
        packet = None if data is None else [data]
        self._packet, self._packet_step = packet or [], network.loop.steps if packet else -1
        network.loop.call_at(when, peer._arrived, packet, context=peer.process.context)  # noqa: SLF001

    def _arrived(self, packet: list[bytes] | None) -> None:
        if self._closing or not isinstance(self._protocol, asyncio.Protocol):
            return
        if packet is not None:
            self._protocol.data_received(b"".join(packet))
        elif not self._protocol.eof_received():
            self.close()

    def _lost(self, error: Exception | None) -> None:
        self._network.forget(self)
        self._protocol.connection_lost(error)


class Network:
    """All lines of one world, and who listens where."""

    def __init__(self, loop: SimulatedLoop, chance: Random) -> None:
        self.loop = loop
        self.listening: dict[tuple[str, int], tuple[Process, Accept]] = {}
        self.slow = 1.0
        """How many times slower than on a good day."""
        self._chance = chance
        self._ends: list[End] = []
        self._parted: set[str] = set()
        loop.connect = self.connect

    def delay_s(self) -> float:
        """How long the next bytes take."""
        least, most = DELAY_S
        return (least + (most - least) * self._chance.random()) * self.slow

    def part(self, process: Process) -> None:
        """Nobody hears of *process* any more, nor it of anybody."""
        self._parted.add(process.name)

    def heal(self, process: Process) -> None:
        """What was held back arrives."""
        self._parted.discard(process.name)
        for end in self._of(process):
            end.release()
            end.peer.release()

    def parted(self, one: Process, other: Process) -> bool:
        """Whether the two cannot hear each other."""
        return one.name in self._parted or other.name in self._parted

    def reset(self, process: Process) -> None:
        """Every connection of *process* breaks, at both ends."""
        for end in self._of(process):
            end.break_off()
            end.peer.break_off()

    def bury(self, process: Process) -> None:
        """*process* has died: those who talked with it learn that the line has ended."""
        for end in self._of(process):
            end.dies()
            if not self.parted(end.process, end.peer.process):
                self.forget(end)

    def close(self) -> None:
        """The world has ended, and every line with it."""
        for end in self._ends:
            end.closed()
        self._ends.clear()

    def forget(self, end: End) -> None:
        """*end* is over."""
        if end in self._ends:
            self._ends.remove(end)

    async def connect(
        self, protocol_factory: Callable[[], asyncio.BaseProtocol], host: str, port: int
    ) -> tuple[Any, asyncio.BaseProtocol]:
        """A line to whoever listens. Raises OSError when nobody does."""
        client = PROCESS.get()
        deadline_s = self.loop.time() + CONNECT_TIMEOUT_S
        await asyncio.sleep(self.delay_s())
        while (found := self.listening.get((host, port))) and self.parted(client, found[0]):
            if self.loop.time() > deadline_s:
                raise TimeoutError(f"{host}:{port} is silent")
            await asyncio.sleep(0.5)
        if found is None:
            raise ConnectionRefusedError(f"nobody listens on {host}:{port}")
        server, accept = found
        near = End(self, client, protocol_factory())
        far = End(self, server, accept())
        near.peer, far.peer = far, near
        self._ends += [near, far]
        self.loop.call_soon(far.made, context=server.context)
        near.made()
        return near, near._protocol  # noqa: SLF001  # what asyncio's own connect returns

    def _of(self, process: Process) -> list[End]:
        return [end for end in self._ends if end.process.name == process.name]

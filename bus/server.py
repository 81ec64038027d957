"""The embedded broker: one nats-server per data directory, started, watched and stopped by us.

Everything it owns lies in `<data>/nats/`: its configuration, its users' passwords, its log of
itself, and below `jetstream/` the event log. It listens on the loopback interface only, asks every
client who it is, and acknowledges nothing that is not on the disk (`sync_interval: always`,
ADR 0003).
"""

from __future__ import annotations

import asyncio
import ctypes
import errno
import json
import signal
import socket
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from secrets import token_hex
from typing import Any, Never

import psutil

from bus.disk import free_room, has_room, shortage
from bus.files import written
from bus.health import Sick, Unwell, examine
from bus.program import BrokerUnusable, fitting
from bus.roles import SYSTEM_ACCOUNT, Endpoint, accounts, passwords
from schemas.settings import GIB, KIB, MIB, Settings

DIRECTORY = "nats"
FREE_SHARE = 0.6
LOG_BYTES_CAP = 1024 * GIB
BUCKET_BYTES_MAX = 1 * GIB
HEADERS_BYTES = 64 * KIB
POLL_S = 0.01
GREETING_TIMEOUT_S = 0.5
BUSY_SHARE = 0.02
"""Of a processor: less is idle (a broker without clients takes 0.0007), more reads its log."""
PORT_ATTEMPTS = 3
PR_SET_PDEATHSIG = 1


class BrokerStopped(Exception):
    """The broker ended, or stays sick, while it was needed."""


class Broker:
    """A running broker."""

    def __init__(self, endpoint: Endpoint, process: asyncio.subprocess.Process, log: Path) -> None:
        self.endpoint = endpoint
        self.pid = process.pid
        self._process = process
        self._log = log

    @property
    def killed_by(self) -> int:
        """The number of the signal that ended the broker; 0 when it runs or ended by itself."""
        return max(0, -(self._process.returncode or 0))

    async def watch(self, settings: Settings) -> Never:
        """Raises `BrokerStopped` when the broker ends, or is sick too often in a row.

        After a full disk the broker refuses writes until it is started anew, even when there is
        space again; so whoever catches this starts it again. It still reads: as long as there is
        no room to start in, it is left alone.
        """
        failures = 0
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(settings.nats_health_every_s):
                    code = await self._process.wait()
                    raise BrokerStopped(f"the broker ended with {code}: {_last_words(self._log)}")
            try:
                await examine(self.endpoint, settings.nats_health_timeout_s)
                failures = 0
            except Sick as error:
                failures += 1
                enough = failures >= settings.nats_health_failures_max
                silent = not isinstance(error, Unwell)
                if enough and (silent or await asyncio.to_thread(has_room, settings)):
                    raise BrokerStopped(f"the broker is not well: {error}") from error

    async def stop(self, timeout_s: float) -> None:
        """The broker has ended: politely within *timeout_s*, else killed."""
        if self._process.returncode is not None:
            return
        with suppress(ProcessLookupError):
            self._process.terminate()
        try:
            async with asyncio.timeout(timeout_s):
                await self._process.wait()
        except TimeoutError:
            self._process.kill()
            await self._process.wait()
        except asyncio.CancelledError:  # Who is told a second time to stop leaves nobody behind.
            with suppress(ProcessLookupError):
                self._process.kill()
            raise


@asynccontextmanager
async def broker(settings: Settings) -> AsyncIterator[Broker]:
    """The broker of this data directory, ready for clients; stopped when the block ends.

    The caller holds the data directory (`bus.holding`). Raises `BrokerUnusable`, or OSError when
    the disk has no room to start in.
    """
    directory = (settings.data_directory / DIRECTORY).resolve()
    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    if not await asyncio.to_thread(has_room, settings):
        raise OSError(errno.ENOSPC, "there is no room to start the broker in", str(directory))
    await asyncio.to_thread(_stop_orphan, directory, settings.nats_stop_timeout_s)
    running = await _started(settings, directory)
    try:
        yield running
    finally:
        await running.stop(settings.nats_stop_timeout_s)


def kept_endpoint(data_directory: Path) -> Endpoint | None:
    """Where the broker of *data_directory* last listened, or None before its first start.

    Raises `BrokerUnusable` when that cannot be read.
    """
    path = data_directory / DIRECTORY / "endpoint.json"
    try:
        kept = json.loads(path.read_text("utf-8"))
        url, log_bytes_max = str(kept["url"]), int(kept["log_bytes_max"])
        int(url.rpartition(":")[2])  # Its port, which is going to be asked for.
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError) as error:
        raise BrokerUnusable(
            f"{path} is damaged: remove it. It is written anew at the next start; set "
            "CANOPY_LOG_BYTES_MAX if the log was given more room than a share of the free disk."
        ) from error
    return Endpoint(url, _passwords(path.parent), log_bytes_max)


def _passwords(directory: Path) -> dict[str, str]:
    """Those of all roles. Raises `BrokerUnusable` when they cannot be read."""
    path = directory / "credentials.json"
    try:
        return passwords(path)
    except ValueError as error:
        raise BrokerUnusable(
            f"{path} is damaged: remove it. The broker is told new passwords at its next start."
        ) from error


async def _started(settings: Settings, directory: Path) -> Broker:
    """A ready broker, on its kept port if that is free, else on another.

    One that a signal ends while it starts (the kernel's killer, a hasty operator) is started again.
    """
    program = await asyncio.to_thread(fitting, settings, directory)
    kept = await asyncio.to_thread(kept_endpoint, settings.data_directory)
    log_bytes = await asyncio.to_thread(_log_bytes, settings, kept)
    secrets = await asyncio.to_thread(_passwords, directory)
    last_words = ""
    port = settings.nats_port or _port(settings.nats_host, kept)
    for _ in range(PORT_ATTEMPTS):
        endpoint = Endpoint(f"nats://{_bracketed(settings.nats_host)}:{port}", secrets, log_bytes)
        name = f"canopy-{token_hex(4)}"
        config = configuration(settings, directory, endpoint, name, port)
        written(directory / "nats.conf", json.dumps(config, indent=1))
        running = await _launched(program, directory, endpoint)
        try:
            if await _ready(running, settings, port, name):
                told = {"url": endpoint.url, "log_bytes_max": log_bytes}
                written(directory / "endpoint.json", json.dumps(told))
                return running
        except BaseException:
            await running.stop(settings.nats_stop_timeout_s)
            raise
        await running.stop(settings.nats_stop_timeout_s)
        if running.killed_by:
            last_words = f"signal {running.killed_by} ended it"
            continue
        last_words = _last_words(directory / "nats.log", directory / "start.log")
        if "address already in use" not in last_words or settings.nats_port:
            break
        port = _port(settings.nats_host, None)
    raise BrokerUnusable(f"nats-server did not start: {last_words}")


def configuration(
    settings: Settings, directory: Path, endpoint: Endpoint, name: str, port: int
) -> dict[str, Any]:
    """What nats-server is told (its configuration language contains JSON)."""
    file_bytes = endpoint.log_bytes_max + 2 * BUCKET_BYTES_MAX
    return {
        "server_name": name,
        "listen": f"{_bracketed(settings.nats_host)}:{port}",
        "jetstream": {
            "store_dir": str(directory),
            "sync_interval": "always",
            "max_file_store": file_bytes,
            "max_memory_store": 1 * MIB,
        },
        "max_payload": settings.payload_bytes_max + HEADERS_BYTES,
        "max_connections": settings.nats_connections_max,
        "write_deadline": f"{settings.nats_write_deadline_s}s",
        "pid_file": str(directory / "nats.pid"),
        "log_file": str(directory / "nats.log"),
        "logfile_size_limit": 10 * MIB,
        "logfile_max_num": 3,
        "accounts": accounts(endpoint.passwords, file_bytes),
        "system_account": SYSTEM_ACCOUNT,
    }


async def _launched(program: str, directory: Path, endpoint: Endpoint) -> Broker:
    with (directory / "start.log").open("wb") as output:
        process = await asyncio.create_subprocess_exec(
            program,
            "-c",
            str(directory / "nats.conf"),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,  # Ctrl-C is for us; we stop the broker after its clients.
            preexec_fn=_die_with_parent(),
        )
    return Broker(endpoint, process, directory / "nats.log")


def _die_with_parent() -> Callable[[], object] | None:
    """What makes Linux stop the broker when we are killed; elsewhere the pid file must do."""
    if sys.platform != "linux":
        return None
    return partial(ctypes.CDLL(None).prctl, PR_SET_PDEATHSIG, int(signal.SIGTERM))


async def _ready(running: Broker, settings: Settings, port: int, name: str) -> bool:
    """True once the broker greets us by *name*; False when it ends first.

    It greets after it has read its log, which after a crash takes as long as the log is: the time
    is counted anew while the broker works. Raises `BrokerUnusable` when it neither ends nor works.
    """
    time, timeout_s, worked_s = asyncio.get_running_loop().time, settings.nats_start_timeout_s, 0.0
    try:
        async with asyncio.timeout(timeout_s) as patience:
            while running._process.returncode is None:  # noqa: SLF001  # one module, one thing
                if await _greets(settings.nats_host, port, name):
                    return True
                if (now_s := _worked_s(running.pid)) > worked_s + timeout_s * BUSY_SHARE:
                    patience.reschedule(time() + timeout_s)
                    worked_s = now_s
                await asyncio.sleep(POLL_S)
            return False
    except TimeoutError as error:
        raise BrokerUnusable(
            f"nats-server was not ready, and did nothing for {timeout_s} s"
        ) from error


def _worked_s(pid: int) -> float:
    """The processor's time that a process has had so far; 0 when it has ended."""
    try:
        times = psutil.Process(pid).cpu_times()
    except psutil.NoSuchProcess:
        return 0.0
    return float(times.user + times.system)


async def _greets(host: str, port: int, name: str) -> bool:
    try:
        reader, writer = await asyncio.open_connection(host, port)
    except OSError:
        return False
    try:
        async with asyncio.timeout(GREETING_TIMEOUT_S):  # A stranger may listen there in silence.
            greeting = await reader.readline()
        return greeting.startswith(b"INFO ") and json.loads(greeting[5:])["server_name"] == name
    except (OSError, ValueError, TimeoutError):
        return False
    finally:
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()


def _stop_orphan(directory: Path, timeout_s: float) -> None:
    """No broker of an earlier, killed node runs on *directory* any more."""
    try:
        process = psutil.Process(int((directory / "nats.pid").read_text("ascii")))
        if str(directory / "nats.conf") not in process.cmdline():
            return  # The number belongs to somebody else by now.
        process.terminate()
        try:
            process.wait(timeout_s)
        except psutil.TimeoutExpired:
            process.kill()
            process.wait(timeout_s)
    except (FileNotFoundError, ValueError, psutil.NoSuchProcess):
        return


def _log_bytes(settings: Settings, kept: Endpoint | None) -> int:
    """How much the log may take. Decided once: a limit that followed the free disk would shrink
    below what is stored, and the broker would refuse its own log.
    """
    if kept is None and (short := shortage(settings)):
        raise BrokerUnusable(
            f"{settings.data_directory}: {short}."
        )  # Later starts are for reading: `bus.disk` sees to it.
    if settings.log_bytes_max:
        return settings.log_bytes_max
    if kept is not None and kept.log_bytes_max:
        return kept.log_bytes_max
    return min(int(free_room(settings.data_directory).bytes * FREE_SHARE), LOG_BYTES_CAP)


def _port(host: str, kept: Endpoint | None) -> int:
    """The kept port, else one that is free now."""
    if kept is not None:
        return int(kept.url.rpartition(":")[2])
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.bind((host, 0))
        port: int = probe.getsockname()[1]
        return port


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _last_words(*logs: Path) -> str:
    """The last complaint in the first of *logs* that holds one, for an error's text."""
    for log in logs:
        lines = log.read_text("utf-8", "replace").splitlines() if log.exists() else []
        wrong = [
            line
            for line in lines[-50:]
            if "[FTL]" in line or "[ERR]" in line or "nats-server:" in line
        ]
        if wrong:
            return wrong[-1].strip()
    return "it said nothing"

"""What is well with a node and what is not: `canopy doctor`.

Every check answers with findings; a finding that is not well says what to do. Nothing here changes
anything, and a broken part is a finding and no error. Read `examine`, then the checks in its order.
"""

from __future__ import annotations

import asyncio
import os
import platform
import shutil
import socket
import stat
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

import psutil

from bus.copies import counted_anew
from bus.external import external_endpoint
from bus.health import Sick, asked
from bus.holding import Holder, holder
from bus.logins import LoginUnusable
from bus.program import VERSION_MIN, BrokerUnusable, binary, dotted, version
from bus.server import kept_endpoint
from bus.topology import Unfit, check_server, check_servers
from gateway import keeping
from gateway.descriptors import granted
from gateway.finding import Finding
from gateway.surroundings import FORGETFUL, REMOTE, existing, hazards, volume
from schemas.configuration import Configuration
from schemas.settings import GIB, MIB, Settings

FSYNC_SLOW_S = 0.05
CLOCK_JUMP_S = 0.05
CLOCK_LOOK_S = 0.2
FILES_SPARE = 1000
"""For everything else that a node has open."""
ASK_S = 3.0
PACKAGES = {
    "git": "git",
    "bwrap": "bubblewrap",
    "fuse-overlayfs": "fuse-overlayfs",
    "chromium": "chromium",
}
"""Programs of the system that some features want, and the packages that bring them."""
ALIASES = {"chromium": ("chromium", "chromium-browser", "google-chrome", "chrome")}


async def examine(configuration: Configuration) -> list[Finding]:
    """All findings about the node that *configuration* describes, whether it runs or not."""
    settings = configuration.settings
    held_by = holder(settings.data_directory)
    return [
        _program(),
        *_settings(configuration),
        *_data_directory(settings.data_directory),
        _disk(settings),
        await asyncio.to_thread(_fsync, settings.data_directory),
        *await asyncio.to_thread(_clock),
        await asyncio.to_thread(_broker_program, settings),
        await _broker(settings, held_by),
        await asyncio.to_thread(keeping.log, settings),
        await asyncio.to_thread(keeping.vault, settings),
        await asyncio.to_thread(_port, settings, held_by),
        _open_files(settings),
        _packages(),
    ]


def _program() -> Finding:
    text = f"Python {platform.python_version()} on {platform.system()} {platform.machine()}"
    return Finding("python", "ok", text)


def _settings(configuration: Configuration) -> list[Finding]:
    file = configuration.file or "no file; defaults, environment and flags"
    findings = [
        Finding("configuration", "ok", f"{file}, {len(configuration.sources)} settings set")
    ]
    if configuration.strangers:
        names = ", ".join(configuration.strangers)
        remedy = "Perhaps misspelt; `canopy config show` lists every setting."
        findings.append(Finding("configuration", "warn", f"No setting is called {names}.", remedy))
    return findings


def _data_directory(path: Path) -> list[Finding]:
    findings = [
        _ownership(path),
        *(Finding("data directory", "warn", h.what, h.remedy) for h in hazards(path)),
    ]
    place = volume(path)
    if place.kind in REMOTE:
        what = f"It lies on {place.kind} at {place.mount}: locks and fsync cannot be trusted there."
        findings.append(Finding("file system", "warn", what, "Use a local disk."))
    elif place.kind in FORGETFUL:
        what = f"It lies on {place.kind} at {place.mount}, which is empty after a restart."
        findings.append(Finding("file system", "warn", what, "Use a disk."))
    else:
        findings.append(Finding("file system", "ok", f"{place.kind} at {place.mount}"))
    return findings


def _ownership(path: Path) -> Finding:
    name = "data directory"
    if not path.exists():
        above = existing(path)
        if not os.access(above, os.W_OK | os.X_OK):
            return Finding(
                name, "fail", f"{path} cannot be made in {above}.", f"chown {above}, or use --data."
            )
        return Finding(name, "ok", f"{path} (not made yet)")
    found = path.stat()
    if found.st_uid != os.getuid():
        return Finding(
            name,
            "fail",
            f"{path} belongs to uid {found.st_uid}, not to us.",
            f"sudo chown -R {os.getuid()} {path}",
        )
    if not os.access(path, os.R_OK | os.W_OK | os.X_OK):
        return Finding(name, "fail", f"{path} cannot be written.", f"chmod u+rwx {path}")
    if found.st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        mode = stat.filemode(found.st_mode)
        return Finding(name, "warn", f"{path} is open to others ({mode}).", f"chmod 700 {path}")
    return Finding(name, "ok", f"{path} (ours alone)")


def _disk(settings: Settings) -> Finding:
    usage = shutil.disk_usage(existing(settings.data_directory))
    reserve = settings.disk_reserve_bytes
    text = f"{size(usage.free)} free of {size(usage.total)}; {size(reserve)} are kept in reserve"
    if usage.free < reserve:
        return Finding(
            "disk", "fail", text, "Make room: below the reserve the node refuses to write."
        )
    if usage.free < 4 * reserve:
        return Finding("disk", "warn", text, "Make room soon.")
    return Finding("disk", "ok", text)


def _fsync(path: Path) -> Finding:
    """How long the disk takes to promise that it has something: the price of every write."""
    try:
        with tempfile.TemporaryFile(dir=existing(path)) as file:
            times = [_one_fsync(file.fileno()) for _ in range(7)]
    except OSError as error:
        return Finding(
            "fsync", "fail", f"Nothing can be written at {path}: {error}", "See data directory."
        )
    median = statistics.median(times)
    text = f"{median * 1000:.2f} ms each"
    if median > FSYNC_SLOW_S:
        return Finding("fsync", "warn", text, "A slow disk: every post waits for it. Use an SSD.")
    return Finding("fsync", "ok", text)


def _one_fsync(descriptor: int) -> float:
    os.write(descriptor, b"x" * 512)
    began = time.perf_counter()
    os.fsync(descriptor)
    return time.perf_counter() - began


def _clock() -> list[Finding]:
    before = time.time() - time.monotonic()
    time.sleep(CLOCK_LOOK_S)
    jump = time.time() - time.monotonic() - before
    if abs(jump) > CLOCK_JUMP_S:
        what = f"The wall clock jumped by {jump:+.3f} s within {CLOCK_LOOK_S} s."
        return [
            Finding("clock", "warn", what, "Let it be set slowly: use chrony or systemd-timesyncd.")
        ]
    synced = _synchronised()
    if synced is False:
        remedy = "sudo timedatectl set-ntp true"
        return [Finding("clock", "warn", "The clock is not synchronised with any server.", remedy)]
    return [Finding("clock", "ok", "steady, synchronised" if synced else "steady")]


def _synchronised() -> bool | None:
    """Whether the system says that its clock follows a server; None when it does not say."""
    program = shutil.which("timedatectl")
    if program is None:
        return None
    try:
        told = subprocess.run(  # noqa: S603  # found on the PATH, constant arguments
            [program, "show", "--property=NTPSynchronized", "--value"],
            capture_output=True, text=True, timeout=ASK_S, check=False,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired):
        return None
    return {"yes": True, "no": False}.get(told.stdout.strip())


def _broker_program(settings: Settings) -> Finding:
    if settings.nats_url:
        return Finding("nats-server", "ok", "an external server, see nats_url")
    try:
        program = binary(settings)
    except BrokerUnusable as error:
        return Finding("nats-server", "fail", "There is no nats-server.", str(error))
    try:
        own = version(program)
    except BrokerUnusable as error:
        return Finding("nats-server", "fail", str(error), "make setup")
    told = f"{dotted(own)} at {program}"
    if own < VERSION_MIN:
        return Finding("nats-server", "fail", told, f"Upgrade it to {dotted(VERSION_MIN)}.")
    return Finding("nats-server", "ok", told)


async def _broker(settings: Settings, held_by: Holder | None) -> Finding:
    """Whether the running broker syncs before it acknowledges, and says that it is well."""
    if settings.nats_url:
        return await _servers(settings)
    try:
        endpoint = kept_endpoint(settings.data_directory)
        if held_by is None or endpoint is None:
            return Finding("broker", "ok", "not running: no node has this data directory")
        health = await asked(endpoint, "HEALTHZ", ASK_S)
        server = await asked(endpoint, "VARZ", ASK_S)
        check_server(server)
    except (Sick, BrokerUnusable) as error:
        return Finding(
            "broker", "fail", f"It does not answer: {error}", "Stop the node and start it again."
        )
    except Unfit as error:
        return Finding("broker", "fail", error.fault, str(error))
    if health.get("status") != "ok":
        return Finding("broker", "fail", str(health), "Free disk space, then start the node again.")
    return Finding(
        "broker", "ok", f"{server['version']} at {endpoint.url}, syncs before it acknowledges"
    )


async def _servers(settings: Settings) -> Finding:
    """Whether the servers of others can be signed in to, and keep what they acknowledge."""
    try:
        endpoint = await asyncio.to_thread(external_endpoint, settings)
        size = await check_servers(endpoint, settings)
        warning = await counted_anew(endpoint, settings)
    except LoginUnusable as error:
        remedy = "canopy config explain nats_credentials"
        return Finding("broker", "fail", str(error), remedy)
    except Unfit as error:
        return Finding("broker", "fail", error.fault, str(error))
    told = f"{size} at {endpoint.url}, each syncs before it acknowledges"
    if warning:
        return Finding("broker", "warn", told, f"{warning[:1].upper()}{warning[1:]}.")
    return Finding("broker", "ok", told)


def _port(settings: Settings, held_by: Holder | None) -> Finding:
    where = f"{settings.host}:{settings.port}"
    if held_by is not None and held_by.url.endswith(f":{settings.port}"):
        return Finding("port", "ok", f"{where}, ours (pid {held_by.pid})")
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((settings.host, settings.port))
        except OSError as error:
            remedy = "Stop that program, or use another port: canopy up --port 7771"
            return Finding(
                "port",
                "fail",
                f"{where} is not free ({_occupant(settings.port) or error}).",
                remedy,
            )
    return Finding("port", "ok", f"{where} is free")


def _occupant(port: int) -> str:
    """The program that listens on *port*, as far as we may know."""
    try:
        connections = psutil.net_connections("tcp")
    except psutil.AccessDenied:
        return ""
    for connection in connections:
        listens = connection.status == psutil.CONN_LISTEN
        if listens and connection.laddr and connection.laddr.port == port:
            try:
                process = psutil.Process(connection.pid) if connection.pid else None
                return f"{process.name()}, pid {process.pid}" if process else ""
            except psutil.Error:
                return f"pid {connection.pid}"
    return ""


def _open_files(settings: Settings) -> Finding:
    """Every live client is one; a node asks for as many as it may have."""
    most, clients = granted(), settings.live_clients_max
    if most < clients + FILES_SPARE:
        what = f"{most} at most: too few for {clients} live clients (live_clients_max)"
        return Finding("open files", "warn", what, f"ulimit -Hn {clients + FILES_SPARE}, as root")
    return Finding("open files", "ok", f"{most} at most")


def _packages() -> Finding:
    """Nothing of this is needed to talk; sandboxes and pictures of pages will want it."""
    missing = [
        package
        for program, package in PACKAGES.items()
        if not any(shutil.which(name) for name in ALIASES.get(program, (program,)))
    ]
    if missing:
        what = f"Not there, and not needed to talk: {', '.join(missing)}."
        return Finding("packages", "warn", what, f"sudo apt-get install {' '.join(missing)}")
    return Finding("packages", "ok", ", ".join(PACKAGES.values()))


def size(count: int) -> str:
    """A number of bytes for people."""
    if count >= GIB:
        return f"{count / GIB:.1f} GiB"
    return f"{count / MIB:.0f} MiB"

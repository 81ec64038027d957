"""The embedded broker: started, watched, stopped, and never two of it."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from bus.files import written
from bus.health import Sick, asked, examine
from bus.program import BrokerUnusable, binary
from bus.server import Broker, BrokerStopped, broker, kept_endpoint
from schemas.settings import GIB, Settings

SHORT_S = 0.7


async def test_a_started_broker_is_well_and_syncs_before_it_acknowledges(running: Broker) -> None:
    await examine(running.endpoint, timeout_s=5)
    told = await asked(running.endpoint, "VARZ", timeout_s=5)

    assert told["jetstream"]["config"]["sync_always"] is True
    assert told["host"] == "127.0.0.1"
    assert told["http_port"] == 0


async def test_a_stopped_broker_is_gone(settings: Settings) -> None:
    async with broker(settings) as running:
        pid = running.pid

    assert not psutil.pid_exists(pid)
    with pytest.raises(Sick):
        await examine(running.endpoint, timeout_s=1)


async def test_a_broker_is_found_where_it_was(settings: Settings) -> None:
    async with broker(settings) as first:
        pass
    async with broker(settings) as second:
        pass

    assert first.endpoint == second.endpoint == kept_endpoint(settings.data_directory)


@pytest.mark.parametrize("name", ["endpoint.json", "credentials.json"])
@pytest.mark.parametrize("text", [b"", b'{"url": "nats://\xb1'])
async def test_what_is_kept_of_a_broker_and_cannot_be_read_is_named(
    settings: Settings, name: str, text: bytes
) -> None:
    directory = settings.data_directory / "nats"
    directory.mkdir(parents=True)
    told = {"url": "nats://127.0.0.1:4222", "log_bytes_max": 0}
    (directory / "endpoint.json").write_text(json.dumps(told))
    (directory / name).write_bytes(text)

    with pytest.raises(BrokerUnusable, match=f"{name} is damaged: remove it"):
        async with broker(settings):
            pass


async def test_a_broker_gives_way_when_its_port_is_taken(settings: Settings) -> None:
    async with broker(settings) as first:
        pass
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", int(first.endpoint.url.rpartition(":")[2])))
        taken.listen()

        async with broker(settings) as second:
            await examine(second.endpoint, timeout_s=5)

    assert second.endpoint.url != first.endpoint.url


async def test_a_port_that_was_asked_for_and_is_taken_is_an_error(settings: Settings) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        asked_for = settings.model_copy(update={"nats_port": taken.getsockname()[1]})

        with pytest.raises(BrokerUnusable, match="address already in use"):
            async with broker(asked_for):
                pass


async def test_nothing_of_the_broker_is_readable_by_others(
    running: Broker, settings: Settings
) -> None:
    directory = settings.data_directory / "nats"
    modes = {
        name: (directory / name).stat().st_mode & 0o777
        for name in ("nats.conf", "credentials.json", "endpoint.json")
    }

    assert set(modes.values()) == {0o600}
    assert directory.stat().st_mode & 0o777 == 0o700
    assert not any(password in repr(running.endpoint) for password in running.endpoint.passwords)


async def test_a_broker_that_dies_is_noticed(running: Broker, settings: Settings) -> None:
    os.kill(running.pid, signal.SIGKILL)

    async with asyncio.timeout(5):
        with pytest.raises(BrokerStopped, match="-9"):
            await running.watch(settings)


async def test_a_broker_that_hangs_is_noticed(running: Broker, settings: Settings) -> None:
    hasty = settings.model_copy(update={"nats_connect_timeout_s": 0.1})
    os.kill(running.pid, signal.SIGSTOP)
    try:
        async with asyncio.timeout(10):
            with pytest.raises(BrokerStopped, match="not well"):
                await running.watch(hasty)
    finally:
        os.kill(running.pid, signal.SIGCONT)


async def test_a_broker_that_does_not_listen_to_reason_is_killed(settings: Settings) -> None:
    hasty = settings.model_copy(update={"nats_stop_timeout_s": 0.1})
    async with broker(hasty) as running:
        os.kill(running.pid, signal.SIGSTOP)

    assert not psutil.pid_exists(running.pid)


async def test_who_is_told_twice_to_stop_leaves_no_frozen_broker_behind(settings: Settings) -> None:
    async with broker(settings) as running:
        frozen = psutil.Process(running.pid)
        frozen.suspend()
        stopping = asyncio.create_task(running.stop(60))
        await asyncio.sleep(0)
        stopping.cancel()
        await asyncio.wait([stopping])
        await asyncio.to_thread(frozen.wait, 5)

        assert not frozen.is_running()


PARENT = """
import asyncio, sys
from pathlib import Path
from bus.server import broker
from schemas.settings import Settings

async def main():
    async with broker(Settings(data_directory=Path(sys.argv[1]), log_bytes_max=1 << 26)) as running:
        print(running.pid, flush=True)
        await asyncio.sleep(60)

asyncio.run(main())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the next start clears up")
async def test_a_broker_does_not_outlive_a_killed_node(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", PARENT, str(tmp_path)], stdout=subprocess.PIPE
    ) as parent:
        assert parent.stdout is not None
        orphan = psutil.Process(int(parent.stdout.readline()))
        parent.kill()

    assert orphan.wait(timeout=5) is None


async def test_a_broker_left_over_is_stopped_before_the_next_one(settings: Settings) -> None:
    async with broker(settings):
        pass
    directory = settings.data_directory / "nats"
    with subprocess.Popen([binary(settings), "-c", directory / "nats.conf"]) as orphan:
        async with asyncio.timeout(5):
            while (directory / "nats.pid").read_text() != str(orphan.pid):
                await asyncio.sleep(0)

        async with broker(settings) as running:
            assert orphan.wait(timeout=5) == 0 or orphan.returncode == -signal.SIGTERM
            await examine(running.endpoint, timeout_s=5)


async def test_a_number_that_is_somebody_elses_by_now_is_left_alone(settings: Settings) -> None:
    directory = settings.data_directory / "nats"
    directory.mkdir(parents=True)
    with subprocess.Popen(["sleep", "60"]) as stranger:
        (directory / "nats.pid").write_text(str(stranger.pid))

        async with broker(settings):
            assert stranger.poll() is None
        stranger.kill()


async def test_the_log_keeps_the_room_it_was_given(settings: Settings) -> None:
    by_itself = settings.model_copy(update={"log_bytes_max": 0})
    async with broker(settings):
        pass
    async with broker(by_itself) as running:
        assert running.endpoint.log_bytes_max == settings.log_bytes_max


async def test_the_log_does_not_start_on_a_full_disk(settings: Settings) -> None:
    poor = settings.model_copy(update={"log_bytes_max": 0, "disk_reserve_bytes": 1_000_000 * GIB})

    with pytest.raises(BrokerUnusable, match="make room"):
        async with broker(poor):
            pass


async def test_a_program_that_is_not_there_is_named(settings: Settings) -> None:
    odd = settings.model_copy(update={"nats_server": "/nowhere/nats-server"})

    with pytest.raises(BrokerUnusable, match="/nowhere/nats-server"):
        async with broker(odd):
            pass


def slow(settings: Settings, waiting: str) -> Settings:
    """The broker starts after a while in which it does what *waiting* says, again and again; that
    is longer than it has to become ready."""
    settings.data_directory.mkdir()
    program = settings.data_directory / "slow-nats-server"
    program.write_text(
        f"#!{sys.executable} -S\n"
        "import os, sys, time\n"
        "began = time.monotonic()\n"
        f"while '-v' not in sys.argv and time.monotonic() < began + {3 * SHORT_S}:\n"
        f"    {waiting}\n"
        f"os.execv({binary(settings)!r}, sys.argv)\n"
    )
    program.chmod(0o700)
    return settings.model_copy(
        update={"nats_server": str(program), "nats_start_timeout_s": SHORT_S}
    )


async def test_a_broker_that_reads_its_log_is_waited_for(settings: Settings) -> None:
    """However long: it would read it anew after every kill."""
    async with broker(slow(settings, "sum(range(1000))")) as running:
        await examine(running.endpoint, timeout_s=5)


async def test_a_broker_that_does_nothing_is_not_waited_for(settings: Settings) -> None:
    with pytest.raises(BrokerUnusable, match="did nothing for"):
        async with broker(slow(settings, "time.sleep(0.1)")):
            pass


def program(directory: Path, said: str) -> Path:
    """A nats-server that says it is *said*, and is ours for the rest."""
    path = directory / "nats-server"
    path.write_text(
        f'#!/bin/sh\n[ "$1" = -v ] && echo "nats-server: {said}" && exit\n'
        f'echo started >> "{path}.started"\nexec "{binary(Settings())}" "$@"\n'
    )
    path.chmod(0o700)
    return path


@pytest.mark.parametrize("said", ["v2.14.99", "v2.15.0", "v2.16.0-RC.1", "unknown"])
async def test_an_unfit_server_is_refused_before_it_touches_anything(
    said: str, settings: Settings, tmp_path: Path
) -> None:
    """One that is too old, one older than who wrote the log, one that does not say."""
    odd = settings.model_copy(update={"nats_server": str(program(tmp_path, said))})
    written(settings.data_directory / "nats" / "version", "2.17.0")

    with pytest.raises(BrokerUnusable, match=r"is needed|has written|does not say"):
        async with broker(odd):
            pass

    assert not Path(f"{odd.nats_server}.started").exists()


@pytest.mark.parametrize("text", [b"", b"2.15.\xb1"])
async def test_a_noted_version_that_cannot_be_read_is_named(
    settings: Settings, text: bytes
) -> None:
    note = settings.data_directory / "nats" / "version"
    note.parent.mkdir(parents=True)
    note.write_bytes(text)

    with pytest.raises(BrokerUnusable, match="version is damaged: remove it"):
        async with broker(settings):
            pass


async def test_a_newer_server_goes_on_and_is_remembered(settings: Settings, tmp_path: Path) -> None:
    async with broker(settings) as first:
        pass
    newer = settings.model_copy(update={"nats_server": str(program(tmp_path, "v2.99.1"))})
    async with broker(newer) as second:
        await examine(second.endpoint, timeout_s=5)

    assert first.endpoint == second.endpoint
    with pytest.raises(BrokerUnusable, match=r"2\.99\.1 has written this log"):
        async with broker(settings):
            pass


async def test_a_broken_store_is_told_with_the_brokers_own_words(settings: Settings) -> None:
    store = settings.data_directory / "nats" / "jetstream"
    store.parent.mkdir(parents=True)
    store.write_text("not a directory")

    with pytest.raises(BrokerUnusable, match=r"jetstream|storage"):
        async with broker(settings):
            pass


async def test_what_the_broker_is_told_is_plain_json(running: Broker, settings: Settings) -> None:
    told = json.loads((settings.data_directory / "nats" / "nats.conf").read_text())

    assert told["listen"] == running.endpoint.url.removeprefix("nats://")
    assert told["jetstream"]["sync_interval"] == "always"

"""What the doctor finds: each kind of trouble, made for real where that is possible."""

from __future__ import annotations

import asyncio
import shutil
import socket
from pathlib import Path
from typing import Any

import pytest

from bus.alarm import Fault, sound
from bus.crypto.passphrase import Cost
from bus.identity_file import identify
from bus.roles import accounts, passwords
from bus.vault_file import vault_in
from gateway.cli.exits import Exit
from gateway.descriptors import granted
from gateway.doctor import examine, size
from gateway.finding import Finding
from gateway.surroundings import existing, hazards, volume
from schemas.configuration import load
from schemas.settings import Settings
from tests.gateway.cli.conftest import Node, Type
from tests.servers import nats_server

CHEAP = Cost(1, 8192)


def found(check: str, **flags: object) -> list[Finding]:
    """The findings of one check about the node that *flags* configure."""
    configuration = load(flags, environ={"HOME": "/"})
    return [one for one in asyncio.run(examine(configuration)) if one.check == check]


def test_a_good_place_has_no_hazards(tmp_path: Path) -> None:
    assert hazards(tmp_path / "not" / "made" / "yet") == []


@pytest.mark.parametrize(
    ("made", "below", "told"),
    [
        (".git/", "data", "git work tree"),
        ("Dropbox/", "Dropbox/data", "Dropbox"),
        ("OneDrive - Acme/", "OneDrive - Acme/a/b", "OneDrive"),
        ("Nextcloud/", "Nextcloud/x", "Nextcloud"),
        (".sync_abc.db", "data", "Nextcloud"),
        (".stfolder/", "data", "Syncthing"),
        (".dropbox", "data", "Dropbox"),
        ("com~apple~CloudDocs/", "com~apple~CloudDocs/data", "iCloud Drive"),
    ],
)
def test_places_that_others_write_to_are_known(
    made: str, below: str, told: str, tmp_path: Path
) -> None:
    path = tmp_path / made
    path.mkdir() if made.endswith("/") else path.touch()

    (hazard,) = hazards(tmp_path / below)

    assert told in hazard.what
    assert "--data" in hazard.remedy


def test_a_volume_is_found_for_what_is_not_there_yet(tmp_path: Path) -> None:
    assert volume(tmp_path / "not" / "yet").kind != ""
    assert existing(tmp_path / "not" / "yet") == tmp_path.resolve()


def test_a_log_that_is_damaged_is_found_though_no_node_runs(tmp_path: Path) -> None:
    """With the first position that is wrong, and both ways out."""
    (before,) = found("log", data_directory=tmp_path)
    sound(Settings(data_directory=tmp_path), Fault("tail_lost", 9, "the log ends at 8"))
    (after,) = found("log", data_directory=tmp_path)

    assert (before.state, before.what) == ("ok", "not begun yet")
    assert (after.state, after.what) == ("fail", "the log ends at 8, from position 9.")
    assert "canopy restore" in after.remedy
    assert "canopy vouch" in after.remedy


@pytest.mark.parametrize("passphrase", [None, "correct horse battery"])
def test_a_vault_that_opens_for_nobody_is_found_though_no_node_runs(
    tmp_path: Path, passphrase: str | None
) -> None:
    """And it is looked at without being changed, or made."""
    (before,) = found("vault", data_directory=tmp_path)
    node = identify(tmp_path, passphrase, CHEAP)
    vault_in(tmp_path, node).close()
    flags = {"passphrase": passphrase} if passphrase else {}
    (well,) = found("vault", data_directory=tmp_path, **flags)
    shutil.rmtree(tmp_path / "vault")
    (after,) = found("vault", data_directory=tmp_path, **flags)

    assert [before.state, well.state, after.state] == ["ok", "ok", "fail"]
    assert (before.what, well.what) == ("not begun yet", "it opens")
    assert after.what == f"{tmp_path / 'vault'} is not there."
    assert after.remedy.startswith("Put back the vault and identity.json of one backup")
    assert not (tmp_path / "vault").exists()


def test_a_sealed_identity_keeps_the_vault_from_being_looked_at(tmp_path: Path) -> None:
    vault_in(tmp_path, identify(tmp_path, "correct horse battery", CHEAP)).close()
    (sealed,) = found("vault", data_directory=tmp_path)
    (wrong,) = found("vault", data_directory=tmp_path, passphrase="correct horse staples")

    assert (sealed.state, sealed.remedy) == ("warn", "Set CANOPY_PASSPHRASE.")
    assert wrong.state == "fail"
    assert "another passphrase" in wrong.what


def test_where_the_log_has_a_gap_there_is_one_way_out(tmp_path: Path) -> None:
    sound(Settings(data_directory=tmp_path), Fault("commit_missing", 9, "a commit is missing"))
    (gap,) = found("log", data_directory=tmp_path)

    assert "canopy restore" in gap.remedy
    assert "canopy vouch" not in gap.remedy


def test_a_data_directory_open_to_others_is_a_warning(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)

    (finding,) = found("data directory", data_directory=tmp_path, port=0)

    assert finding.state == "warn"
    assert finding.remedy == f"chmod 700 {tmp_path}"


def test_a_data_directory_of_ours_alone_is_fine(tmp_path: Path) -> None:
    tmp_path.chmod(0o700)

    (finding,) = found("data directory", data_directory=tmp_path, port=0)

    assert finding.state == "ok"


def test_a_full_disk_is_a_failure(tmp_path: Path) -> None:
    (finding,) = found("disk", data_directory=tmp_path, port=0, disk_reserve_bytes=2**60)

    assert finding.state == "fail"
    assert "Make room" in finding.remedy


def test_a_misspelt_variable_is_a_warning(tmp_path: Path) -> None:
    environ = {"HOME": "/", "CANOPY_PROT": "1", "CANOPY_DATA": str(tmp_path), "CANOPY_PORT": "0"}

    findings = asyncio.run(examine(load(environ=environ)))

    (warning,) = [one for one in findings if "CANOPY_PROT" in one.what]
    assert warning.state == "warn"


def test_a_missing_broker_is_a_failure(tmp_path: Path) -> None:
    (finding,) = found(
        "nats-server", data_directory=tmp_path, port=0, nats_server="/nowhere/nats-server"
    )

    assert finding.state == "fail"
    assert "/nowhere/nats-server" in finding.remedy


def test_too_few_open_files_for_the_clients_there_may_be_are_told(tmp_path: Path) -> None:
    (few,) = found("open files", data_directory=tmp_path, port=0, live_clients_max=granted())
    (enough,) = found("open files", data_directory=tmp_path, port=0, live_clients_max=10)

    assert (few.state, enough.state) == ("warn", "ok")
    assert "live_clients_max" in few.what


def test_a_taken_port_is_a_failure_that_names_who_has_it(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        (finding,) = found("port", data_directory=tmp_path, port=taken.getsockname()[1])

    assert finding.state == "fail"
    assert "pid" in finding.what


def test_a_running_node_is_examined_through_its_own_broker(node: Node, type_in: Type) -> None:
    port = node.url.rpartition(":")[2]

    said = type_in("doctor", "--data", str(node.directory), "--port", port, "--json")

    findings = {one["check"]: one for one in said.json["findings"]}
    assert said.code == Exit.OK
    assert "syncs before it acknowledges" in findings["broker"]["what"]
    assert "ours" in findings["port"]["what"]
    assert findings["fsync"]["state"] in ("ok", "warn")


def test_a_failure_ends_with_one_and_says_what_to_do(tmp_path: Path, type_in: Type) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        said = type_in("doctor", "--data", str(tmp_path), "--port", port)

    assert said.code == Exit.NO
    assert "✗" in said.out
    assert "canopy up --port" in said.out


@pytest.mark.parametrize(("count", "shown"), [(300 << 20, "300 MiB"), (5 << 30, "5.0 GiB")])
def test_sizes_are_told_for_people(count: int, shown: str) -> None:
    assert size(count) == shown


async def test_servers_of_others_are_looked_at(tmp_path: Path) -> None:
    """One that acknowledges before it syncs is named, with what to set."""
    users: dict[str, Any] = {
        "accounts": accounts(passwords(tmp_path / "p.json"), -1),
        "system_account": "SYS",
    }
    lazy = users | {"jetstream": {"store_dir": str(tmp_path / "lazy")}}
    async with nats_server(tmp_path, **users) as good, nats_server(tmp_path, **lazy) as bad:
        told = [
            await asyncio.to_thread(
                found, "broker", nats_url=place, nats_credentials=str(tmp_path / "p.json")
            )
            for place in (good, bad)
        ]

    assert [one.state for findings in told for one in findings] == ["ok", "fail"]
    assert told[1][0].what == "sync_lazy"
    assert "sync_interval: always" in told[1][0].remedy

"""`canopy nats config`: what it prints is what nats-server and Canopy understand."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

from bus.external import external_endpoint
from bus.program import binary
from gateway.cli.exits import Exit
from schemas.settings import Settings
from tests.gateway.cli.conftest import Type


def test_each_server_of_a_cluster_is_told_the_same_secrets(type_in: Type, tmp_path: Path) -> None:
    secrets = tmp_path / "passwords.json"
    words = ("nats", "config", "--credentials", str(secrets), "--store", str(tmp_path / "js"))
    first = type_in(*words, "10.0.0.1", "10.0.0.2", "10.0.0.3")
    second = type_in(*words, "10.0.0.2", "10.0.0.1", "10.0.0.3", "--name", "b")
    here, there = json.loads(first.out), json.loads(second.out)
    known = Settings(nats_url="10.0.0.1", nats_credentials=str(secrets))

    assert (here["server_name"], there["server_name"]) == ("10.0.0.1", "b")
    assert here["accounts"] == there["accounts"]
    assert here["jetstream"]["sync_interval"] == "always"
    assert external_endpoint(known).login("actors")[1] in first.out
    assert secrets.stat().st_mode & 0o777 == 0o600


def test_nats_server_takes_what_is_printed(type_in: Type, tmp_path: Path) -> None:
    words = ("--credentials", str(tmp_path / "p.json"), "--store", str(tmp_path / "js"))
    path = tmp_path / "nats.conf"
    path.write_text(type_in("nats", "config", "127.0.0.1", *words).out)
    checked = subprocess.run([binary(Settings()), "-c", str(path), "-t"], check=False, timeout=20)

    assert checked.returncode == 0


def test_ports_are_given_and_not_asked_for(type_in: Type, tmp_path: Path) -> None:
    said = type_in("nats", "config", "a:4222", "--credentials", str(tmp_path / "p.json"))

    assert said.code == Exit.USAGE
    assert "clients use port 4222" in said.err

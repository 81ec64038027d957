"""NATS servers that somebody else runs: told by a test how to be, and stopped at its end."""

from __future__ import annotations

import asyncio
import json
import os
import socket
from base64 import b32encode, urlsafe_b64encode
from binascii import crc_hqx
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from subprocess import DEVNULL, run
from typing import Any

import orjson
import pytest

from bus.crypto.identity import nkey_public, nkey_sign
from bus.program import binary
from schemas.settings import Settings

START_S = 10.0
KINDS = {"operator": 14 << 3, "account": 0, "user": 20 << 3}
SEED = 18 << 3


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port: int = free.getsockname()[1]
        return port


@asynccontextmanager
async def nats_server(directory: Path, port: int = 0, **config: Any) -> AsyncIterator[str]:
    """host:port of a server with *config*; JetStream is on unless that says `jetstream=False`."""
    port = port or free_port()
    stored = {"store_dir": str(directory / f"js-{port}"), "sync_interval": "always"}
    whole = {
        "listen": f"127.0.0.1:{port}",
        "server_name": f"s{port}",
        "jetstream": stored,
        "max_payload": 2 << 20,
    } | config
    if not whole["jetstream"]:
        del whole["jetstream"]
    path = directory / f"nats-{port}.conf"
    path.write_text(json.dumps(whole))
    words = (binary(Settings()), "-c", str(path), "-l", str(directory / f"nats-{port}.log"))
    process = await asyncio.create_subprocess_exec(*words, stdout=DEVNULL, stderr=DEVNULL)
    try:
        await listening(port, process)
        yield f"127.0.0.1:{port}"
    finally:
        with suppress(ProcessLookupError):
            process.terminate()
        await process.wait()


async def listening(port: int, process: asyncio.subprocess.Process) -> None:
    """Returns once somebody answers on *port*."""
    async with asyncio.timeout(START_S):
        while True:
            assert process.returncode is None, "nats-server did not start"
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
            except OSError:
                await asyncio.sleep(0.01)
            else:
                writer.close()
                return


# --- Users by keys --------------------------------------------------------------------------------


def _encoded(raw: bytes) -> str:
    return b32encode(raw + crc_hqx(raw, 0).to_bytes(2, "little")).decode().rstrip("=")


class Key:
    """An nkey of one kind."""

    def __init__(self, kind: str) -> None:
        self.raw = os.urandom(32)
        self.public = _encoded(bytes([KINDS[kind]]) + nkey_public(self.raw))
        first = SEED | KINDS[kind] >> 5
        self.seed = _encoded(bytes([first, (KINDS[kind] & 31) << 3]) + self.raw)

    def jwt(self, about: Key, name: str, claims: dict[str, Any]) -> str:
        """What this key says of *about*, as NATS writes it."""
        head = {"typ": "JWT", "alg": "ed25519-nkey"}
        body = {
            "jti": name.upper(),
            "iat": 1_700_000_000,
            "iss": self.public,
            "name": name,
            "sub": about.public,
            "nats": claims | {"version": 2},
        }
        text = b".".join(map(_base64, (orjson.dumps(head), orjson.dumps(body))))
        return b".".join((text, _base64(nkey_sign(self.raw, text)))).decode()


def _base64(data: bytes) -> bytes:
    return urlsafe_b64encode(data).rstrip(b"=")


def creds(jwt: str, user: Key) -> str:
    """The file that a user signs in with."""
    return (
        f"-----BEGIN NATS USER JWT-----\n{jwt}\n------END NATS USER JWT------\n\n"
        f"-----BEGIN USER NKEY SEED-----\n{user.seed}\n------END USER NKEY SEED------\n"
    )


# --- Certificates ---------------------------------------------------------------------------------


def certificate(directory: Path, name: str, authority: str = "") -> tuple[str, str]:
    """Paths of a certificate for 127.0.0.1 and of its key, signed by *authority* or by itself."""
    made, key = directory / f"{name}.pem", directory / f"{name}.key"
    words = ["openssl", "req", "-x509", "-newkey", "ed25519", "-nodes", "-days", "2"]
    words += ["-subj", f"/CN={name}", "-keyout", str(key), "-out", str(made)]
    words += ["-addext", "subjectAltName=IP:127.0.0.1"]
    if authority:
        words += ["-CA", str(directory / f"{authority}.pem")]
        words += ["-CAkey", str(directory / f"{authority}.key")]
        words += ["-addext", "basicConstraints=critical,CA:FALSE"]
    try:
        run(words, check=True, capture_output=True, timeout=START_S)
    except FileNotFoundError:
        missing("openssl makes the certificates of this test: apt-get install openssl")
    return str(made), str(key)


def missing(remedy: str) -> None:
    """The test cannot run here: skipped with *remedy*, or failed where everything must run."""
    if os.environ.get("CI") == "true":
        pytest.fail(remedy)
    pytest.skip(remedy)

"""What `canopy user password` does: a password set anew, for who holds the data directory.

The node is stopped: its actors run for this one command, with its broker. This is the way in after
a restore without keys, whose passwords nothing opens any more, and after a password was forgotten.
"""

from __future__ import annotations

import asyncio
from contextlib import closing
from datetime import UTC, datetime
from typing import Any

from actors.__main__ import act, durables
from actors.rooms import statements
from bus.attachment import Bus, attached, prepared
from bus.clock import new_id
from bus.commands import LocalCommands
from bus.holding import hold
from bus.identity_file import identify, require_node
from bus.server import broker
from bus.telemetry import Telemetry
from bus.vault import Vault
from bus.vault_file import vault_in
from gateway.__main__ import PROJECTIONS
from gateway.auth import Passwords, require_strength
from gateway.cli.exits import Exit, Failure
from gateway.cli.running import journaled
from gateway.directory import Account
from gateway.node import passphrase
from gateway.read_model import Behind
from gateway.reads import Reads
from schemas.account import ChangePassword, CloseSession
from schemas.envelope import SYSTEM, Command, Refused, Request
from schemas.settings import Settings


def reset(settings: Settings, username: str, password: str) -> dict[str, Any]:
    """The account whose password was set. Raises `Failure` when there is none, or the node runs."""
    try:
        with journaled(settings):
            require_node(settings.data_directory)
            require_strength(password)
            return asyncio.run(_reset(settings, username, password))
    except Refused as refused:
        raise Failure(Exit.REFUSED, refused.message, "", refused.code) from refused


async def _reset(settings: Settings, username: str, password: str) -> dict[str, Any]:
    started = datetime.now(UTC).isoformat(timespec="seconds")
    with hold(settings.data_directory, started):
        identity = identify(settings.data_directory, passphrase(settings))
        telemetry = Telemetry("canopy-reset")
        async with broker(settings) as running:
            await prepared(running.endpoint, settings, durables())
            async with attached(running.endpoint, "actors", identity, settings, telemetry) as bus:
                account, sessions = await _found(bus, username)
                sealed = await Passwords(identity, 1).seal(account.id, password)
                wishes = [CloseSession(session_id=one) for one in sessions]
                with closing(vault_in(settings.data_directory, identity)) as vault:
                    change = ChangePassword(password_sealed=sealed)
                    await _sent(bus, vault, account, [change, *wishes])
                return {"user_id": account.id, "username": account.username}


async def _found(bus: Bus, username: str) -> tuple[Account, tuple[str, ...]]:
    """The account of that name, and its sessions."""
    folder = bus.settings.data_directory / PROJECTIONS
    reads = Reads(folder, statements(), bus.log, bus.settings, bus.telemetry)
    try:
        await reads.open()
        async with asyncio.TaskGroup() as group:
            folding = group.create_task(reads.run())
            await _reached(reads, await bus.log.head())
            folding.cancel()
        account = reads.directory.by_username(username)
        if account is None:
            problem = f"There is no account {username}."
            raise Failure(
                Exit.NO, problem, "`canopy user list` shows who is here.", "account_absent"
            )
        return account, reads.directory.sessions_of(account.id)
    finally:
        reads.close()


async def _reached(reads: Reads, head: int) -> None:
    while True:
        try:
            await reads.reached(head)
        except Behind as behind:
            if not reads.stopped:
                continue
            problem = f"The tables cannot be read: {behind.reason}."
            raise Failure(Exit.UNAVAILABLE, problem, "canopy doctor", "behind") from behind
        return


async def _sent(bus: Bus, vault: Vault, account: Account, commands: list[Command]) -> None:
    """Each of *commands* has had its effect on *account*."""
    here = LocalCommands(bus.settings.command_timeout_s)
    async with asyncio.TaskGroup() as group:
        acting = group.create_task(act(bus, vault, here))
        for command in commands:
            wish = new_id()
            await here.send(
                Request(
                    id=wish,
                    noun="account",
                    key=account.id,
                    author=SYSTEM,
                    correlation=wish,
                    command=command,
                )
            )
        acting.cancel()

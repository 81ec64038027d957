"""The register of rooms: everything that lives in this house, in one list.

A room is a folder named for its noun. Adding one is adding its folder and its line here.
"""

from __future__ import annotations

from importlib.resources import files
from typing import Any

from actors.account.aggregate import ACCOUNT
from actors.account.views import VIEWS as OF_ACCOUNTS
from actors.aggregate import Aggregate
from actors.channel.aggregate import CHANNEL
from actors.channel.views import VIEWS as OF_CHANNELS
from actors.commit.views import VIEWS as OF_COMMITS
from actors.cursor.aggregate import CURSOR
from actors.cursor.views import VIEWS as OF_CURSORS
from actors.message.aggregate import MESSAGE
from actors.message.views import VIEWS as OF_MESSAGES
from actors.projection_file import Statements
from actors.reactor import Reactor
from actors.receipt.aggregate import RECEIPT
from actors.view import View
from actors.workspace.aggregate import WORKSPACE
from actors.workspace.reactor import WELCOME
from actors.workspace.views import VIEWS as OF_THE_WORKSPACE

AGGREGATES: tuple[Aggregate[Any], ...] = (ACCOUNT, CHANNEL, CURSOR, MESSAGE, RECEIPT, WORKSPACE)
REACTORS: tuple[Reactor, ...] = (WELCOME,)
PROJECTIONS: tuple[str, ...] = ("account", "channel", "commit", "cursor", "message", "workspace")
VIEWS: tuple[View, ...] = (
    *OF_MESSAGES,
    *OF_CHANNELS,
    *OF_ACCOUNTS,
    *OF_CURSORS,
    *OF_THE_WORKSPACE,
    *OF_COMMITS,
)
"""What may be asked in SQL."""


def statements() -> Statements:
    """The projection SQL of every room, as one program."""
    texts = [files("actors").joinpath(room, "projection.sql").read_text() for room in PROJECTIONS]
    return Statements.of("\n".join(texts))

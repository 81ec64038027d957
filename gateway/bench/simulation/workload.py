"""What people and agents wish for in a simulated world: few things, wanted by many at once."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from random import Random

from bus.clock import iso_ms
from gateway.bench.simulation.clocks import EPOCH_S
from schemas.account import (
    ChangeProfile,
    ChangeStatus,
    CreateKey,
    NewKey,
    OpenSession,
    RegisterAccount,
    RevokeKey,
)
from schemas.channel import (
    AddMember,
    ChangeLifecycle,
    ChangeRole,
    DescribeChannel,
    MuteChannel,
    OpenChannel,
    RemoveMember,
)
from schemas.cursor import AdvanceCursor
from schemas.envelope import Command, Request
from schemas.message import DeleteMessage, EditMessage, FollowThread, PostMessage, ToggleReaction
from schemas.receipt import KeepReceipt
from schemas.workspace import WORKSPACE, IssueCode, RedeemCode

PEOPLE = ("ann", "bob", "cyd")
CHANNELS = ("c1", "c2")
PRIVATE = "c2"
"""The channel in which everything that is said is sealed."""
WHISPERED = "confidential"
MESSAGES = 5
"""In each channel."""
LIVES_S = (2.0, 10.0, 600.0, 30 * 86_400.0, 730 * 86_400.0)
"""From the beginning of the world until a message expires, at most."""
EXPIRES = "2030-01-01T00:00:00.000Z"
PUBLIC_KEY = "A" * 43
SECRET = "0" * 64
TWICE = 0.25
"""How often a wish is sent over two gateways at once."""
SEEN = 0.05
"""How often it names the position that its author saw (`If-Match`)."""
REUSED = 0.04
"""How often an id is used again for another wish."""


@dataclass(frozen=True)
class Wish:
    """One command, when its client gets to it: after `pause_s`, over the gateway `over`, and over
    `also` at the same time unless it is negative."""

    request: Request
    pause_s: float
    over: int
    also: int


Draw = Callable[[Random], tuple[str, str, Command]]


def _person(chance: Random) -> str:
    return chance.choice(PEOPLE)


def _key(chance: Random) -> NewKey:
    return NewKey(key_id=f"key{chance.randrange(3)}", secret_hash=SECRET)


def _register(chance: Random) -> tuple[str, str, Command]:
    name = _person(chance)
    command = RegisterAccount(
        username=name,
        display_name=name,
        password_sealed="",
        public_key=PUBLIC_KEY,
        key=_key(chance),
    )
    return "account", name, command


def _account(chance: Random) -> tuple[str, str, Command]:
    commands: tuple[Command, ...] = (
        ChangeStatus(status=chance.choice(("active", "suspended"))),
        ChangeProfile(bio=f"bio {chance.randrange(9)}"),
        CreateKey(key=_key(chance)),
        RevokeKey(key_id=f"key{chance.randrange(3)}"),
        OpenSession(session_id=f"s{chance.randrange(3)}", expires_at=EXPIRES),
    )
    return "account", _person(chance), chance.choice(commands)


def _channel(chance: Random) -> tuple[str, str, Command]:
    person = _person(chance)
    commands: tuple[Command, ...] = (
        OpenChannel(name="room"),
        AddMember(account_id=person, role=chance.choice(("member", "admin"))),
        ChangeRole(account_id=person, role=chance.choice(("member", "admin"))),
        RemoveMember(account_id=person),
        MuteChannel(muted=chance.random() < 0.5),
        DescribeChannel(description=f"about {chance.randrange(9)}"),
        ChangeLifecycle(archived=chance.random() < 0.3),
    )
    weights = (4, 2, 2, 1, 1, 1, 1)
    return "channel", chance.choice(CHANNELS), chance.choices(commands, weights)[0]


def _message(chance: Random) -> tuple[str, str, Command]:
    channel = chance.choice(CHANNELS)
    key = f"{channel}.{channel}m{chance.randrange(MESSAGES)}"
    private = channel == PRIVATE
    word = WHISPERED if private else "word"
    commands: tuple[Command, ...] = (
        PostMessage(
            content=f"{word} {chance.randrange(99)}",
            private=private,
            expires_at=iso_ms(int((EPOCH_S + chance.choice(LIVES_S) * chance.random()) * 1000)),
        ),
        ToggleReaction(reaction=chance.choice(("like", "love"))),
        EditMessage(content=f"{word} {chance.randrange(99)} again", private=private),
        DeleteMessage(),
        FollowThread(followed=chance.random() < 0.5),
    )
    return "message", key, chance.choices(commands, (8, 6, 3, 2, 1))[0]


def _workspace(chance: Random) -> tuple[str, str, Command]:
    code = f"code{chance.randrange(3)}"
    commands: tuple[Command, ...] = (
        IssueCode(code_id=code, secret_hash=SECRET, expires_at=EXPIRES),
        RedeemCode(code_id=code, account_id=_person(chance)),
    )
    return "workspace", WORKSPACE, chance.choice(commands)


def _small(chance: Random) -> tuple[str, str, Command]:
    if chance.random() < 0.5:
        return "receipt", f"r{chance.randrange(3)}", KeepReceipt(sealed=f"s{chance.randrange(9)}")
    key = f"{chance.choice(CHANNELS)}.{_person(chance)}"
    return "cursor", key, AdvanceCursor(seq=chance.randrange(1, 40))


DRAWS: Mapping[Draw, int] = {
    _register: 3,
    _account: 2,
    _channel: 4,
    _message: 10,
    _workspace: 2,
    _small: 2,
}


def wishes(
    chance: Random, client: int, count: int, over_s: float, gateways: int
) -> tuple[Wish, ...]:
    """What one client wishes, one after the other, in about *over_s* seconds."""
    made: list[Wish] = []
    for nth in range(count):
        noun, key, command = chance.choices(list(DRAWS), list(DRAWS.values()))[0](chance)
        again = bool(made) and chance.random() < REUSED
        name = made[-1].request.id if again else f"w{client}-{nth}"
        seen = chance.randrange(6) if chance.random() < SEEN else None
        request = Request(
            id=name,
            noun=made[-1].request.noun if again else noun,
            key=made[-1].request.key if again else key,
            author=_person(chance),
            correlation=name,
            fingerprint=f"f{nth}",
            expected=seen,
            command=made[-1].request.command if again else command,
        )
        over = chance.randrange(gateways)
        also = chance.randrange(gateways) if chance.random() < TWICE else -1
        made.append(Wish(request, chance.expovariate(count / over_s), over, also))
    return tuple(made)

"""What is private is written as ciphertext, opened for whoever may, and gone with its key."""

from __future__ import annotations

import errno
from collections.abc import Iterator

import msgspec
import pytest

from bus import codec
from bus.key_table import VaultUnusable
from bus.log import Stored, Unstored
from bus.memory import MemoryLog
from bus.sealing import ContentDamaged, SealedSnapshots, Sealing, owner
from bus.snapshots import MemorySnapshots, Snapshot
from bus.vault import Vault
from schemas.envelope import Commit, Event, Header
from schemas.message import Attachment, EditMessage, MessageEdited, MessagePosted, PostMessage
from tests.actors.hosts import code, host
from tests.bus.vaults import WAIT_S, Disk, empty_vault, made, opened
from tests.examples import header, request

KEY = "c1.M1"
SECRET = MessagePosted(
    content="Quetzal.",
    attachments=(Attachment(id="F1", name="Quetzal.pdf"),),
    security={"key_id": "Quetzal"},
    mentions=("bob",),
    private=True,
)


@pytest.fixture
def vault() -> Iterator[Vault]:
    one = empty_vault()
    yield one
    one.close()


async def _stored(vault: Vault, event: Event, at: Header) -> bytes:
    """The payload of a commit of *event*, as it lies in the log."""
    events = await Sealing(vault, WAIT_S).sealed(at, (event,))
    return codec.encode(at, events)[1]


def _read(vault: Vault, payload: bytes) -> Commit:
    return Sealing(vault, WAIT_S).opened(codec.decode(payload, 1))


async def test_a_private_event_says_nothing_where_it_lies(vault: Vault) -> None:
    payload = await _stored(vault, SECRET, header(key=KEY))
    (unopened,) = codec.decode(payload, 1).events

    assert b"Quetzal" not in payload
    assert isinstance(unopened, MessagePosted)
    assert unopened.empty
    assert unopened.mentions == ("bob",)


async def test_it_is_opened_to_what_was_said(vault: Vault) -> None:
    payload = await _stored(vault, SECRET, header(key=KEY))
    (event,) = _read(vault, payload).events

    assert event.model_copy(update={"sealed": None}) == SECRET


async def test_what_is_public_is_left_as_it_is(vault: Vault) -> None:
    said = MessagePosted(content="Hi.")
    payload = await _stored(vault, said, header(key=KEY))

    assert _read(vault, payload).events == (said,)
    assert b"sealed" not in payload


async def test_without_its_key_it_is_empty_and_no_error(vault: Vault) -> None:
    payload = await _stored(vault, SECRET, header(key=KEY))
    await vault.destroy(owner("message", KEY), WAIT_S)
    (event,) = _read(vault, payload).events

    assert isinstance(event, MessagePosted)
    assert (event.private, event.empty) == (True, True)


@pytest.mark.parametrize(
    "elsewhere", [{"key": "c1.M2"}, {"author": "bob"}, {"origin": "n2"}, {"clock": "0" * 16}]
)
async def test_it_does_not_open_in_another_place(vault: Vault, elsewhere: dict[str, str]) -> None:
    at = header(key=KEY)
    sealed = await Sealing(vault, WAIT_S).sealed(at, (SECRET,))
    _, moved = codec.encode(msgspec.structs.replace(at, **elsewhere), sealed)

    with pytest.raises(ContentDamaged):
        _read(vault, moved)


async def test_a_changed_text_is_damaged_and_not_erased(vault: Vault) -> None:
    at = header(key=KEY)
    (event,) = await Sealing(vault, WAIT_S).sealed(at, (SECRET,))
    assert isinstance(event, MessagePosted)
    assert event.sealed is not None
    bent = event.sealed.model_copy(update={"nonce": "A" * len(event.sealed.nonce)})
    _, payload = codec.encode(at, (event.model_copy(update={"sealed": bent}),))

    with pytest.raises(ContentDamaged):
        _read(vault, payload)


@pytest.mark.parametrize("event", [SECRET, MessageEdited(content="Quetzal.", private=True)])
def test_nothing_private_is_written_unsealed(event: Event) -> None:
    """The defence behind all others: whoever forgets to seal cannot write."""
    with pytest.raises(codec.Unsealed):
        codec.encode(header(key=KEY), (event,))


async def test_a_host_seals_what_it_appends_and_answers_it_in_clear(vault: Vault) -> None:
    log, posting = MemoryLog(), request("message", KEY, PostMessage(content="Hi.", private=True))
    first = await host(log, vault=vault).handle(posting)
    again = await host(log, vault=vault).handle(posting)
    (stored,) = await log.page(0, 10)

    assert b"Hi." not in stored.payload
    assert (first.facts, again.facts) == (first.facts, first.facts)
    assert (first.facts[0].data["content"], again.replayed) == ("Hi.", True)


async def test_a_repeated_wish_is_told_that_it_was_erased(vault: Vault) -> None:
    log, posting = MemoryLog(), request("message", KEY, PostMessage(content="Hi.", private=True))
    await host(log, vault=vault).handle(posting)
    await vault.destroy(owner("message", KEY), WAIT_S)

    assert code(await host(log, vault=vault).handle(posting)) == "content_erased"


async def test_an_edit_after_a_restart_keeps_what_it_leaves_out(vault: Vault) -> None:
    log = MemoryLog()
    draft = PostMessage(content="Hi.", attachments=SECRET.attachments, private=True)
    await host(log, vault=vault).handle(request("message", KEY, draft))
    edit = EditMessage(content="Ho.")
    answer = await host(log, vault=vault).handle(request("message", KEY, edit))

    data = answer.facts[0].data
    assert (data["content"], data["attachments"][0]["name"]) == ("Ho.", "Quetzal.pdf")
    assert all(b"Ho." not in one.payload for one in await _log(log))


async def _log(log: MemoryLog) -> list[Stored]:
    return await log.page(0, 100)


class Refusing(Disk):
    """A disk that takes no keys."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self._number = number

    def append(self, name: str, data: bytes) -> None:
        raise OSError(self._number, "not taken")


@pytest.mark.parametrize(
    ("number", "fault", "refusal"),
    [
        (errno.ENOSPC, Unstored, "log_full"),
        (errno.EROFS, Unstored, "log_full"),
        (errno.ENOENT, VaultUnusable, "vault_unusable"),
        (errno.EACCES, VaultUnusable, "vault_unusable"),
    ],
)
async def test_what_cannot_be_sealed_is_refused_and_not_written(
    number: int, fault: type[Exception], refusal: str
) -> None:
    disk = Refusing(number)
    made(disk)
    vault, log = opened(disk), MemoryLog()
    try:
        answer = await host(log, vault=vault).handle(
            request("message", KEY, PostMessage(content="Hi.", private=True))
        )
        with pytest.raises(fault, match="not taken"):
            await Sealing(vault, WAIT_S).sealed(header(key=KEY), (SECRET,))
    finally:
        vault.close()

    assert (code(answer), await _log(log)) == (refusal, [])


SNAPSHOT = Snapshot(
    version="v", seq=7, state={"private": True, "said": "Quetzal"}, applied={"x": 7}
)


async def latest() -> bool:
    """Nothing has happened since."""
    return True


async def test_the_snapshot_of_something_private_is_sealed(vault: Vault) -> None:
    bucket = MemorySnapshots()
    snapshots = SealedSnapshots(bucket, vault, WAIT_S)
    await snapshots.save("message", KEY, SNAPSHOT, latest)
    lying = await bucket.load("message", KEY)
    loaded = await snapshots.load("message", KEY)
    await vault.destroy(owner("message", KEY), WAIT_S)
    gone = await snapshots.load("message", KEY)

    assert lying is not None
    assert "Quetzal" not in lying.model_dump_json()
    assert (loaded, gone) == (SNAPSHOT, None)


async def test_the_snapshot_of_anything_else_is_left_as_it_is(vault: Vault) -> None:
    bucket = MemorySnapshots()
    public = SNAPSHOT.model_copy(update={"state": {"private": False}})
    await SealedSnapshots(bucket, vault, WAIT_S).save("message", KEY, public, latest)

    assert await bucket.load("message", KEY) == public

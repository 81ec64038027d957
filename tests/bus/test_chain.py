"""The running hash, and the records in which places of it are kept."""

from __future__ import annotations

from hashlib import blake2b
from pathlib import Path

import pytest

from bus.alarm import Broken
from bus.chain import (
    CHECK_BYTES,
    GENESIS,
    RECORD_BYTES,
    Place,
    alone,
    link,
    linked,
    packed,
    unpacked,
)
from bus.ledger import EVERY, Ledger, Proof
from bus.log import Stored
from bus.marks import APART, MarksDamaged, Slots
from bus.storage import Directory

EPOCH = "0123456789abcdef"
LOG = [Stored(seq, "message", f"general.M{seq}", b"%d" % seq) for seq in range(1, 2 * EVERY + 51)]


@pytest.fixture
def kept(tmp_path: Path) -> object:
    directory = Directory(tmp_path / "marks")
    yield directory
    directory.close()


def ledger_of(kept: Directory, until: int) -> Ledger:
    """The ledger of `LOG` up to *until*."""
    ledger = Ledger.begin(kept, EPOCH)
    thousands = range(EVERY, until + 1, EVERY)
    ledger.keep([linked(GENESIS, LOG[:seq]) for seq in thousands], linked(GENESIS, LOG[:until]))
    return ledger


def test_the_hash_is_what_the_specification_says() -> None:
    one = Stored(7, "message", "general.M1", b"payload")
    subject = b"evt.message.general.M1"
    bound = bytes(32) + (7).to_bytes(8) + len(subject).to_bytes(2) + subject + b"payload"

    assert (
        link(bytes(32), one) == blake2b(bound, digest_size=32, person=b"canopy.log.chain").digest()
    )


def test_the_hash_is_the_same_however_the_log_is_cut() -> None:
    whole = linked(GENESIS, LOG[:50])

    assert linked(linked(GENESIS, LOG[:20]), LOG[20:50]) == whole


@pytest.mark.parametrize(
    "other",
    [
        Stored(2, "message", "general.M2", b"x"),
        Stored(2, "message", "general.M", b"2x"),
        Stored(2, "messag", "e.general.M2", b"x"),
        Stored(3, "message", "general.M2", b"x"),
    ],
)
def test_every_part_of_a_commit_counts(other: Stored) -> None:
    one = Stored(2, "message", "general.M2", b"y")

    assert link(GENESIS.digest, one) != link(GENESIS.digest, other)
    assert alone(one) != alone(other)


def test_a_record_is_its_place_again() -> None:
    place = linked(GENESIS, LOG[:3])

    assert unpacked(packed(EPOCH, place)) == (EPOCH, place)


@pytest.mark.parametrize("bit", range(0, RECORD_BYTES * 8, 7))
def test_a_record_with_a_bit_flipped_is_none(bit: int) -> None:
    record = bytearray(packed(EPOCH, Place(12, bytes(range(32)))))
    record[bit // 8] ^= 1 << bit % 8

    assert unpacked(bytes(record)) is None


@pytest.mark.parametrize("size", [0, 1, RECORD_BYTES - CHECK_BYTES, RECORD_BYTES - 1])
def test_a_record_cut_short_is_none(size: int) -> None:
    assert unpacked(packed(EPOCH, GENESIS)[:size]) is None


@pytest.mark.parametrize("torn", range(RECORD_BYTES))
def test_a_slot_torn_at_any_byte_leaves_the_other(kept: Directory, torn: int) -> None:
    slots = Slots(kept, "high-0")
    slots.begin(EPOCH, GENESIS)
    slots.put(packed(EPOCH, Place(5, bytes(32))))
    kept.put("high-0", 0, packed(EPOCH, Place(9, b"9" * 32))[:torn])

    found = Slots(kept, "high-0").read()

    assert found is not None
    assert found[1].seq == 5


def test_slots_take_turns(kept: Directory) -> None:
    slots = Slots(kept, "tip")
    slots.begin(EPOCH, GENESIS)
    for seq in (1, 2, 3):
        slots.put(packed(EPOCH, Place(seq, bytes(32))))
    again = Slots(kept, "tip")
    again.read()
    again.put(packed(EPOCH, Place(4, bytes(32))))
    data = kept.read("tip")
    seqs = [unpacked(data[at : at + RECORD_BYTES]) for at in (0, APART)]

    assert [one and one[1].seq for one in seqs] == [4, 3]


def test_a_file_without_a_whole_record_is_damaged(kept: Directory) -> None:
    kept.replace("tip", bytes(APART + RECORD_BYTES))

    with pytest.raises(MarksDamaged, match="tip"):
        Slots(kept, "tip").read()


def test_a_ledger_is_found_again(kept: Directory) -> None:
    ledger_of(kept, 2 * EVERY + 7)
    ledger = Ledger.load(kept)

    assert ledger is not None
    assert (ledger.epoch, ledger.tip) == (EPOCH, linked(GENESIS, LOG[: 2 * EVERY + 7]))
    assert ledger.before(2 * EVERY - 1) == linked(GENESIS, LOG[:EVERY])


def test_a_log_that_is_what_was_hashed_is_proved(kept: Directory) -> None:
    proof = Proof(ledger_of(kept, len(LOG)))
    proof.hear(LOG)

    assert proof.place.seq == len(LOG)


@pytest.mark.parametrize("seq", [1, EVERY, EVERY + 1, 2 * EVERY, len(LOG)])
def test_one_changed_commit_is_found_within_its_thousand(kept: Directory, seq: int) -> None:
    changed = [*LOG]
    changed[seq - 1] = Stored(seq, "message", f"general.M{seq}", b"changed")
    proof = Proof(ledger_of(kept, len(LOG)))

    with pytest.raises(Broken) as broken:
        proof.hear(changed)

    assert broken.value.fault.kind == "commit_changed"
    assert broken.value.fault.seq == (seq - 1) // EVERY * EVERY + 1


def test_a_record_that_is_not_whole_is_made_again_when_a_later_one_proves_it(
    kept: Directory,
) -> None:
    ledger_of(kept, len(LOG))
    kept.put("ledger", RECORD_BYTES + 3, b"\xff\xff")
    ledger = Ledger.load(kept)
    assert ledger is not None
    proof = Proof(ledger)
    proof.hear(LOG)
    ledger.heal(proof.healed)
    again = Ledger.load(kept)

    assert again is not None
    assert again.record(EVERY) == linked(GENESIS, LOG[:EVERY])
    assert again.tip == ledger.tip

"""Who may come in: the first one, who holds a code, whom the owner brings; and agents wait."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from tests.canopy import PASSWORD, Canopy, running
from tests.gateway.browser import signed_in

ANN = {"username": "ann", "password": PASSWORD}
BOB = {"username": "bob", "password": PASSWORD}
BEE = {"username": "bee", "password": PASSWORD, "account_type": "agent"}
AFAR = {"X-Forwarded-For": "203.0.113.9"}


async def register(canopy: Canopy, body: object, **headers: str) -> tuple[int, dict[str, object]]:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    status, _, answer = await canopy.nobody.call("POST", "/register", body, named)
    return status, answer


async def test_the_first_account_owns_the_workspace(canopy: Canopy) -> None:
    status, ann = await register(canopy, ANN)
    _, bob = await register(canopy, BOB)
    caller = replace(canopy.nobody, key=str(ann["api_key"]))
    told = await caller.get("/auth/status")

    assert (status, ann["status"], ann["display_name"]) == (201, "active", "ann")
    assert set(ann) == {
        "user_id", "username", "display_name", "account_type", "status", "api_key", "public_key",
        "message", "seq",
    }  # fmt: skip
    assert (told["is_owner"], bob["status"]) == (True, "active")
    assert told["permissions"] == ["read_feed", "read_messages", "write_feed", "write_messages"]


async def test_without_a_code_only_this_machine_comes_in(canopy: Canopy) -> None:
    status, problem = await register(canopy, ANN, **AFAR)

    assert (status, problem["code"]) == (403, "registration_closed")


async def test_the_setup_code_makes_one_owner(tmp_path: Path) -> None:
    async with running(tmp_path / "node"):
        pass
    async with running(tmp_path / "node") as canopy:
        code = canopy.up.setup_code
        refused = [
            (await register(canopy, ANN))[0],
            (await register(canopy, ANN | {"setup_code": "WRONG"}))[0],
            (await register(canopy, ANN, X_Setup_Code="WRONG"))[0],
        ]
        first, _ = await register(canopy, ANN, X_Setup_Code=code.lower())
        again, problem = await register(canopy, BOB | {"setup_code": code})

    assert refused == [403, 403, 403]
    assert (first, again, problem["code"]) == (201, 403, "registration_closed")


async def test_codes_cannot_be_guessed(tmp_path: Path) -> None:
    async with running(tmp_path / "node", registrations_per_minute_max=2) as canopy:
        guesses = [(await register(canopy, ANN | {"setup_code": c}, **AFAR))[0] for c in "ABC"]

    assert guesses == [403, 403, 429]


async def test_an_agent_waits_until_the_owner_approves(tmp_path: Path) -> None:
    async with running(tmp_path / "node") as canopy:
        await canopy.register("ann")
    async with running(tmp_path / "node") as canopy:
        owner = await signed_in(canopy, "ann")
        _, code = await owner.call("POST", "/registration-codes", {"label": "bee"})
        status, account = await register(canopy, BEE | {"setup_code": code["code"]})
        used, problem = await register(canopy, BOB | {"setup_code": code["code"]})
        bee = replace(canopy.nobody, id=str(account["user_id"]), key=str(account["api_key"]))
        waiting = await bee.call("GET", "/channels")
        asked = await bee.get("/auth/status")
        approved, _ = await owner.call("POST", f"/accounts/{bee.id}/approve")
        channels = await bee.get("/channels")
        await owner.call("POST", f"/accounts/{bee.id}/suspend")
        shut_out = await bee.call("GET", "/auth/status")
        health, info = await bee.get("/health"), await bee.get("/info")
        guide = await bee.get("/agent-instructions")
        await owner.call("POST", f"/accounts/{bee.id}/reinstate")
        back = await bee.get("/auth/status")
        _, codes = await owner.call("GET", "/registration-codes")

    assert (status, account["status"], asked["status"]) == (
        201,
        "pending_approval",
        "pending_approval",
    )
    assert (used, problem["code"]) == (403, "registration_closed")
    assert (waiting[0], waiting[2]["status"]) == (403, "pending_approval")
    assert "error" in waiting[2]
    assert (approved, channels["count"]) == (200, 1)
    assert (shut_out[0], shut_out[2]["code"]) == (403, "account_suspended")
    assert health["ready"]
    assert set(info) == {"version"}
    assert "agent_directives" not in guide
    assert back["status"] == "active"
    assert codes["codes"][0]["redeemed_by"] == bee.id


async def test_the_owner_brings_others_himself(tmp_path: Path) -> None:
    async with running(tmp_path / "node") as canopy:
        await canopy.register("ann")
    async with running(tmp_path / "node") as canopy:
        owner = await signed_in(canopy, "ann")
        status, bee = await owner.call("POST", "/register", BEE)

    assert (status, bee["status"]) == (201, "active")


async def test_agents_may_be_let_in_at_once(tmp_path: Path) -> None:
    async with running(tmp_path / "node", auto_approve_agents=True) as canopy:
        await canopy.register("ann")
        _, bee = await register(canopy, BEE)

    assert bee["status"] == "active"


async def test_a_name_is_taken_once_whatever_its_case(canopy: Canopy) -> None:
    await register(canopy, ANN)
    status, problem = await register(canopy, ANN | {"username": "ANN"})

    assert (status, problem["code"]) == (409, "username_taken")


async def test_what_is_wrong_is_told_by_field(canopy: Canopy) -> None:
    weak, problem = await register(canopy, ANN | {"password": "ann"})
    short, name = await register(canopy, ANN | {"username": "a"})

    assert (weak, problem["code"]) == (400, "weak_password")
    assert [fault["field"] for fault in problem["errors"]] == ["password"]  # type: ignore[attr-defined]
    assert (short, [fault["field"] for fault in name["errors"]]) == (400, ["username"])  # type: ignore[attr-defined]


async def test_a_lost_answer_is_given_again_also_after_a_restart(tmp_path: Path) -> None:
    async with running(tmp_path / "node") as canopy:
        first = await register(canopy, ANN, Idempotency_Key="once")
        again = await register(canopy, ANN, Idempotency_Key="once")
    async with running(tmp_path / "node") as canopy:
        later = await register(canopy, ANN, Idempotency_Key="once")
        other, problem = await register(
            canopy, ANN | {"display_name": "Anna"}, Idempotency_Key="once"
        )

    assert first == again == later
    assert (other, problem["code"]) == (422, "idempotency_key_reused")


async def test_two_who_choose_the_same_idempotency_key_get_keys_of_their_own(
    canopy: Canopy,
) -> None:
    _, ann = await register(canopy, ANN, Idempotency_Key="1")
    _, bob = await register(canopy, BOB, Idempotency_Key="1")

    assert ann["api_key"] != bob["api_key"]
    assert ann["user_id"] != bob["user_id"]

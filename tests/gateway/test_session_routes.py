"""Browser sessions and keys: signed in, signed out, guarded against other pages, throttled."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tests.canopy import PASSWORD, Canopy, running
from tests.gateway.browser import signed_in

LOGIN = {"username": "ann", "password": PASSWORD}


async def test_a_cookie_is_out_of_reach_for_scripts_and_other_sites(canopy: Canopy) -> None:
    await canopy.register("ann")
    _, headers, session = await canopy.nobody.call("POST", "/session", LOGIN)
    cookie = headers["Set-Cookie"]

    assert all(word in cookie for word in ("HttpOnly", "SameSite=Strict", "Path=/", "Max-Age="))
    assert session["username"] == "ann"
    assert session["csrf_token"] not in cookie


async def test_a_session_reads_with_its_cookie_and_changes_with_its_token(canopy: Canopy) -> None:
    ann = await canopy.register("ann")
    browser = await signed_in(canopy, "ann")
    read = await browser.call("GET", "/session")
    done, _ = await browser.call("POST", "/keys", {})
    forged, problem = await replace(browser, csrf="0" * 32).call("POST", "/keys", {})

    assert (read[0], read[1]["user_id"], read[1]["csrf_token"]) == (200, ann.id, browser.csrf)
    assert (done, forged, problem["code"]) == (201, 403, "csrf_failed")


async def test_signing_out_ends_the_session_everywhere(canopy: Canopy) -> None:
    await canopy.register("ann")
    browser = await signed_in(canopy, "ann")
    status, _ = await browser.call("DELETE", "/session")
    after, problem = await browser.call("GET", "/session")

    assert (status, after, problem["code"]) == (200, 401, "credential_required")


async def test_a_session_lasts_over_a_restart(tmp_path: Path) -> None:
    async with running(tmp_path / "node") as canopy:
        await canopy.register("ann")
        browser = await signed_in(canopy, "ann")
    async with running(tmp_path / "node") as canopy:
        status, session = await replace(browser, canopy=canopy).call("GET", "/session")

    assert (status, session["username"]) == (200, "ann")


async def test_who_is_unknown_and_who_is_wrong_are_answered_alike(canopy: Canopy) -> None:
    await canopy.register("ann")
    answers = []
    for login in (LOGIN | {"password": "Wrong-horse-7"}, LOGIN | {"username": "nobody"}):
        status, _, problem = await canopy.nobody.call("POST", "/session", login)
        problem.pop("correlation_id")
        answers.append((status, problem))

    assert answers[0] == answers[1]
    assert (answers[0][0], answers[0][1]["code"]) == (401, "login_failed")


async def test_the_suspended_do_not_come_in(canopy: Canopy) -> None:
    await canopy.register("ann")
    bob = await canopy.register("bob")
    owner = await signed_in(canopy, "ann")
    _, judged = await owner.call("POST", f"/accounts/{bob.id}/suspend")
    login = LOGIN | {"username": "bob"}
    right = await canopy.nobody.call("POST", "/session", login)
    wrong = await canopy.nobody.call("POST", "/session", login | {"password": "Wrong-horse-7"})
    health = await canopy.nobody.call("GET", "/version")

    assert (right[0], right[2]["code"]) == (403, "account_suspended")
    assert (wrong[0], wrong[2]["code"]) == (401, "login_failed")
    assert "Set-Cookie" not in right[1]
    assert int(health[1]["Canopy-Seq"]) == judged["seq"]


async def test_guessing_is_slowed_down(tmp_path: Path) -> None:
    wrong = LOGIN | {"password": "x"}
    async with running(tmp_path / "node", logins_per_minute_max=3) as canopy:
        await canopy.register("ann")
        statuses = [(await canopy.nobody.call("POST", "/session", wrong))[0] for _ in range(3)]
        status, headers, problem = await canopy.nobody.call("POST", "/session", LOGIN)

    assert statuses == [401, 401, 401]
    assert (status, problem["code"]) == (429, "rate_limited")
    assert int(headers["Retry-After"]) > 0


async def test_a_new_password_ends_the_other_sessions(canopy: Canopy) -> None:
    await canopy.register("ann")
    here, there = await signed_in(canopy, "ann"), await signed_in(canopy, "ann")
    new = "Another-horse-8"
    refused, _ = await here.call(
        "POST", "/password", {"current_password": "Wrong-1a", "new_password": new}
    )
    done, _ = await here.call(
        "POST", "/password", {"current_password": PASSWORD, "new_password": new}
    )
    old, _, _ = await canopy.nobody.call("POST", "/session", LOGIN)

    assert (refused, done, old) == (401, 200, 401)
    assert (await here.call("GET", "/session"))[0] == 200
    assert (await there.call("GET", "/session"))[0] == 401
    assert (await signed_in(canopy, "ann", new)).csrf


async def test_a_key_is_made_shown_once_listed_and_revoked(canopy: Canopy) -> None:
    await canopy.register("ann")
    browser = await signed_in(canopy, "ann")
    status, made = await browser.call(
        "POST", "/keys", {"permissions": "read_messages", "expires_days": 3, "label": "tap"}
    )
    reader = replace(canopy.nobody, key=made["api_key"])
    before = await reader.call("GET", "/channels")
    written = await reader.call("POST", "/channels", {"name": "den"})
    _, listed = await browser.call("GET", "/keys")
    revoked, _ = await browser.call("DELETE", f"/keys/{made['id']}")
    after = await reader.call("GET", "/channels")
    again, _ = await browser.call("DELETE", f"/keys/{made['id']}")
    foreign, problem = await browser.call("DELETE", "/keys/K0000000000000000")
    shown = next(one for one in listed["keys"] if one["id"] == made["id"])

    assert (status, made["permissions"], made["expires_days"]) == (201, ["read_messages"], 3)
    assert (before[0], written[0], written[2]["code"]) == (200, 403, "scope_missing")
    assert (shown["label"], shown["revoked"]) == ("tap", False)
    assert "api_key" not in shown
    assert (revoked, again, after[0], after[2]["code"]) == (200, 200, 403, "credential_invalid")
    assert (foreign, problem["code"]) == (404, "key_absent")


async def test_a_key_gives_no_more_than_it_has(canopy: Canopy) -> None:
    await canopy.register("ann")
    browser = await signed_in(canopy, "ann")
    keeper = replace(canopy.nobody, key=await browser.key("manage_keys", "read_messages"))
    less = await keeper.call("POST", "/keys", {"permissions": ["read_feed"]})
    more = await keeper.call("POST", "/keys", {"permissions": ["delete_data"]})
    wrong = await keeper.call("POST", "/keys", {"permissions": ["everything"]})

    assert (less[0], more[0], wrong[0]) == (201, 403, 400)


@pytest.mark.parametrize(
    "form",
    ["X-API-Key: {}", "Authorization: Bearer {}", "Authorization: token {}", "Authorization: {}"],
)
async def test_older_agents_send_their_key_as_they_always_did(canopy: Canopy, form: str) -> None:
    ann = await canopy.register("ann")
    name, _, value = form.format(ann.key).partition(": ")
    status, _, _ = await canopy.nobody.call("GET", "/api/channels", headers={name: value})

    assert status == 200


async def test_no_key_is_401_and_a_wrong_one_403(canopy: Canopy) -> None:
    none = await canopy.nobody.call("GET", "/channels")
    wrong = await replace(canopy.nobody, key="cnp_key_nonsense").call("GET", "/channels")

    assert (none[0], none[2]["error"]) == (401, "API key required")
    assert (wrong[0], wrong[2]["error"]) == (403, "Invalid or expired API key")

"""What is printed: sentences, lines, tables, and nothing that a terminal would obey."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from rich.text import Text

from gateway.cli.call import URL
from gateway.cli.key import Made, shown_key
from gateway.cli.lines import Lines
from gateway.cli.node import duration
from gateway.cli.running import welcome
from gateway.cli.sentences import TELLING, Names, place, sentences
from gateway.cli.terminal import THEME, Screen, Terminal, plain, table
from gateway.node import Up
from schemas.vocabulary import EVENTS

NAMES = Names({"user_a": "ann", "user_b": "bob"}, {"C1": "ops", "general": "general"})


def commit(kind: str, noun: str = "message", key: str = "C1.M1", **data: Any) -> dict[str, Any]:
    """A commit by ann, as a live page shows it."""
    return {
        "type": "commit",
        "seq": 42,
        "noun": noun,
        "id": key,
        "time": "2026-11-21T05:29:37.123Z",
        "author": "user_a",
        "origin": "n1",
        "cause": "c1",
        "events": [{"kind": kind, "data": data}],
    }


def said(frame: dict[str, Any]) -> str:
    """Its one sentence."""
    (sentence,) = sentences(frame, NAMES)
    return sentence.plain


def drawn(frame: dict[str, Any], columns: int) -> list[str]:
    """The lines of *frame* on a terminal so wide."""
    console = Console(
        file=io.StringIO(), force_terminal=True, width=columns, theme=THEME, color_system=None
    )
    return [line.plain for line in Lines(NAMES, console).of(frame)]


def test_every_kind_of_event_has_its_sentence() -> None:
    assert set(TELLING) == set(EVENTS)


@pytest.mark.parametrize("kind", sorted(EVENTS))
def test_a_sentence_stands_even_when_the_data_is_bare(kind: str) -> None:
    assert isinstance(said(commit(kind)), str)


@pytest.mark.parametrize(
    ("frame", "sentence"),
    [
        (commit("message_posted", content="Hi."), "Hi."),
        (commit("message_posted", content="Yes.", thread_id="M0"), "↳ Yes."),
        (commit("message_posted", attachments=[{"name": "a.png"}]), " [a.png]"),
        (commit("message_edited", content="Hello."), "edited: Hello."),
        (commit("reaction_added", reaction="like"), "reacted 👍"),
        (commit("reaction_removed", reaction="shrug"), "took back shrug"),
        (commit("member_added", "channel", "C1", account_id="user_a"), "came in"),
        (commit("member_added", "channel", "C1", account_id="user_b", role="admin"),
         "added bob as admin"),
        (commit("member_removed", "channel", "C1", account_id="user_a"), "left"),
        (commit("member_removed", "channel", "C1", account_id="user_b"), "removed bob"),
        (commit("role_changed", "channel", "C1", account_id="user_b", role="admin"),
         "made bob admin"),
        (commit("channel_opened", "channel", "C9", name="new", type="private"),
         "opened #new (private)"),
        (commit("channel_described", "channel", "C1", topic="Rust"),
         "changed the channel: topic “Rust”"),
        (commit("lifecycle_changed", "channel", "C1", archived=True, preserved=False, ttl_days=3),
         "archived the channel, preserves it no longer, keeps it 3 days"),
        (commit("channel_muted", "channel", "C1", muted=True), "muted the channel"),
        (commit("thread_followed", followed=False), "follows the thread no longer"),
        (commit("cursor_advanced", "cursor", "C1.user_a", seq=7), "read up to 7"),
        (commit("account_registered", "account", "user_c", username="cy", display_name="Cy C.",
                account_type="agent", status="pending_approval"),
         "joined as Cy C., an agent, waiting for approval"),
        (commit("status_changed", "account", "user_b", status="suspended"), "suspended bob"),
        (commit("profile_changed", "account", "user_a", bio="x", display_name="y"),
         "changed the profile: bio, display name"),
        (commit("key_created", "account", "user_a", key_id="K1", label="ci",
                scopes=["read_feed", "write_feed", "read_messages", "write_messages"]),
         "made the API key K1 “ci”, which may read and write"),
        (commit("key_created", "account", "user_a", key_id="K1", scopes=["view_trust"]),
         "made the API key K1, which may view_trust"),
        (commit("key_revoked", "account", "user_a", key_id="K1"), "revoked the API key K1"),
        (commit("workspace_claimed", "workspace", "main", account_id="user_a"),
         "made ann owner of this workspace"),
        (commit("code_issued", "workspace", "main", label="bob"),
         "issued a one-time code for “bob”"),
        (commit("tree_planted", "tree", "T1", height=3), 'tree planted {"height":3}'),
    ],
)  # fmt: skip
def test_what_happened_is_told_in_words(frame: dict[str, Any], sentence: str) -> None:
    assert said(frame) == sentence


def test_a_place_is_a_channel_or_the_noun_of_what_has_none() -> None:
    assert place(commit("message_posted"), NAMES).plain == "#ops"
    assert place(commit("key_revoked", "account", "user_a"), NAMES).plain == "account"


def test_names_are_learnt_from_what_passes() -> None:
    names = Names()

    names.learn(commit("account_registered", "account", "user_z", username="zoe"))
    names.learn(commit("channel_opened", "channel", "C7", name="zoo"))
    names.learn(commit("channel_described", "channel", "C7", name="park"))

    assert names.account("user_z") == "zoe"
    assert names.channel("C7") == "park"
    assert names.account_id("@Zoe") == "user_z"
    assert names.channel_id("#Park") == "C7"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[31mred\x1b[0m", "␛[31mred␛[0m"),
        ("bell\x07 and nul\x00", "bell␇ and nul␀"),
        ("two\nlines\tand a tab", "two lines and a tab"),
        ("\u202eevil", "\ufffdevil"),
        ("c1 \x9b31m", "c1 \ufffd31m"),
        ("Grüße, 世界 🎉", "Grüße, 世界 🎉"),
    ],
)
def test_nothing_that_others_wrote_reaches_the_terminal_as_an_order(text: str, shown: str) -> None:
    assert plain(text) == shown


def test_line_ends_are_kept_where_there_is_room_for_them() -> None:
    assert plain("a\nb", keep_lines=True) == "a\nb"


@pytest.mark.parametrize("columns", [40, 80, 120])
@pytest.mark.parametrize("content", ["Hi.", "long " * 100, "世界 " * 50])
def test_a_line_is_as_wide_as_the_terminal(columns: int, content: str) -> None:
    heading, line = drawn(commit("message_posted", content=content), columns)

    console = Console(width=columns)
    assert heading.startswith("── ")
    assert console.measure(line).maximum == columns
    assert line.endswith("  42")


def test_a_day_has_one_heading() -> None:
    console = Console(file=io.StringIO(), force_terminal=True, width=80, theme=THEME)
    lines = Lines(NAMES, console)

    first, again = (
        list(lines.of(commit("message_posted"))),
        list(lines.of(commit("message_posted"))),
    )

    assert (len(first), len(again)) == (2, 1)


def test_piped_lines_are_whole_and_begin_with_the_position() -> None:
    console = Console(file=io.StringIO(), width=40, theme=THEME)

    (line,) = Lines(NAMES, console).of(commit("message_posted", content="word " * 30))

    assert line.plain.startswith("42  2026-11-21T05:29:37.123Z  #ops  ann  word word")
    assert line.plain.count("word") == 30


def test_a_table_keeps_its_columns_and_wraps_the_last() -> None:
    console = Console(file=io.StringIO(), width=30, theme=THEME)

    console.print(
        table(("name", "count>", "about"), [("general", "3", "For everybody who is here")])
    )

    assert isinstance(console.file, io.StringIO)
    shown = console.file.getvalue()
    assert "general      3  For everybody" in shown
    assert "who is here" in shown


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(0.4, "0 s"), (59, "59 s"), (61, "1 min 1 s"), (7_320, "2 h 2 min"), (180_000, "2 d 2 h")],
)
def test_a_duration_is_told_by_its_two_largest_parts(seconds: float, shown: str) -> None:
    assert duration(seconds) == shown


def test_a_key_can_be_copied_from_a_narrow_terminal() -> None:
    terminal = Terminal()
    terminal.out = Screen(file=io.StringIO(), force_terminal=True, width=40, theme=THEME)
    made = Made("cnp_key_" + "x" * 80, Text("ann is here."))

    with terminal.out.capture() as captured:
        terminal.answer({}, shown_key(made))

    lines = Text.from_ansi(captured.get()).plain.splitlines()
    assert f"API key   {made.api_key}" in lines
    assert f"export CANOPY_API_KEY={made.api_key}" in lines


@pytest.mark.parametrize("columns", [80, 120])
def test_the_welcome_says_where_to_go_and_how_to_begin(columns: int) -> None:
    console = Console(file=io.StringIO(), width=columns, theme=THEME)

    first = Up("http://127.0.0.1:7771", "ABCD-EFGH-JKLM", Path("/data"), "n1", "nats://x", 0)
    console.print(welcome(first))

    assert isinstance(console.file, io.StringIO)
    shown = console.file.getvalue()
    assert "http://127.0.0.1:7771" in shown
    assert "ABCD-EFGH-JKLM" in shown
    assert "canopy user add" in shown
    assert "export CANOPY_URL=http://127.0.0.1:7771" in shown
    assert "nats --context canopy sub 'evt.>'" in shown
    assert "/data" in shown
    assert "Ctrl-C" in shown
    assert max(map(len, shown.splitlines())) <= columns


def test_a_node_that_has_an_owner_shows_no_code() -> None:
    console = Console(file=io.StringIO(), width=80, theme=THEME)

    console.print(welcome(Up(URL, "", Path.home() / "canopy", "n1", "nats://x", 7)))

    assert isinstance(console.file, io.StringIO)
    shown = console.file.getvalue()
    assert "Setup code" not in shown
    assert "CANOPY_URL" not in shown
    assert "~/canopy" in shown

"""The documentation is true as far as a machine can tell: pages, links, commands and names."""

from __future__ import annotations

import re
import shlex
from itertools import dropwhile, takewhile
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult, urlsplit

import pytest

from gateway.cli.app import tree
from gateway.errors import CATALOGUE
from gateway.reference.__main__ import PAGES, write
from gateway.reference.cli import leaves
from schemas.configuration import OTHERS, PREFIX, SHORT
from schemas.settings import Settings

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
REFERENCE = DOCS / "reference"
DECISIONS = sorted((DOCS / "decisions").glob("*.md"))
WRITTEN = [*sorted(ROOT.glob("*.md")), *sorted(DOCS.rglob("*.md"))]
SOURCES = [
    path
    for package in ("schemas", "bus", "sandboxes", "actors", "gateway", "tests")
    for path in sorted((ROOT / package).rglob("*.py"))
]

LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
HEADING = re.compile(r"^#{1,6} +(.+?) *$", re.MULTILINE)
FENCE = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
INLINE = re.compile(r"(?<!`)`([^`\n]+)`(?!`)")
FILE = re.compile(r"[a-z_]+(?:/[a-z_]+)*/[a-z_]+\.(?:py|sql)")
URL = re.compile(r"https?://[^\s)\"'`>]+")
HOME = re.compile(r"(?<![\w.~/])/(?:tmp|work|root|home|Users)/")
REFUSAL = re.compile(r"\b([45]\d\d)\s`([a-z_]+)`")
DECISION = re.compile(r"\bADR (\d{4})\b")
PAGE = re.compile(r"\bdocs/[a-z0-9/-]+\.md\b")
VARIABLE = re.compile(r"[A-Z_]+=.*")
ENDS_COMMAND = frozenset({"|", "||", "&", "&&", ";", ">", ">>", "<"})
OUTSIDE = frozenset({"keepachangelog.com", "semver.org", "github.com", "127.0.0.1"})
"""Hosts that a page may name: it should be readable without any of them."""


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def anchors(text: str) -> set[str]:
    """What a link into the page may name."""
    return {
        "".join(sign for sign in heading.lower() if sign.isalnum() or sign in " -_").replace(
            " ", "-"
        )
        for heading in HEADING.findall(FENCE.sub("", text))
    }


def leads(page: Path, link: SplitResult) -> bool:
    """Whether a link on *page* leads somewhere; links to other places are believed."""
    target = (page.parent / link.path).resolve() if link.path else page
    if link.scheme or not target.exists():
        return bool(link.scheme)
    return not link.fragment or link.fragment in anchors(target.read_text("utf-8"))


def shown(text: str) -> list[str]:
    """The command lines that the page shows, to be typed as they are."""
    blocks = [block for kind, block in FENCE.findall(text) if kind in ("sh", "console")]
    return [line.removeprefix("$ ") for block in blocks for line in block.splitlines()]


def mentioned(text: str) -> list[str]:
    """The command lines that the page speaks of."""
    inline = INLINE.findall(FENCE.sub("", text))
    return [one for one in inline if "…" not in one and "[" not in one]


def parse(line: str, *, whole: bool) -> None:
    """Fails when *line* calls `canopy` and the program would not understand it."""
    words = shlex.split(line, comments=True) if "canopy" in line else []
    words = list(dropwhile(VARIABLE.fullmatch, words))
    words = list(takewhile(lambda word: word not in ENDS_COMMAND, words))
    if words[:1] != ["canopy"]:
        return
    command: Any = tree()
    path, words = words[:1], words[1:]
    while words and hasattr(command, "commands") and not words[0].startswith("-"):
        assert words[0] in command.commands, f"no command {' '.join((*path, words[0]))}"
        path.append(words[0])
        command, words = command.commands[words[0]], words[1:]
    if not hasattr(command, "commands"):
        command.make_context(" ".join(path), words, resilient_parsing=not whole)


@pytest.mark.parametrize("page", PAGES)
def test_the_reference_says_what_the_program_does(page: str) -> None:
    assert (REFERENCE / page).read_text("utf-8") == PAGES[page](), "run `make docs`"


def test_the_reference_has_no_pages_of_its_own() -> None:
    assert {path.name for path in REFERENCE.iterdir()} == set(PAGES)


def test_the_reference_can_be_written_anywhere(tmp_path: Path) -> None:
    write(tmp_path / "pages")

    assert {path.name for path in (tmp_path / "pages").iterdir()} == set(PAGES)


@pytest.mark.parametrize("path", WRITTEN, ids=name)
def test_links_lead_somewhere(path: Path) -> None:
    links = LINK.findall(FENCE.sub("", path.read_text("utf-8")))

    assert [link for link in links if not leads(path, urlsplit(link))] == []


@pytest.mark.parametrize("path", WRITTEN, ids=name)
def test_commands_can_be_typed(path: Path) -> None:
    text = path.read_text("utf-8")

    for line in shown(text):
        parse(line, whole=True)
    for line in mentioned(text):
        parse(line, whole=False)


@pytest.mark.parametrize("path", WRITTEN, ids=name)
def test_files_that_are_named_are_there(path: Path) -> None:
    named = {one for one in INLINE.findall(path.read_text("utf-8")) if FILE.fullmatch(one)}

    assert {one for one in named if not (ROOT / one).exists()} == set()


@pytest.mark.parametrize("path", WRITTEN, ids=name)
def test_variables_that_are_named_are_read(path: Path) -> None:
    known = {PREFIX + key.upper() for key in Settings.model_fields} | SHORT.keys() | OTHERS
    named = set(re.findall(rf"\b{PREFIX}[A-Z_]+[A-Z]\b", path.read_text("utf-8")))

    assert named <= known


@pytest.mark.parametrize("path", WRITTEN, ids=name)
def test_pages_need_no_other_place(path: Path) -> None:
    text = path.read_text("utf-8")

    assert {urlsplit(url).hostname for url in URL.findall(text)} <= OUTSIDE
    assert HOME.findall(text) == []


@pytest.mark.parametrize("path", WRITTEN, ids=name)
def test_refusals_that_are_told_have_that_status(path: Path) -> None:
    told = {(code, int(status)) for status, code in REFUSAL.findall(path.read_text("utf-8"))}

    assert {one for one in told if CATALOGUE[one[0]].status != one[1]} == set()


def test_decisions_are_numbered_without_a_gap() -> None:
    assert [int(path.name[:4]) for path in DECISIONS] == [*range(1, len(DECISIONS) + 1)]


@pytest.mark.parametrize("path", DECISIONS, ids=name)
def test_a_decision_tells_why_and_what_else(path: Path) -> None:
    text = path.read_text("utf-8")

    assert text.startswith(f"# {path.name[:4]} · ")
    assert HEADING.findall(text)[1:] == ["Context", "Decision", "Consequences", "Alternatives"]


def test_what_the_code_refers_to_is_there() -> None:
    told = {path: path.read_text("utf-8") for path in SOURCES if path != Path(__file__)}
    numbers = {path.name[:4] for path in DECISIONS}
    lost = [
        (name(path), reference)
        for path, text in told.items()
        for reference in (*DECISION.findall(text), *PAGE.findall(text))
        if reference not in numbers and not (ROOT / reference).exists()
    ]

    assert lost == []


def test_every_option_of_a_command_stands_in_the_reference() -> None:
    """Its own with the command, what several share in one table that says who takes it."""
    page = (REFERENCE / "cli.md").read_text("utf-8")
    shared = page.partition("## Shared options")[2].partition("\n## ")[0]

    for name, command in leaves("canopy", tree()):
        own = page.partition(f"\n## `{name}`\n")[2].partition("\n## ")[0]
        for option in (opt for one in command.params for opt in one.opts if opt[0] == "-"):
            assert f"`{option}`" in own + shared, f"{name} {option}"
    at = next(line for line in shared.splitlines() if "`--at`" in line)
    assert "`channel show`" in at
    assert "`post`" not in at

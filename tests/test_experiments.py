"""The list of experiments is true: every test and every twin that it names is there."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "explanation" / "faults.md"
ROW = re.compile(r"^\| (F-\d\d) \|(.*)\|$", re.MULTILINE)
NAME = re.compile(r"`(tests/[\w/]+\.py)::(test_\w+)`")
TWINLESS = "no twin yet: "
WANTED = {f"F-{nth:02}" for nth in (*range(1, 24), 28, 36, *range(41, 46))}
ROWS = {number: rest.split("|") for number, rest in ROW.findall(PAGE.read_text("utf-8"))}


@cache
def kept_in(path: str) -> frozenset[str]:
    """The names of the tests in one file."""
    tree = ast.parse((ROOT / path).read_text("utf-8"))
    functions = (ast.FunctionDef, ast.AsyncFunctionDef)
    return frozenset(node.name for node in ast.walk(tree) if isinstance(node, functions))


def named(cell: str) -> list[tuple[str, str]]:
    """The tests that a cell of the list names."""
    return NAME.findall(cell)


def test_every_experiment_is_in_the_list() -> None:
    assert set(ROWS) == WANTED


@pytest.mark.parametrize("number", sorted(ROWS))
def test_an_experiment_has_a_test_and_a_twin_that_are_there(number: str) -> None:
    """Or says that there is no twin, and why."""
    *_, test, twin = ROWS[number]
    told = [named(test), named(twin)]

    assert told[0]
    assert told[1] or twin.strip().startswith(TWINLESS)
    assert not set(told[0]) & set(told[1])
    assert [one for cell in told for one in cell if one[1] not in kept_in(one[0])] == []


def test_what_tests_one_row_is_no_twin_of_another() -> None:
    """A twin takes a defence away, and so it shows a harm; no test of a row may."""
    tests = {one for *_, test, _ in ROWS.values() for one in named(test)}
    twins = {one for *_, twin in ROWS.values() if TWINLESS not in twin for one in named(twin)}

    assert tests & twins == set()


def test_a_test_that_is_not_there_is_missed() -> None:
    assert "test_that_nobody_wrote" not in kept_in("tests/test_experiments.py")

"""The house rules that a machine can check, so that people need not.

Each test names the rule it holds; `docs/decisions` tells why. Contracts that fit import-linter
stand in pyproject.toml and are run from here; the rest is read from the syntax trees.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest
from importlinter.cli import lint_imports

ROOT = Path(__file__).parents[1]
PACKAGES = ("schemas", "bus", "sandboxes", "actors", "gateway")
FILE_LINES_MAX = 350
FUNCTION_LINES_MAX = 70
REASON = "Long because"
"""A file may be longer when its docstring has a sentence that begins so."""

EMPTY_WORDS = {"manager", "service", "helper", "util", "utils", "common", "base", "core"}

OWN_ROOTS = ("gateway.cli", "gateway.bench", "actors.supervisor")
"""Programs that end when their one task ends, and who watches a room: they hold it themselves."""

DOORS: dict[str, tuple[str, ...]] = {
    "nats": ("bus",),
    "nacl": ("bus.crypto",),
    "opentelemetry": ("bus.telemetry",),
    "prometheus_client": ("bus.telemetry",),
    "duckdb": (
        "actors.projection_file",
        "actors.projection_folder",
        "actors.view",
        "sandboxes.sql.cell",
    ),
    "pyarrow": ("actors.batch", "actors.archive", "actors.view", "sandboxes.sql.cell"),
    "aiohttp": ("gateway",),
    "argon2": ("gateway.auth",),
    "itsdangerous": ("gateway.auth", "gateway.pages"),
    "typer": ("gateway.cli",),
    "rich": ("gateway.cli",),
}
"""Which modules may import a dependency: replacing one touches one place."""

FROM_ACTORS = re.compile(
    r"actors\.(__main__|archive|batch|archive_files|archive_manifest|projector|projection_file|projection_folder|rooms|supervisor|view|\w+\.queries)"
    r"(\.|$)"
)
"""What the gateway may know of the actors: how to run them and how facts become tables, never how
they are decided."""

CATCH_ALL = ("actors.supervisor", "bus.consumer", "gateway.app")
"""Where any exception may be caught: it is logged with its cause and acted upon there."""


@dataclass(frozen=True)
class Module:
    """One Python file of ours."""

    name: str
    path: Path
    lines: int
    tree: ast.Module

    @property
    def imports(self) -> Iterator[str]:
        """The full names of what is imported, also inside functions and for types only."""
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Import):
                yield from (alias.name for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and node.module:
                yield from (f"{node.module}.{alias.name}" for alias in node.names)

    def within(self, *names: str) -> bool:
        """Whether this is one of the modules or packages named."""
        return any(self.name == name or self.name.startswith(f"{name}.") for name in names)


@cache
def modules(*packages: str) -> tuple[Module, ...]:
    """The modules below *packages*."""
    found = []
    for package in packages:
        for path in sorted((ROOT / package).rglob("*.py")):
            name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
            text = path.read_text("utf-8")
            tree = ast.parse(text, str(path))
            found.append(Module(name.removesuffix(".__init__"), path, text.count("\n"), tree))
    return tuple(found)


def ours() -> tuple[Module, ...]:
    return modules(*PACKAGES)


def everything() -> tuple[Module, ...]:
    return modules(*PACKAGES, "tests")


def test_imports_keep_their_contracts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)

    assert lint_imports(config_filename=str(ROOT / "pyproject.toml"), no_cache=True) == 0


@pytest.mark.parametrize(("dependency", "doors"), DOORS.items())
def test_each_dependency_has_one_door(dependency: str, doors: tuple[str, ...]) -> None:
    trespassers = {
        module.name
        for module in ours()
        for name in module.imports
        if name.partition(".")[0] == dependency and not module.within(*doors)
    }

    assert not trespassers


def test_the_gateway_knows_tables_and_not_decisions() -> None:
    trespasses = {
        (module.name, name)
        for module in ours()
        if module.within("gateway")
        for name in module.imports
        if name.startswith("actors.") and not FROM_ACTORS.match(name)
    }

    assert not trespasses


def test_rooms_do_not_know_each_other() -> None:
    rooms = {path.parent.name for path in (ROOT / "actors").glob("*/__init__.py")}
    trespasses = {
        (module.name, name)
        for module in ours()
        if module.within(*(f"actors.{room}" for room in rooms))
        for name in module.imports
        if name.startswith("actors.")
        and (other := name.split(".")[1]) in rooms
        and not module.within(f"actors.{other}")
    }

    assert not trespasses


def test_queries_are_sql_and_know_only_the_vocabulary() -> None:
    trespasses = {
        (module.name, name)
        for module in ours()
        if module.name.endswith(".queries")
        for name in module.imports
        if name.partition(".")[0] in (*PACKAGES[1:], *DOORS)
    }

    assert not trespasses


def test_modules_are_named_for_what_they_are() -> None:
    empty = {
        module.name for module in everything() if EMPTY_WORDS & set(re.split(r"[._]", module.name))
    }

    assert not empty


def test_classes_are_named_for_what_they_are() -> None:
    empty = {
        (module.name, node.name)
        for module in everything()
        for node in ast.walk(module.tree)
        if isinstance(node, ast.ClassDef)
        and EMPTY_WORDS & {word.lower() for word in re.findall(r"[A-Z][a-z]*", node.name)}
    }

    assert not empty


def test_modules_say_what_they_are_for() -> None:
    assert not {module.name for module in everything() if not ast.get_docstring(module.tree)}


def test_files_can_be_read_at_one_sitting() -> None:
    long = {
        (module.name, module.lines)
        for module in everything()
        if module.lines > FILE_LINES_MAX and REASON not in (ast.get_docstring(module.tree) or "")
    }

    assert not long


def test_functions_can_be_seen_at_one_glance() -> None:
    long = {
        (module.name, node.name)
        for module in everything()
        for node in ast.walk(module.tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and (node.end_lineno or 0) - node.lineno >= FUNCTION_LINES_MAX
    }

    assert not long


def test_exceptions_are_caught_by_name() -> None:
    broad = {
        (module.name, node.lineno)
        for module in ours()
        if not module.within(*CATCH_ALL)
        for node in ast.walk(module.tree)
        if isinstance(node, ast.ExceptHandler) and _catches_all(node)
    }

    assert not broad


def test_every_task_belongs_to_a_group() -> None:
    """A task made by `asyncio.create_task` fails where nobody looks."""
    stray = {
        (module.name, node.lineno)
        for module in ours()
        if not module.within(*OWN_ROOTS)
        for node in ast.walk(module.tree)
        if isinstance(node, ast.Attribute)
        and node.attr in ("create_task", "ensure_future")
        and isinstance(node.value, ast.Name)
        and node.value.id in ("asyncio", "loop")
    }

    assert not stray


def _catches_all(handler: ast.ExceptHandler) -> bool:
    """`except:`, `except Exception:`, or `except BaseException:` that does not raise again."""
    if handler.type is None:
        return True
    names = {node.id for node in ast.walk(handler.type) if isinstance(node, ast.Name)}
    raised_again = isinstance(handler.body[-1], ast.Raise) and handler.body[-1].exc is None
    return "Exception" in names or ("BaseException" in names and not raised_again)

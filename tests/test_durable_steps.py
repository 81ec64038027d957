"""Every durable write of a file comes by a kill point, or it says here why it need not.

What counts are the calls of `bus.files`, of a `Storage` or the `Slots` in one, and of the kernel's
own syncs and renames, in everything that a node is made of. A write through the broker or through
DuckDB is no call of these: `append.…`, `fold.…` and `restore.…` stand around those.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from tests.test_architecture import ROOT, Module, ours

DOORS = ("bus.files", "bus.storage")
"""What makes a write durable; a step is a call of it."""
APART = ("gateway.bench", "gateway.reference")
FILES = {"written", "written_bytes", "sync_directory"}
KERNEL = {"fsync", "fdatasync", "sync", "rename", "link", "write_bytes", "write_text"}
STORAGE = {"append", "begin", "put", "remove", "replace"}
RECEIVER = re.compile(r"(^|[._])(storage|kept|slots)$|^Slots\(")
"""How a `Storage` or a `Slots` is called, wherever there is one."""

FIRST = "a first start: all or nothing, and what was not done is done by the next one"
EACH = "written at each start, the same again: all or nothing"
RESTORED = "in the draft of a restore, which is begun anew: `restore.begun` to `restore.made`"
WITHIN = "one step of a caller that comes by a point: "
UNMARKED: dict[str, str] = {
    "bus.alarm.Alarm.lift": "removes one file; one that stays is lifted after the next proof",
    "bus.cluster._secrets": FIRST,
    "bus.disk.refusal": "a probe, which nobody reads",
    "bus.identity_file._rewrite": "a start: all or nothing, and then zeros over what is gone",
    "bus.identity_file.identify": FIRST,
    "bus.identity_file.keep": RESTORED,
    "bus.key_copy.put_vault": RESTORED,
    "bus.key_table.KeyTable._write": WITHIN + "`vault.tabled`; `add` comes by before it",
    "bus.key_table.KeyTable.counted": "adds nothing: syncs what a dead writer may not have",
    "bus.key_table.KeyTable.create": FIRST + "; the identity names the vault last",
    "bus.ledger.Ledger.begin": FIRST + "; the ledger itself comes last",
    "bus.marks.Slots.begin": FIRST + ", or by `vouch`, which is asked for again",
    "bus.marks.Slots.put": WITHIN + "`append.marked`, `tip.kept`",
    "bus.marks.high_water": FIRST,
    "bus.notary.Notary._said": "tells where to go on; without it, from the beginning",
    "bus.program.fitting": EACH,
    "bus.roles.passwords": FIRST,
    "bus.roles.write_context": EACH,
    "bus.server._started": EACH,
    "bus.vault.Vault._append": WITHIN + "`vault.kept`",
    "bus.vault_file.overwrite_keys": RESTORED,
    "actors.archive_files._durable": WITHIN + "`archive.written`",
    "actors.projection_folder._set_aside": "tables; without them they are made of the log",
    "gateway.doctor._one_fsync": "a probe, which nobody reads",
    "gateway.draft.Draft.discard": RESTORED,
}
"""Who writes durably and comes by no point → why that is none of the places to die at."""


def is_durable(call: ast.Call) -> bool:
    """Whether *call* puts something on the disk, or takes it away there."""
    match call.func:
        case ast.Name(id=name):
            return name in FILES
        case ast.Attribute(value=receiver, attr=name):
            of_storage = name in STORAGE and RECEIVER.search(ast.unparse(receiver))
            # str.replace takes two, and dataclasses.replace takes keywords.
            of_path = name == "replace" and len(call.args) == 1 and not call.keywords
            return bool(name in KERNEL or of_storage or of_path)
    return False


def is_point(call: ast.Call) -> bool:
    """Whether *call* is a kill point."""
    return isinstance(call.func, ast.Name) and call.func.id == "point"


def calls(module: Module) -> Iterator[tuple[str, ast.Call]]:
    """Every call, with the full name of the function in which it stands."""

    def within(node: ast.AST, place: str) -> Iterator[tuple[str, ast.Call]]:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.Call):
                yield place, child
            if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                yield from within(child, f"{place}.{child.name}")
            else:
                yield from within(child, place)

    yield from within(module.tree, module.name)


def unmarked(modules: tuple[Module, ...]) -> set[str]:
    """The functions that write durably and come by no point."""
    told = [one for module in modules if not module.within(*DOORS, *APART) for one in calls(module)]
    pointed = {place for place, call in told if is_point(call)}
    return {place for place, call in told if is_durable(call)} - pointed


def test_every_durable_write_is_a_place_to_die_at_or_says_why_not() -> None:
    assert unmarked(ours()) == set(UNMARKED)


def test_a_storage_is_called_one() -> None:
    """Else the test before this one would not know it."""
    arguments = [
        (module.name, node.arg)
        for module in ours()
        for node in ast.walk(module.tree)
        if isinstance(node, ast.arg) and node.annotation is not None
        if ast.unparse(node.annotation) in {"Slots", "Storage"}
    ]

    assert len(arguments) > 10
    assert [one for one in arguments if not RECEIVER.search(one[1])] == []


def test_a_write_without_a_point_is_found() -> None:
    """In a module that nobody has listed: each of its writes, and nothing that only looks so."""
    text = (
        "def pointed(storage): storage.put('a', 0, b''); point('vault.kept')\n"
        "def filed(path): written(path, '')\n"
        "class Kept:\n"
        "    def put(self): self._storage.replace('a', b'')\n"
        "def renamed(one): one.replace(other)\n"
        "def spoken(text): return text.replace('a', 'b') + names.append(text)\n"
    )
    tree = ast.parse(text)
    found = unmarked((Module("bus.fresh", ROOT / "bus" / "fresh.py", text.count("\n"), tree),))

    assert found == {"bus.fresh.filed", "bus.fresh.Kept.put", "bus.fresh.renamed"}

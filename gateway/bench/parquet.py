"""The tables from Parquet instead of from the log: how much faster, and whether they are the same.

python -m gateway.bench.parquet <archive>     folds the archive there into fresh tables, once
"""

from __future__ import annotations

import json
import resource
import shutil
import sys
import tempfile
from pathlib import Path
from time import perf_counter
from typing import Any

from actors.archive import Archive, tables_of
from actors.archive_files import opened
from actors.projection_file import ProjectionFile
from actors.rooms import statements
from gateway.backup import export
from gateway.bench.node import NoStart, process, ready
from gateway.bench.rebuild import folded
from gateway.bench.report import Figure, Report, middle
from gateway.bench.seed import EVENTS, seeded
from schemas.settings import Settings

ARCHIVE = "archive.bench"


async def parquet(directory: Path, events: int = EVENTS, rounds: int = 3) -> Report:
    """Events a second from Parquet into empty tables, beside the same from the log; and how fast
    the log is exported."""
    await seeded(directory, events)
    archive = directory / ARCHIVE
    shutil.rmtree(archive, ignore_errors=True)
    began_s = perf_counter()
    manifest = await export(Settings(data_directory=directory), archive, lambda done, total: None)
    export_s = perf_counter() - began_s
    packed_bytes = sum(part.commits_bytes + part.events_bytes for part in manifest.parts)
    measured: list[dict[str, Any]] = []
    for _ in range(rounds):
        log, files = await folded(directory), await _filled(archive)
        differing = sum(files["tables"].get(n) != h for n, h in log.pop("tables").items())
        del files["tables"]
        ratio = files["events_per_s"] / log["events_per_s"]
        measured.append({"log": log, "differing": differing, "ratio": ratio, **files})
    from_log = middle([one["log"] for one in measured], "events_per_s")
    closed = middle(measured, "closed_per_s")
    figures = (
        Figure("from Parquet", middle(measured, "events_per_s"), "events/s"),
        Figure("from Parquet, and closed", closed, "events/s", 200_000, rising=True),
        Figure("from the log", from_log, "events/s"),
        Figure("Parquet ÷ log", middle(measured, "ratio"), "×"),
        Figure("tables that differ", sum(one["differing"] for one in measured), "tables", 0),
        Figure("peak of the folding process", middle(measured, "peak_mib"), "MiB"),
        Figure("exported", manifest.last / export_s, "commits/s"),
        Figure("size", packed_bytes / manifest.last, "bytes/commit"),
    )
    conditions = f"{manifest.events:,} events, median of {rounds} rounds"
    return Report("parquet", conditions, figures, tuple(measured))


async def _filled(archive: Path) -> dict[str, Any]:
    words = [sys.executable, "-m", "gateway.bench.parquet", str(archive)]
    async with process(words) as running:
        try:
            return await ready(running)
        except TimeoutError as error:
            raise NoStart("the archive was not folded in time") from error


def _fill(path: Path) -> dict[str, Any]:
    memory = Settings().projection_memory_bytes_max
    with tempfile.TemporaryDirectory(dir=path.parent) as place, opened(path) as files:
        archive = Archive(files)
        began_s = perf_counter()
        file = ProjectionFile(Path(place, "tables.duckdb"), statements(), "0" * 16, memory)
        archive.fill(file, lambda part: None)
        took_s = perf_counter() - began_s
        tables = {name: sum_ for name, (_, sum_) in tables_of(file).hashes.items()}
        began_s = perf_counter()
        file.close()
        close_s = perf_counter() - began_s
    peak_mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    events = archive.manifest.events
    return {
        "events_per_s": events / took_s,
        "closed_per_s": events / (took_s + close_s),
        "peak_mib": peak_mib,
        "tables": tables,
    }


if __name__ == "__main__":
    sys.stdout.write(json.dumps(_fill(Path(sys.argv[1]))) + "\n")

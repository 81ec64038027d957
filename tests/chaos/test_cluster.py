"""Three NATS servers keep the log; they are lost, cut off, started anew (the long form:
`canopy bench --cluster`).

The mutation: with one copy instead of three, the same blow stops everything.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.bench.cluster import Blow, cluster
from gateway.bench.namespaces import NoNamespaces
from gateway.bench.parts import Unfound
from gateway.bench.report import Report
from tests.servers import missing

BLOWS: tuple[Blow, ...] = (
    "leader killed",
    "leader cut off from its peers",
    "rolling restart",
    "two lost",
)


async def befallen(directory: Path, **told: object) -> Report:
    """What came of it; where there can be no cluster the test is skipped."""
    try:
        return await cluster(directory, rounds=1, **told)  # type: ignore[arg-type]  # by its names
    except NoNamespaces as error:
        missing(f"{error}. {error.remedy}")
        raise


@pytest.mark.slow
@pytest.mark.timeout(240)
async def test_nothing_acknowledged_is_lost_whatever_befalls_the_servers(tmp_path: Path) -> None:
    """The leader is killed; the next hears nothing from the others; each is started anew; then two
    are lost, and 503 with Retry-After is all that is answered."""
    report = await befallen(tmp_path, blows=BLOWS)

    assert [row for row in report.rows() if row[3] == "✗"] == [], report.rounds
    assert {figure.name: figure.value for figure in report.figures}["503 with Retry-After"] > 0


@pytest.mark.slow
@pytest.mark.timeout(180)
async def test_one_copy_is_not_enough(tmp_path: Path) -> None:
    with pytest.raises(ExceptionGroup) as caught:
        await befallen(tmp_path, blows=("leader killed",), copies=1, recovery_s=12.0)

    assert caught.group_contains(Unfound, match="no recovery in 12 s after: the leader was killed")

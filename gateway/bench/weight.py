"""What a part of a node weighs, in memory and in open files; how it has grown."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import fmean, linear_regression
from time import monotonic

from gateway.bench.parts import Part, Parts, Unfound
from gateway.bench.report import Figure

GROWN_MIB_MAX = 64.0
GROWN_FILES_MAX = 8.0
STEEP_MAX = 1.0
"""Percent an hour."""
TELLING_S = 600.0
"""Weights of a shorter time tell how steep they are, and are not held to it."""
WARMING = 4
"""The first of so many equal parts of all weights are those of a process that is getting warm."""
HOUR_S = 3600.0

Sample = tuple[float, float]
"""A second, and how much there was of something."""


@dataclass
class Weight:
    """The weights of one part of a node."""

    parts: Parts
    part: Part
    mib: list[Sample] = field(default_factory=list)
    files: list[Sample] = field(default_factory=list)

    def take(self) -> None:
        """Weigh it now. Raises `Unfound` when it has ended."""
        process = self.parts.process(self.part)
        if process is None:
            raise Unfound(f"{self.part} has ended")
        now_s = monotonic()
        self.mib.append((now_s, process.memory_info().rss / (1 << 20)))
        self.files.append((now_s, float(process.num_fds())))

    def figures(self) -> tuple[Figure, ...]:
        """How it has grown, of at least two weights."""
        grown = (
            Figure(f"{self.part} has grown", _grown(self.mib), "MiB", GROWN_MIB_MAX),
            Figure(f"{self.part} has more open", _grown(self.files), "files", GROWN_FILES_MAX),
        )
        bar = STEEP_MAX if self.files[-1][0] - self.files[0][0] >= TELLING_S else None
        return (
            *grown,
            Figure(f"{self.part}: memory", steepness(self.mib), "% an hour", bar),
            Figure(f"{self.part}: open files", steepness(self.files), "% an hour", bar),
        )


def steepness(samples: Sequence[Sample]) -> float:
    """Percent of itself by which what was sampled rises in an hour, by least squares over all but
    the first quarter: a process that is getting warm is none that leaks."""
    seconds, amounts = zip(*samples[len(samples) // WARMING :], strict=True)
    return 100 * HOUR_S * linear_regression(seconds, amounts).slope / fmean(amounts)


def _grown(samples: Sequence[Sample]) -> float:
    return samples[-1][1] - samples[0][1]

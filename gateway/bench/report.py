"""What a measure answers: figures with their bars, the same for a reader and for a program."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from statistics import median
from typing import Any


@dataclass(frozen=True, slots=True)
class Figure:
    """One number. `bar` is what it must reach: at most, or at least if `rising`."""

    name: str
    value: float
    unit: str
    bar: float | None = None
    rising: bool = False

    @property
    def held(self) -> bool:
        """Whether the number reaches its bar; so does one without a bar."""
        if self.bar is None:
            return True
        return self.value >= self.bar if self.rising else self.value <= self.bar


@dataclass(frozen=True, slots=True)
class Report:
    """One measure: what was done, under which conditions, and what came out."""

    name: str
    conditions: str
    figures: tuple[Figure, ...]
    rounds: tuple[dict[str, Any], ...] = field(default=(), repr=False)

    @property
    def held(self) -> bool:
        """Whether every figure reaches its bar."""
        return all(figure.held for figure in self.figures)

    def rows(self) -> list[tuple[str, str, str, str]]:
        """For a table: figure, value, bar, whether it holds."""
        return [
            (
                figure.name,
                f"{figure.value:,.4g} {figure.unit}",
                "" if figure.bar is None else f"{'≥' if figure.rising else '≤'} {figure.bar:,g}",
                "" if figure.bar is None else ("✓" if figure.held else "✗"),
            )
            for figure in self.figures
        ]

    def json(self) -> dict[str, Any]:
        """Everything, for a program."""
        figures = [asdict(figure) | {"held": figure.held} for figure in self.figures]
        return {
            "name": self.name,
            "conditions": self.conditions,
            "held": self.held,
            "figures": figures,
            "rounds": list(self.rounds),
        }


def quantile(ordered: Sequence[float], share: float) -> float:
    """The value below which *share* of the *ordered* values lie (nearest rank)."""
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


def middle(rounds: Sequence[dict[str, Any]], name: str) -> float:
    """The median over *rounds* of the number called *name*."""
    return float(median(one[name] for one in rounds))

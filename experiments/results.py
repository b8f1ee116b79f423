"""The reports that experiments/sweep.py wrote, grouped by experiment, and statistics over their seeds."""

import json
import re
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from utils.errors import DiffPoseError


@dataclass(frozen=True)
class Experiment:
    """All reports of one configuration, one per seed. ``name``: its path below experiments/, without .yaml."""

    name: str
    reports: tuple[dict, ...]

    @property
    def short(self) -> str:
        return Path(self.name).name

    @property
    def group(self) -> str:
        """The folder of the configuration."""
        return str(Path(self.name).parent)

    @property
    def budget(self) -> str:
        parts = sorted({(r["experiment"]["steps"], r["experiment"]["batch"]) for r in self.reports})
        return ", ".join(f"{steps:,} x {batch}" for steps, batch in parts)

    @property
    def seeds(self) -> list[int]:
        return [report["experiment"]["seed"] for report in self.reports]

    def results(self, split: str) -> list[dict]:
        """The results of one split, one per seed."""
        return [result for report in self.reports for result in report["results"] if result["info"]["split"] == split]

    def values(self, split: str, row: str, metric: str, *, subset: str = "") -> list[float]:
        """One number per seed, shares in percent. ``subset``: a part of the split's frames."""
        scale = 100 if metric.startswith("pck") else 1
        parts = [result["subsets"].get(subset) if subset else result for result in self.results(split)]
        return [scale * part["rows"][row][metric] for part in parts if part and row in part["rows"]]

    def curve(self, split: str, metric: str = "mpjpe") -> list[float]:
        """Error of the best of N for N = 1 .. H, mean over seeds."""
        curves = [result["best_of_n"][metric] for result in self.results(split)]
        return [statistics.mean(values) for values in zip(*curves, strict=True)]

    def calibration_errors(self, split: str) -> list[float]:
        return [result["calibration"]["error"] for result in self.results(split) if result["calibration"]]

    def sharpness(self, split: str) -> list[float]:
        return [result["sharpness_mm"] for result in self.results(split) if result["sharpness_mm"] is not None]


def _natural(name: str) -> list:
    """Sorts S8 before S16."""
    return [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", name)]


def read_results(folder: Path) -> list[Experiment]:
    """Every <name>/seed<seed>.json below a folder. Raises DiffPoseError if there is none or one can't be read."""
    experiments: dict[str, list[dict]] = {}
    for path in sorted(folder.rglob("seed*.json"), key=lambda path: _natural(str(path))):
        try:
            report = json.loads(path.read_text())
            experiments.setdefault(report["experiment"]["name"], []).append(report)
            wrong = "" if report.get("results") else "one of --frame_errors, which experiments/claims_report.py reads"
        except (OSError, ValueError, KeyError, TypeError):
            wrong = "remove it or run it again"
        if wrong:
            raise DiffPoseError(f"{path}: not a report of experiments/sweep.py: {wrong}")
    if not experiments:
        raise DiffPoseError(f"{folder}: holds no seed<number>.json: run experiments/sweep.py --results {folder} first")
    return [Experiment(name, tuple(reports)) for name, reports in experiments.items()]


def spread(values: Sequence[float], digits: int = 1) -> str:
    """'mean ± standard deviation' over seeds; the mean alone for one seed."""
    if not values:
        return "-"
    mean = f"{statistics.mean(values):.{digits}f}"
    return f"{mean} ± {statistics.stdev(values):.{digits}f}" if len(values) > 1 else mean


@dataclass(frozen=True)
class Effect:
    """How much larger one experiment's number is than another's, and the spread over seeds to compare that with.

    ``size``: difference of the means over seeds. ``spread``: standard deviation over seeds, pooled over both; None if
    one of them has a single seed.
    """

    size: float
    spread: float | None

    @property
    def verdict(self) -> str:
        """Whether ``size`` is positive by more than the spread."""
        if self.spread is None:
            return "open (one seed)"
        if abs(self.size) <= self.spread:
            return "open (within the spread)"
        return "yes" if self.size > 0 else "no"

    def __str__(self) -> str:
        return f"{self.size:+.1f}" if self.spread is None else f"{self.size:+.1f} (spread {self.spread:.1f})"


def effect(larger: Sequence[float], smaller: Sequence[float]) -> Effect:
    """The effect between two experiments; ``larger`` and ``smaller`` have one number per seed."""
    size = statistics.mean(larger) - statistics.mean(smaller)
    if min(len(larger), len(smaller)) < 2:
        return Effect(size, None)
    return Effect(size, ((statistics.variance(larger) + statistics.variance(smaller)) / 2) ** 0.5)

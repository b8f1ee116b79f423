"""Tables and curves of a sweep's reports: ``python experiments/tables.py --results experiments/synthetic/results``.

Writes tables.md, tables.csv and best_of_n.png beside the results: mean and standard deviation over seeds, with the
budget of every row. Where the data is Human3.6M the published numbers stand above ours.
"""

import argparse
import csv
import io
import json
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from utils.errors import DiffPoseError, run_script
from utils.published import PUBLISHED
from utils.report import write_text

# Column heading -> (split, row, metric); share: printed in per cent.
COLUMNS = {
    "full: best MPJPE": ("full", "best", "mpjpe"),
    "full: best PA": ("full", "best", "pa_mpjpe"),
    "full: mean pose MPJPE": ("full", "mean_pose", "mpjpe"),
    "full: zero-noise MPJPE": ("full", "zero_noise", "mpjpe"),
    "hard: best MPJPE": ("hard", "best", "mpjpe"),
    "hard: best PA": ("hard", "best", "pa_mpjpe"),
    "hard: mean pose MPJPE": ("hard", "mean_pose", "mpjpe"),
    "hard: PCK %": ("hard", "best", "pck"),
    "hard: CPS": ("hard", "best", "cps"),
}


@dataclass(frozen=True)
class Experiment:
    """All reports of one configuration, one a seed."""

    name: str
    reports: tuple[dict, ...]

    def result(self, report: dict, split: str) -> dict | None:
        return next((result for result in report["results"] if result["info"]["split"] == split), None)

    def values(self, split: str, row: str, metric: str) -> list[float]:
        """One number a seed; in per cent for shares."""
        scale = 100 if metric.startswith("pck") else 1
        found = [self.result(report, split) for report in self.reports]
        return [scale * result["rows"][row][metric] for result in found if result and row in result["rows"]]

    def calibration_errors(self, split: str) -> list[float]:
        found = [self.result(report, split) for report in self.reports]
        return [result["calibration"]["error"] for result in found if result and result["calibration"]]

    @property
    def budget(self) -> str:
        parts = sorted({(r["experiment"]["steps"], r["experiment"]["batch"]) for r in self.reports})
        return ", ".join(f"{steps:,} x {batch}" for steps, batch in parts)


def read_results(folder: Path) -> list[Experiment]:
    """Every <name>/seed<seed>.json below a folder. Raises DiffPoseError for no or unreadable reports."""
    experiments: dict[str, list[dict]] = {}
    for path in sorted(folder.rglob("seed*.json")):
        try:
            report = json.loads(path.read_text())
            experiments.setdefault(report["experiment"]["name"], []).append(report)
        except (OSError, ValueError, KeyError, TypeError):
            raise DiffPoseError(f"{path}: not a report of experiments/sweep.py: remove it or run it again") from None
    if not experiments:
        raise DiffPoseError(f"{folder}: holds no seed<number>.json: run experiments/sweep.py --results {folder} first")
    return [Experiment(name, tuple(reports)) for name, reports in experiments.items()]


def spread(values: Sequence[float], digits: int = 1) -> str:
    """'mean +- standard deviation' over seeds; the mean alone for one seed."""
    if not values:
        return "-"
    mean = f"{statistics.mean(values):.{digits}f}"
    return f"{mean} ± {statistics.stdev(values):.{digits}f}" if len(values) > 1 else mean


def markdown_table(experiments: Sequence[Experiment]) -> str:
    """One row an experiment, grouped by the folder its configuration lies in."""
    head = ["experiment", "seeds", "steps x batch", *COLUMNS, "full: calibration error"]
    lines = []
    groups: dict[str, list[Experiment]] = {}
    for experiment in experiments:
        groups.setdefault(str(Path(experiment.name).parent), []).append(experiment)
    for group, members in groups.items():
        lines += [f"### {group}", "", " | ".join(head).join(("| ", " |")), "|---" * len(head) + "|"]
        for experiment in members:
            cells = [Path(experiment.name).name, str(len(experiment.reports)), experiment.budget]
            cells += [spread(experiment.values(*column)) for column in COLUMNS.values()]
            cells.append(spread(experiment.calibration_errors("full"), 3))
            lines.append(" | ".join(cells).join(("| ", " |")))
        lines.append("")
    return "\n".join(lines)


def text_of(experiments: Sequence[Experiment], folder: Path) -> str:
    """tables.md."""
    results = [result for experiment in experiments for report in experiment.reports for result in report["results"]]
    hypotheses = sorted({result["num_hypotheses"] for result in results})
    sources = sorted({result["info"]["source"] for result in results})
    text = [
        f"Mean ± standard deviation over seeds; best: of {', '.join(map(str, hypotheses))} hypotheses (oracle); mm. "
        f"full: every {results[0]['info']['stride']}th test row, averaged over actions; hard: averaged over frames.",
        "",
        f"Data: {'; '.join(sources)}.",
        "",
        markdown_table(experiments),
    ]
    if all(result["info"]["is_human36m"] for result in results):
        text += ["### published", "", "| method | H36M MPJPE / PA | H36MA MPJPE / PA |", "|---|---|---|"]
        text += [f"| {p.method} | {_pair(p.h36m)} | {_pair(p.hard)} |" for p in PUBLISHED]
    return "\n".join(text).rstrip() + "\n"


def _pair(values: tuple[float, float] | None) -> str:
    return "-" if values is None else f"{values[0]} / {values[1]}"


def csv_of(experiments: Sequence[Experiment]) -> str:
    """tables.csv: one line a report."""
    output = io.StringIO()
    writer = csv.writer(output, lineterminator="\n")
    writer.writerow(["experiment", "seed", "steps", "batch", "minutes", *COLUMNS])
    for experiment in experiments:
        for report in experiment.reports:
            about = report["experiment"]
            single = Experiment(experiment.name, (report,))
            numbers = [single.values(*column) for column in COLUMNS.values()]
            writer.writerow(
                [experiment.name, about["seed"], about["steps"], about["batch"], about["minutes"]]
                + [f"{values[0]:.3f}" if values else "" for values in numbers]
            )
    return output.getvalue()


def plot_curves(experiments: Sequence[Experiment], path: Path) -> None:
    """Best-of-N MPJPE over N on the full and the hard split, mean over seeds, one curve an experiment."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 4.5), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    for axes, split in zip(figure.subplots(1, 2), ("full", "hard"), strict=True):
        for experiment in experiments:
            found = [experiment.result(report, split) for report in experiment.reports]
            curves = [result["best_of_n"]["mpjpe"] for result in found if result]
            if curves:
                mean = [statistics.mean(values) for values in zip(*curves, strict=True)]
                axes.plot(range(1, len(mean) + 1), mean, label=Path(experiment.name).name, linewidth=1.3)
        axes.set(xscale="log", xlabel="N", ylabel="MPJPE of the best of N, mm", title=split)
        axes.grid(color="0.92")
    axes.legend(fontsize=7)
    partial = path.with_name(f"{path.name}.partial")
    figure.savefig(partial, format="png")
    partial.replace(path)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--results", required=True, help="folder of experiments/sweep.py's reports")
    parser.add_argument("--output", help="folder of the tables (default: the results' parent)")
    args = parser.parse_args()
    folder = Path(args.results)
    output = Path(args.output) if args.output else folder.parent
    experiments = read_results(folder)
    write_text(output / "tables.md", text_of(experiments, folder))
    write_text(output / "tables.csv", csv_of(experiments))
    plot_curves(experiments, output / "best_of_n.png")
    print(f"{len(experiments)} experiments: {output / 'tables.md'}, tables.csv, best_of_n.png")
    return 0


if __name__ == "__main__":
    run_script(main)

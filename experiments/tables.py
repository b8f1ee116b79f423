"""Tables and curves from a sweep's reports: ``python experiments/tables.py --results experiments/synthetic/results``.

Writes tables.md, tables.csv and the curves (PNG) beside the results: mean and standard deviation over seeds, with the
budget of every row. For Human3.6M the published numbers follow ours. ``--into README.md`` replaces the text between
``<!-- table: NAME -->`` and ``<!-- end of table -->`` in a Markdown file with the table of that name.
"""

import argparse
import csv
import functools
import io
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # this project's modules before any others

from experiments.claims import MAIN, claims_table
from experiments.results import Experiment, read_results, spread
from utils.errors import DiffPoseError, run_script
from utils.evaluation.published import PUBLISHED
from utils.evaluation.report import EASY_FRAMES, HARD_FRAMES, write_text
from utils.files import written_in_one_step

# Column heading -> (split, row, metric); shares are printed in percent.
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
SHOWN_N = (1, 2, 5, 10, 20, 50, 100, 200)
_BLOCK = re.compile(r"(<!-- table: ([\w ]+) -->\n).*?(<!-- end of table -->)", re.DOTALL)


def markdown(head: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    rows = [head, ["---"] * len(head), *lines]
    return "\n".join(" | ".join(row).join(("| ", " |")) for row in rows)


def experiment_table(experiments: Sequence[Experiment]) -> str:
    """One row per experiment."""
    head = ["experiment", "seeds", "steps x batch", *COLUMNS, "full: calibration error", "full: spread"]
    lines = []
    for experiment in experiments:
        cells = [experiment.short, str(len(experiment.reports)), experiment.budget]
        cells += [spread(experiment.values(*column)) for column in COLUMNS.values()]
        cells += [spread(experiment.calibration_errors("full"), 3), spread(experiment.sharpness("full"))]
        lines.append(cells)
    return markdown(head, lines)


def groups_of(experiments: Sequence[Experiment]) -> dict[str, list[Experiment]]:
    """Folder -> its experiments, each list beginning with the main one."""
    main = [experiment for experiment in experiments if experiment.short == MAIN]
    groups: dict[str, list[Experiment]] = {}
    for experiment in experiments:
        if experiment not in main:
            groups.setdefault(experiment.group, list(main)).append(experiment)
    return groups or {main[0].group: main}


def summary_table(experiments: Sequence[Experiment]) -> str:
    """Best-of-N and mean-pose errors only."""
    head = ["experiment", "full: best of N, MPJPE / PA", "hard: best of N, MPJPE / PA", "mean pose MPJPE, full / hard"]
    lines = []
    for experiment in [member for members in groups_of(experiments).values() for member in members]:
        both = [
            [spread(experiment.values(split, "best", metric)) for metric in ("mpjpe", "pa_mpjpe")]
            for split in ("full", "hard")
        ]
        means = [spread(experiment.values(split, "mean_pose", "mpjpe")) for split in ("full", "hard")]
        line = [experiment.short, *(" / ".join(cells) for cells in (*both, means))]
        if line not in lines:
            lines.append(line)
    return markdown(head, lines)


def best_of_n_table(experiments: Sequence[Experiment]) -> str:
    """MPJPE of the best of the first N hypotheses, mean over seeds."""
    lines = []
    for experiment in experiments:
        for split in ("full", "hard"):
            curve = experiment.curve(split)
            lines.append([experiment.short, split, *(f"{curve[n - 1]:.1f}" for n in SHOWN_N if n <= len(curve))])
    longest = max(len(line) for line in lines) - 2
    return markdown(["experiment", "split", *(f"N = {n}" for n in SHOWN_N[:longest])], lines)


def ambiguity_table(experiments: Sequence[Experiment]) -> str:
    """Errors on the ambiguous frames of the full split and on the others, averaged over frames."""
    head = [
        "experiment",
        "easy: best MPJPE",
        "hard: best MPJPE",
        "easy: mean pose",
        "hard: mean pose",
        "frames, easy / hard",
    ]
    lines = []
    for experiment in experiments:
        parts = [
            spread(experiment.values("full", row, "mpjpe", subset=subset))
            for row in ("best", "mean_pose")
            for subset in (EASY_FRAMES, HARD_FRAMES)
        ]
        subsets = experiment.results("full")[0]["subsets"]
        counts = [str(subsets[name]["num_frames"]) if name in subsets else "0" for name in (EASY_FRAMES, HARD_FRAMES)]
        lines.append([experiment.short, *parts, " / ".join(counts)])
    return markdown(head, lines)


def _main_and_baselines(experiments: Sequence[Experiment]) -> list[Experiment]:
    chosen = (MAIN, "diffpose_argmax_only", "baseline_concat", "baseline_argmax")
    return sorted((e for e in experiments if e.short in chosen), key=lambda e: chosen.index(e.short)) or [*experiments]


TABLES: dict[str, Callable[[Sequence[Experiment]], str]] = {
    "summary": summary_table,
    "claims": claims_table,
    "best of N": lambda experiments: best_of_n_table(_main_and_baselines(experiments)),
    "easy and hard frames": lambda experiments: ambiguity_table(_main_and_baselines(experiments)),
    "protocol": lambda experiments: protocol(experiments),
    "experiments": lambda experiments: "\n\n".join(
        f"**{group}**\n\n{experiment_table(members)}" for group, members in groups_of(experiments).items()
    ),
}


def protocol(experiments: Sequence[Experiment]) -> str:
    """How the numbers were made: data, budget, seeds, hypotheses, averaging."""
    reports = [report for experiment in experiments for report in experiment.reports]
    results = [result for report in reports for result in report["results"]]
    hypotheses = sorted({result["num_hypotheses"] for result in results})
    sources = sorted({result["info"]["source"] for result in results})
    frames = " and ".join(
        f"{split} {experiments[0].results(split)[0]['num_frames']}"
        for split in ("full", "hard")
        if experiments[0].results(split)
    )
    seeds = sorted({seed for experiment in experiments for seed in experiment.seeds})
    budgets = sorted({experiment.budget for experiment in experiments})
    minutes = sum(report["experiment"]["minutes"] for report in reports)
    return (
        f"Mean ± standard deviation over seeds ({', '.join(map(str, seeds))}); best: of "
        f"{', '.join(map(str, hypotheses))} hypotheses (oracle); mm; 17 joints, root-aligned (PA: similarity-aligned). "
        f"full: one test row in {results[0]['info']['stride']}, averaged over actions; hard: every ambiguous row, "
        f"averaged over frames ({frames} frames). Budget of each run: {'; '.join(budgets)} (steps x batch); "
        f"{len(reports)} runs, whose wall times add up to {minutes / 60:.1f} hours. Data: {'; '.join(sources)}."
    )


def text_of(experiments: Sequence[Experiment]) -> str:
    """tables.md."""
    text = []
    for name, make in TABLES.items():
        if name != "summary":
            text += [f"## {name[0].upper() + name[1:]}", "", make(experiments), ""]
    results = [result for experiment in experiments for report in experiment.reports for result in report["results"]]
    if all(result["info"]["is_human36m"] for result in results):
        lines = [[p.method, _pair(p.h36m), _pair(p.hard)] for p in PUBLISHED]
        text += ["## Published", "", markdown(["method", "H36M MPJPE / PA", "H36MA MPJPE / PA"], lines)]
    return "\n".join(text).rstrip() + "\n"


def _pair(values: tuple[float, float] | None) -> str:
    return "-" if values is None else f"{values[0]} / {values[1]}"


def csv_of(experiments: Sequence[Experiment]) -> str:
    """tables.csv: one line per report."""
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
    """Best-of-N MPJPE over N on the full and the hard split, mean over seeds, one curve per experiment."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 4.5), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    for axes, split in zip(figure.subplots(1, 2), ("full", "hard"), strict=True):
        for number, experiment in enumerate(experiments):
            if curve := experiment.curve(split):
                style: dict[str, Any] = {"color": f"C{number % 10}", "linestyle": ("-", "--", ":")[number // 10 % 3]}
                style |= {"color": "black", "linewidth": 2.2} if experiment.short == MAIN else {"linewidth": 1.2}
                axes.plot(range(1, len(curve) + 1), curve, label=experiment.short, **style)
        axes.set(xscale="log", xlabel="N", ylabel="MPJPE of the best of N, mm", title=split)
        axes.set_xticks([n for n in SHOWN_N if n <= len(curve)], [str(n) for n in SHOWN_N if n <= len(curve)])
        axes.minorticks_off()
        axes.grid(color="0.92")
    axes.legend(fontsize=7)
    with written_in_one_step(path) as partial:
        figure.savefig(partial, format="png")


def with_tables(text: str, tables: Mapping[str, Callable[[], str]], path: Path) -> str:
    """A Markdown text with its marked tables replaced. Raises DiffPoseError for an unknown table, or if none is."""

    def block(match: re.Match) -> str:
        if match[2] not in tables:
            raise DiffPoseError(f"{path}: no table '{match[2]}': they are {', '.join(tables)}")
        return f"{match[1]}{tables[match[2]]()}\n{match[3]}"

    made, number = _BLOCK.subn(block, text)
    if not number:
        raise DiffPoseError(f"{path}: has no '<!-- table: NAME -->' ... '<!-- end of table -->' to put a table in")
    if not number == text.count("<!-- table:") == text.count("<!-- end of table -->"):
        raise DiffPoseError(f"{path}: each '<!-- table: NAME -->' needs an '<!-- end of table -->' of its own")
    return made


def fill_tables(path: Path, tables: Mapping[str, Callable[[], str]]) -> None:
    """Replace the marked tables of a Markdown file. Raises DiffPoseError when it can't be read or has none."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise DiffPoseError(f"{path}: --into names Markdown files that are there ({error})") from None
    write_text(path, with_tables(text, tables, path))


def tables_of(experiments: Sequence[Experiment]) -> dict[str, Callable[[], str]]:
    """The tables of a sweep's reports by name, made when asked for."""
    return {name: functools.partial(make, experiments) for name, make in TABLES.items()}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--results", required=True, help="folder of experiments/sweep.py's reports")
    parser.add_argument("--output", help="folder of the tables (default: the results' parent)")
    parser.add_argument("--into", nargs="+", default=[], metavar="FILE.md", help="Markdown files with marked tables")
    args = parser.parse_args()
    folder = Path(args.results)
    output = Path(args.output) if args.output else folder.parent
    experiments = read_results(folder)
    write_text(output / "tables.md", text_of(experiments))
    write_text(output / "tables.csv", csv_of(experiments))
    plot_curves(experiments, output / "best_of_n.png")
    for path in map(Path, args.into):
        fill_tables(path, tables_of(experiments))
    print(f"{len(experiments)} experiments: {output / 'tables.md'}, tables.csv, best_of_n.png {' '.join(args.into)}")
    return 0


if __name__ == "__main__":
    run_script(main)

"""The paper's claims, judged: ``python experiments/claims_report.py --results experiments/synthetic/claims``.

Reads the files of ``experiments/sweep.py --frame_errors`` and compares runs on the same frames and seeds
(experiments/paired.py). ``--into docs/claims.md`` replaces the marked tables there; ``--pictures docs/images`` draws
the gain over the frames' ambiguity, the best of N and, of the logs in ``--curves``, the learning curves.
"""

import argparse
import functools
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # this project's modules before any others

from experiments.claims import CLAIMS, MAIN, OBJECTIVE_CLAIMS, Claim
from experiments.claims_pictures import plot_best_of_n, plot_gain, plot_learning
from experiments.frame_errors import BEST_OF, SHOWN_METRICS
from experiments.frontier_output import joined_table, read_frontiers, wrapped
from experiments.paired import (
    CALIBRATION,
    Difference,
    Evaluated,
    Frames,
    Intervals,
    Trained,
    difference,
    gain_curve,
    read_runs,
    seed_scores,
)
from experiments.results import spread
from experiments.tables import fill_tables, markdown
from utils.errors import DiffPoseError, run_script

AVERAGED, RAW, PUBLISHED = "ema", "raw", "ema/published"
SEEDS = 3
ARGMAX = "diffpose_argmax_only"
DRAWN = (MAIN, ARGMAX, "baseline_concat", "baseline_argmax", "diffpose_no_transformer")
# Of the kernel that averages gains over the logarithm of the ambiguity.
KERNEL_WIDTH = 0.05
# Heading -> (split, score, digits). The first is what a claim is judged by.
JUDGED = {
    "hard: best of 200": ("hard", "best_200_mpjpe", 1),
    "hard: best of 200, PA": ("hard", "best_200_pa_mpjpe", 1),
    "hard: mean pose": ("hard", "mean_pose_mpjpe", 1),
    "hard: energy score": ("hard", "energy", 1),
    "full: best of 200": ("full", "best_200_mpjpe", 1),
    "full: mean pose": ("full", "mean_pose_mpjpe", 1),
    "full: calibration error": ("full", CALIBRATION, 3),
}
SHOWN = {
    f"{split}: {heading}": (split, name, digits)
    for split in ("full", "hard")
    for heading, name, digits in (
        ("best of 200", "best_200_mpjpe", 1),
        ("PA", "best_200_pa_mpjpe", 1),
        ("mean pose", "mean_pose_mpjpe", 1),
        ("zero noise", "zero_noise_mpjpe", 1),
        ("energy score", "energy", 1),
        ("calibration error", CALIBRATION, 3),
    )
}
FEW_STEPS = {
    f"{split}: {heading}": (split, name, digits)
    for split in ("full", "hard")
    for heading, name, digits in (
        ("best of 200", "best_200_mpjpe", 1),
        ("calibration error", CALIBRATION, 3),
        ("energy score", "energy", 2),
    )
}


# --- tables


class Report:
    """The tables of the runs below a folder, and of the frontiers that were drawn on validation frames before them."""

    def __init__(self, frames: Frames, runs: dict[str, Trained], folders: Mapping[str, Path] = MappingProxyType({})):
        self.frames, self.runs, self.folders = frames, runs, folders

    def pair(self, worse: str, better: str) -> tuple[Evaluated, Evaluated] | None:
        """The averaged weights of two configurations, of the seeds that both have; None if they share none."""
        runs = [self.runs[name] for name in (worse, better) if name in self.runs]
        seeds = [seed for seed in runs[0].seeds if seed in runs[1].seeds] if len(runs) == 2 else []
        return (runs[0].of_seeds(seeds, AVERAGED), runs[1].of_seeds(seeds, AVERAGED)) if seeds else None

    def claims(self, claims: Sequence[Claim] = CLAIMS) -> str:
        """By how much each claim's better side is better, with intervals and verdicts."""
        head = ["claim", "verdict", *JUDGED, "the seeds, hard: best of 200"]
        lines, waiting = [], []
        for claim in claims:
            pair = self.pair(claim.worse, claim.better)
            done = len(pair[0].closer) if pair else 0
            if pair is None or done < SEEDS:
                waiting.append(f"{claim.text} ({done} of {SEEDS} seeds)")
                continue
            found = [
                (difference(*pair, name, self.frames, self.frames.split(split)), digits)
                for split, name, digits in JUDGED.values()
            ]
            first = found[0][0]
            seeds = ", ".join(f"{value:+.1f}" for value in first.by_seed)
            lines.append([claim.text, f"**{first.verdict}**", *(cell(*entry) for entry in found), seeds])
        parts = [markdown(head, lines)] if lines else []
        parts += [wrapped(f"Not run yet: {'; '.join(waiting)}.")] if waiting else []
        return "\n\n".join(parts)

    def experiments(self, evaluation: str) -> str:
        """The numbers of every run themselves: mean over frames and seeds, and the seeds' standard deviation."""
        head = ["experiment", "seeds", *SHOWN]
        lines = []
        for run in self.ordered():
            if evaluation not in run.evaluations:
                continue
            found = run.evaluations[evaluation]
            cells = [
                spread(self.values(found, name, self.frames.split(split)).tolist(), digits)
                for split, name, digits in SHOWN.values()
            ]
            lines.append([run.name, str(len(run.seeds)), *cells])
        return markdown(head, lines)

    def few_steps(self) -> str:
        """Every way to sample beside the published chain on the same weights; negative is better."""
        head = ["weights of", "sampler, network calls", *FEW_STEPS]
        lines = []
        for run in self.ordered():
            if PUBLISHED not in run.evaluations:
                continue
            chain = run.evaluations[PUBLISHED]
            others = [key for key in run.evaluations if key.startswith(AVERAGED) and key != PUBLISHED]
            for key in (PUBLISHED, *others):
                found = run.evaluations[key]
                cells = []
                for split, name, digits in FEW_STEPS.values():
                    chosen = self.frames.split(split)
                    value = f"{self.values(found, name, chosen).mean():.{digits}f}"
                    if key != PUBLISHED:
                        value += f" ({cell(difference(found, chain, name, self.frames, chosen), digits)})"
                    cells.append(value)
                lines.append([run.name, f"{found.sampler}, {found.steps}", *cells])
        return markdown(head, lines)

    def best_of_n(self) -> str:
        """The error of the best of 1, 10, 50 and 200."""
        lines, numbers = [], best_of(next(iter(self.runs.values())).evaluations[AVERAGED])
        for run in self.ordered():
            for split in ("full", "hard"):
                found, chosen = run.evaluations[AVERAGED], self.frames.split(split)
                values = [self.values(found, f"best_{n}_mpjpe", chosen).mean() for n in numbers]
                lines.append([run.name, split, *(f"{value:.1f}" for value in values)])
        return markdown(["experiment", "split", *(f"N = {n}" for n in numbers)], lines)

    def protocol(self) -> str:
        """How many frames and motions, runs and hours."""
        frames, runs = self.frames, list(self.runs.values())
        motions = {split: len(np.unique(frames.motion[frames.split(split)])) for split in ("full", "hard")}
        count = sum(len(run.seeds) for run in runs)
        budgets = sorted({f"{run.steps:,} x {run.batch}" for run in runs})
        return wrapped(
            f"{count} runs of {'; '.join(budgets)} (steps x batch), whose wall times add up to "
            f"{sum(run.minutes for run in runs) / 60:.1f} hours of one core. full: one test row in {frames.stride}, "
            f"{frames.full.sum()} frames of {motions['full']} motions; hard: all {frames.hard.sum()} ambiguous, of "
            f"{motions['hard']} motions. mm, averaged over frames, averaged weights. Data: {frames.source}."
        )

    def tables(self) -> dict[str, Callable[[], str]]:
        """Name -> what makes the table, once."""
        made: dict[str, Callable[[], str]] = {
            "judged claims": self.claims,
            "objectives": functools.partial(self.claims, OBJECTIVE_CLAIMS),
            "runs": functools.partial(self.experiments, AVERAGED),
            "runs with raw weights": functools.partial(self.experiments, RAW),
            "few steps": self.few_steps,
            "best of 200": self.best_of_n,
            "runs so far": self.protocol,
        }
        for name in ("rates", "frontiers"):
            made[name] = functools.partial(self.frontiers, name)
        return {name: functools.cache(make) for name, make in made.items()}

    def frontiers(self, name: str) -> str:
        """All settings of the frontiers in a folder. Raises DiffPoseError when it was not named."""
        if name not in self.folders:
            raise DiffPoseError(f"--{name}: name the folder of the frontier.json that the table '{name}' is made of")
        return joined_table(read_frontiers(self.folders[name]))

    def ordered(self) -> Iterable[Trained]:
        """The runs, the main one first."""
        return sorted(self.runs.values(), key=lambda run: (run.name != MAIN, run.name))

    def values(self, found: Evaluated, name: str, chosen: np.ndarray) -> np.ndarray:
        """Each seed's score on the chosen frames, (S,)."""
        return seed_scores(found, name, self.frames, chosen)

    # --- what the pictures show

    def curves(self) -> dict[str, dict[str, tuple[list[int], np.ndarray]]]:
        """Split -> main variant -> N and the errors of the best of N, (S, N)."""
        curves: dict[str, dict[str, tuple[list[int], np.ndarray]]] = {}
        for split in ("full", "hard"):
            chosen, shown = self.frames.split(split), {}
            for name in (name for name in DRAWN if name in self.runs):
                found = self.runs[name].evaluations[AVERAGED]
                numbers = best_of(found)
                shown[name] = (
                    numbers,
                    np.stack([self.values(found, f"best_{n}_mpjpe", chosen) for n in numbers], axis=1),
                )
            curves[split] = shown
        return curves

    def gains(self) -> tuple[np.ndarray, dict[str, Intervals]] | None:
        """Ambiguities (G,), and the gain of the main model over the argmax alone there: what -> value, low, high.

        None while the two share no seed.
        """
        pair = self.pair(ARGMAX, MAIN)
        if pair is None:
            return None
        low, high = np.percentile(self.frames.ambiguity, (2, 98))
        at = np.geomspace(low, high, 60)
        worse, better = (evaluated.errors for evaluated in pair)
        names = {"best of 200": "best_200_mpjpe", "mean pose": "mean_pose_mpjpe"}
        return at, {
            title: gain_curve(worse[name] - better[name], self.frames, at, width=KERNEL_WIDTH)
            for title, name in names.items()
        }


def best_of(found: Evaluated) -> list[int]:
    """The N whose best is known."""
    return sorted(int(name.split("_")[1]) for name in found.errors if name.startswith("best_") and "_pa_" not in name)


def cell(found: Difference, digits: int) -> str:
    """'+1.2 [0.3, 2.1]'."""
    return f"{found.size:+.{digits}f} [{found.low:.{digits}f}, {found.high:.{digits}f}]"


def check_complete(folder: str, frames: Frames, runs: Mapping[str, Trained]) -> None:
    """DiffPoseError when the runs lack what every table needs."""
    for split in ("full", "hard"):
        if len(np.unique(frames.motion[frames.split(split)])) < 2:
            raise DiffPoseError(f"{folder}: the {split} split needs frames of two motions at least for an interval")
    if not (frames.ambiguity > 0).all():
        raise DiffPoseError(f"{folder}: a frame's ambiguity is 0: its heatmaps have no width")
    for run in runs.values():
        if AVERAGED not in run.evaluations:
            raise DiffPoseError(f"{folder}: {run.name} lacks the evaluation '{AVERAGED}': run the sweep with it")
        for name, evaluated in run.evaluations.items():
            needed = [f"best_{number}_{metric}" for metric in SHOWN_METRICS for number in BEST_OF]
            if missing := [error for error in needed if error not in evaluated.errors]:
                raise DiffPoseError(
                    f"{folder}: {run.name}, {name}: no {missing[0]} of {evaluated.hypotheses} hypotheses, "
                    f"{BEST_OF[-1]} are needed (TEST.NUM_HYPO)"
                )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--results", required=True, help="folder of what sweep.py --frame_errors wrote")
    parser.add_argument("--rates", help="folder of frontier.py's files, one for each objective and rate")
    parser.add_argument("--frontiers", help="the same, one for each objective")
    parser.add_argument("--into", nargs="+", default=[], metavar="FILE.md", help="Markdown files with marked tables")
    parser.add_argument("--pictures", help="folder for ambiguity_gain.png, best_of_n.png and learning_curves.png")
    parser.add_argument("--curves", nargs="+", default=[], metavar="LOG.jsonl", help="validation logs of runs")
    args = parser.parse_args()
    for given, needed in ((args.rates or args.frontiers, "into"), (args.curves, "pictures")):
        if given and not getattr(args, needed):
            raise DiffPoseError(f"--{needed}: name where to put what --rates, --frontiers and --curves hold")
    frames, runs = read_runs(Path(args.results))
    check_complete(args.results, frames, runs)
    folders = {"rates": args.rates, "frontiers": args.frontiers}
    report = Report(frames, runs, {name: Path(folder) for name, folder in folders.items() if folder})
    tables = report.tables()
    for path in map(Path, args.into):
        fill_tables(path, tables)
    if args.pictures:
        folder = Path(args.pictures)
        plot_best_of_n(folder / "best_of_n.png", report.curves())
        if gains := report.gains():
            plot_gain(folder / "ambiguity_gain.png", *gains, frames.ambiguity)
        if args.curves:
            plot_learning(folder / "learning_curves.png", [Path(path) for path in args.curves])
    for name in ("runs so far", "judged claims", "objectives"):
        print(f"{tables[name]()}\n")
    return 0


if __name__ == "__main__":
    run_script(main)

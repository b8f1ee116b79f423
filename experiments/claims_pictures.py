"""The pictures of experiments/claims_report.py. Each carries the numbers that it shows as a PNG comment, in JSON."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from utils.errors import DiffPoseError
from utils.files import written_in_one_step

# As in experiments/frontier_output.py: told apart by the colour-blind too.
COLOURS = ("#000000", "#d55e00", "#0072b2", "#009e73", "#cc79a7", "#e69f00")


def _figure(columns: int, width: float):
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, 3.8), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(1, columns, squeeze=False)[0]
    for one in axes:
        one.grid(color="0.92")
    return figure, axes


def _save(figure, path: Path, numbers: Mapping[str, Any]) -> None:
    with written_in_one_step(path) as partial:
        figure.savefig(partial, format="png", metadata={"Comment": json.dumps(numbers)})


def _listed(values: np.ndarray | Sequence[float]) -> list:
    return np.round(np.asarray(values, np.float64), 2).tolist()


def plot_best_of_n(path: Path, curves: Mapping[str, Mapping[str, tuple[Sequence[int], np.ndarray]]]) -> None:
    """Error of the best of N over N: split -> experiment -> N and errors (S, N); thin lines are single seeds."""
    figure, axes = _figure(len(curves), 9)
    for one, (split, experiments) in zip(axes, curves.items(), strict=True):
        for colour, (name, (numbers, errors)) in zip(COLOURS, experiments.items(), strict=False):
            one.plot(numbers, errors.T, color=colour, linewidth=0.6, alpha=0.5)
            one.plot(numbers, errors.mean(0), color=colour, linewidth=2, marker="o", markersize=4, label=name)
        one.set(xscale="log", xlabel="N", ylabel="MPJPE of the best of N, mm", title=split)
        one.set_xticks(list(numbers), [str(number) for number in numbers])
        one.minorticks_off()
    axes[0].legend(fontsize=8)
    shown = {
        split: {name: _listed(errors) for name, (_, errors) in experiments.items()}
        for split, experiments in curves.items()
    }
    _save(figure, path, shown)


def plot_gain(
    path: Path, at: np.ndarray, gains: Mapping[str, tuple[np.ndarray, np.ndarray, np.ndarray]], frames: np.ndarray
) -> None:
    """Gain over ambiguity ``at`` (G,): name -> value, low and high (G,). ``frames`` (F,): where the frames lie."""
    figure, (axes,) = _figure(1, 6.5)
    for colour, (name, (value, low, high)) in zip(COLOURS[1:], gains.items(), strict=False):
        axes.fill_between(at, low, high, color=colour, alpha=0.2, linewidth=0)
        axes.plot(at, value, color=colour, linewidth=2, label=name)
    axes.axhline(0, color="0.3", linewidth=0.8)
    axes.plot(frames, np.full(len(frames), axes.get_ylim()[0]), "|", color="0.5", markersize=6, clip_on=False)
    axes.set(xscale="log", xlabel="ambiguity of the frame: mean spread of its heatmaps, cells")
    axes.set_ylabel("gain over the argmax alone, mm")
    ticks = [tick for tick in (1, 1.25, 1.5, 1.75, 2, 2.25, 2.5, 2.75, 3, 3.5, 4, 5, 6, 8) if at[0] <= tick <= at[-1]]
    axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    axes.minorticks_off()
    axes.legend(fontsize=8)
    _save(figure, path, {name: [_listed(part) for part in curves] for name, curves in gains.items()})


def plot_learning(path: Path, logs: Sequence[Path]) -> None:
    """Validation errors over training steps, of each log.jsonl: best of N, and the mean over hypotheses."""
    figure, axes = _figure(2, 9)
    shown = {log.parent.name if log.stem == "log" else log.stem: learning_curve(log) for log in logs}
    for colour, (name, (steps, best, mean)) in zip(COLOURS, shown.items(), strict=False):
        for one, values in zip(axes, (best, mean), strict=True):
            one.plot(steps, values, color=colour, linewidth=1.8, marker="o", markersize=3, label=name)
    for one, title in zip(axes, ("best of 20", "mean over hypotheses"), strict=True):
        one.set(xlabel="steps of 64", ylabel="MPJPE on validation frames, mm", title=title)
    axes[0].legend(fontsize=8)
    _save(figure, path, {name: [_listed(values) for values in curve] for name, curve in shown.items()})


def learning_curve(log: Path) -> tuple[list[int], list[float], list[float]]:
    """Steps, best and mean MPJPE of the validations in a run's log. Raises DiffPoseError when there is none."""
    try:
        entries = [json.loads(line) for line in log.read_text().splitlines() if "validation/" in line]
        found = [(e["step"], e["validation/best_mpjpe"], e["validation/mean_mpjpe"]) for e in entries]
    except (OSError, ValueError, KeyError, TypeError):
        found = []
    if not found:
        raise DiffPoseError(f"{log}: not a log.jsonl with validations: train with TRAIN.VALIDATE_EVERY")
    steps, best, mean = zip(*found, strict=True)
    return list(steps), list(best), list(mean)

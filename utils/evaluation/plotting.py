"""Pictures as PNG files; matplotlib is imported where it is used and never needs a display.

Poses are in mm, root-centred, evaluation frame (x right, y up, z towards the camera).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from utils.evaluation import SplitResult
from utils.files import written_in_one_step
from utils.skeleton import MPII_JOINTS, Skeleton

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

RIGHT_COLOUR, LEFT_COLOUR, MIDDLE_COLOUR, TRUTH_COLOUR = "#d55e00", "#0072b2", "#8a8a8a", "black"
SPLIT_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7")
AXIS_COLOURS = ("#56b4e9", "#009e73", "#e69f00")
DOTS_PER_INCH = 120


@dataclass(frozen=True)
class PictureSample:
    """One frame to draw: ``hypotheses_mm`` (H, J, 3), ``gt_mm`` (J, 3), optionally its ``heatmap`` (16, 64, 64).

    Contact sheets also take frames without hypotheses.
    """

    title: str
    hypotheses_mm: np.ndarray | None
    gt_mm: np.ndarray | None
    heatmap: np.ndarray | None = None


def new_figure(width: float, height: float) -> "Figure":
    """An empty figure of so many inches that needs no display."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=DOTS_PER_INCH, layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def save_figure(figure: "Figure", path: str | Path) -> Path:
    """Write a PNG file, whole or not at all."""
    with written_in_one_step(path) as partial:
        figure.savefig(partial, format="png")
    return Path(path)


def _limb_colour(bone: tuple[int, int], skeleton: Skeleton) -> str:
    if bone[1] in skeleton.right:
        return RIGHT_COLOUR
    return LEFT_COLOUR if bone[1] in skeleton.left else MIDDLE_COLOUR


def _draw_poses(
    axes: "Axes", poses: np.ndarray, skeleton: Skeleton, *, colour: str | None, alpha: float, width: float
) -> None:
    """Draw poses (P, J, 2) as bones, all in one line collection."""
    from matplotlib.collections import LineCollection

    segments = np.stack([poses[:, list(bone)] for bone in skeleton.bones], axis=1)  # (P, bones, 2, 2)
    colours = [colour or _limb_colour(bone, skeleton) for bone in skeleton.bones] * len(poses)
    lines = LineCollection(
        list(segments.reshape(-1, 2, 2)), colors=colours, alpha=alpha, linewidths=width, capstyle="round"
    )
    axes.add_collection(lines)


def _chosen(hypotheses: np.ndarray, most: int) -> np.ndarray:
    """At most ``most`` hypotheses, evenly spaced in their order."""
    return hypotheses[np.linspace(0, len(hypotheses) - 1, min(most, len(hypotheses))).round().astype(int)]


def _draw_view(axes: "Axes", sample: PictureSample, skeleton: Skeleton, view: tuple[int, int], most: int) -> None:
    hypotheses = _chosen(np.asarray(sample.hypotheses_mm), most)[..., list(view)]
    _draw_poses(axes, hypotheses, skeleton, colour=None, alpha=min(0.8, 0.15 + 2.5 / len(hypotheses)), width=1.0)
    extent = hypotheses.reshape(-1, 2)
    if sample.gt_mm is not None:
        truth = np.asarray(sample.gt_mm)[None][..., list(view)]
        _draw_poses(axes, truth, skeleton, colour=TRUTH_COLOUR, alpha=1.0, width=2.2)
        extent = np.concatenate((extent, truth[0]))
    centre = (extent.max(0) + extent.min(0)) / 2
    half = np.ptp(extent, axis=0).max() * 0.55 + 1
    axes.set_xlim(centre[0] - half, centre[0] + half)
    axes.set_ylim(centre[1] - half, centre[1] + half)
    axes.set_aspect("equal")
    axes.grid(color="0.92")
    axes.set_axisbelow(True)


def plot_hypotheses(
    path: str | Path, samples: Sequence[PictureSample], skeleton: Skeleton, *, max_hypotheses: int = 40
) -> Path:
    """One row per frame: summed heatmaps (where given), front and side view of hypotheses against the truth.

    Limbs of hypotheses are coloured by side; the truth is black. Raises ValueError without samples, DiffPoseError if
    the file can't be written.
    """
    from matplotlib.lines import Line2D

    if not samples:
        raise ValueError("no sample to draw")
    with_heatmap = any(sample.heatmap is not None for sample in samples)
    columns = 2 + int(with_heatmap)
    figure = new_figure(3.5 * columns, 3.5 * len(samples) + 0.5)
    grid = figure.subplots(len(samples), columns, squeeze=False)
    for row, (sample, axes) in enumerate(zip(samples, grid, strict=True)):
        front, side = axes[-2:]
        if with_heatmap:
            axes[0].axis("off")
            axes[0].set_title(sample.title, fontsize=9)
        if sample.heatmap is not None:
            summed = np.clip(np.asarray(sample.heatmap, dtype=np.float32), 0, None).sum(0)
            axes[0].imshow(summed, cmap="magma")
        else:
            front.set_title(sample.title, fontsize=9)
        _draw_view(front, sample, skeleton, (0, 1), max_hypotheses)
        _draw_view(side, sample, skeleton, (2, 1), max_hypotheses)
        front.set_ylabel("y, up (mm)")
        if row == 0:
            side.set_title("side view", fontsize=9)
            if with_heatmap and sample.heatmap is not None:
                front.set_title("front view", fontsize=9)
        front.set_xlabel("x, right in the picture (mm)")
        side.set_xlabel("z, towards the camera (mm)")
    handles = [Line2D([], [], color=RIGHT_COLOUR, label="right"), Line2D([], [], color=LEFT_COLOUR, label="left")]
    if any(sample.gt_mm is not None for sample in samples):
        handles.append(Line2D([], [], color=TRUTH_COLOUR, linewidth=2.2, label="truth"))
    figure.legend(handles=handles, loc="outside lower center", ncols=3, frameon=False)
    return save_figure(figure, path)


def plot_contact_sheet(
    path: str | Path, samples: Sequence[PictureSample], skeleton: Skeleton, *, max_hypotheses: int = 30
) -> Path:
    """Many frames on one page: each one's heatmaps and, where there are hypotheses, these from in front and the side.

    Every map is shown relative to its own peak, which is marked. Raises ValueError without samples, DiffPoseError if
    the file can't be written.
    """
    if not samples:
        raise ValueError("no sample to draw")
    panels = 1 if all(sample.hypotheses_mm is None for sample in samples) else 3
    across = min(len(samples), 8 if panels == 1 else 3)
    down = -(-len(samples) // across)
    figure = new_figure(1.5 * panels * across, 1.95 * down)
    grid = figure.subplots(down, panels * across, squeeze=False)
    for axes in grid.flat:
        axes.axis("off")
    for place, sample in enumerate(samples):
        row, column = divmod(place, across)
        own = grid[row, panels * column : panels * (column + 1)]
        own[0].set_title(sample.title, fontsize=6, loc="left")
        if sample.heatmap is not None:
            _draw_maps(own[0], np.asarray(sample.heatmap, np.float32))
        for axes, view in zip(own[1:], ((0, 1), (2, 1)), strict=True) if sample.hypotheses_mm is not None else ():
            axes.axis("on")
            _draw_view(axes, sample, skeleton, view, max_hypotheses)
            axes.tick_params(length=0, labelbottom=False, labelleft=False)
    return save_figure(figure, path)


def _draw_maps(axes: "Axes", heatmaps: np.ndarray) -> None:
    """Heatmaps (16, 64, 64) in one picture, each over its peak, which is a dot in the colour of its side."""
    peak = heatmaps.max(axis=(1, 2))
    axes.imshow((np.clip(heatmaps, 0, None) / np.maximum(peak, 1e-6)[:, None, None]).max(axis=0), cmap="magma")
    rows, columns = np.divmod(heatmaps.reshape(len(heatmaps), -1).argmax(axis=1), heatmaps.shape[2])
    sides = {"R": RIGHT_COLOUR, "L": LEFT_COLOUR}
    colours = [sides.get(name[0], MIDDLE_COLOUR) for name in MPII_JOINTS]
    axes.scatter(columns, rows, s=9, c=colours, edgecolors="white", linewidths=0.4)


def plot_best_of_n(path: str | Path, results: Sequence[SplitResult]) -> Path:
    """Error of the best of the first N hypotheses over N: MPJPE and PA-MPJPE, one colour per split."""
    figure = new_figure(8.5, 3.8)
    panels = figure.subplots(1, 2)
    for axes, (key, label) in zip(panels, (("mpjpe", "MPJPE"), ("pa_mpjpe", "PA-MPJPE")), strict=True):
        for i, result in enumerate(results):
            curve, colour = result.best_of_n[key], SPLIT_COLOURS[i % len(SPLIT_COLOURS)]
            axes.plot(range(1, len(curve) + 1), curve, color=colour, label=f"{result.info.split}: best of N (oracle)")
            if "mean_pose" in result.rows:
                axes.axhline(
                    result.rows["mean_pose"][key],
                    color=colour,
                    linestyle="--",
                    linewidth=1,
                    label=f"{result.info.split}: mean pose (usable)",
                )
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter("{x:.0f}")
        axes.set_xlabel("number of hypotheses N")
        axes.set_ylabel(f"{label} (mm)")
        axes.set_ylim(bottom=0)
        axes.grid(color="0.9", which="both")
    panels[0].legend(fontsize=8)
    return save_figure(figure, path)


def plot_calibration(path: str | Path, results: Sequence[SplitResult]) -> Path | None:
    """Reliability curves: the share of frames whose truth lies within each nominal level; None if there are none."""
    curves = [(result, result.calibration) for result in results if result.calibration is not None]
    if not curves:
        return None
    figure = new_figure(4.6, 4.6)
    axes = figure.subplots()
    lines = []
    for i, (result, calibration) in enumerate(curves):
        levels, per_joint = np.array(calibration.levels), 100 * np.array(calibration.observed_per_joint)
        colour = SPLIT_COLOURS[i % len(SPLIT_COLOURS)]
        axes.fill_between(100 * levels, per_joint.min(0), per_joint.max(0), color=colour, alpha=0.12, linewidth=0)
        label = f"{result.info.split}: error {calibration.error:.3f}, spread {result.sharpness_mm:.0f} mm"
        lines.append((label, levels, np.array(calibration.observed)))
    plot_reliability(axes, lines)
    axes.set_title("mean over joints; band: lowest to highest joint", fontsize=9)
    return save_figure(figure, path)


def plot_reliability(axes: "Axes", curves: Sequence[tuple[str, np.ndarray, np.ndarray]]) -> None:
    """Curves (label, nominal levels (L,), observed shares (L,)), both 0 to 1, beside the diagonal of the ideal."""
    axes.plot([0, 100], [0, 100], color="0.6", linestyle="--", linewidth=1, label="ideal")
    for i, (label, levels, observed) in enumerate(curves):
        colour = SPLIT_COLOURS[i % len(SPLIT_COLOURS)]
        axes.plot(100 * levels, 100 * observed, color=colour, marker="o", markersize=3, label=label)
    axes.set(xlim=(0, 100), ylim=(0, 100), aspect="equal")
    axes.set_xlabel("nominal level (% of hypotheses)")
    axes.set_ylabel("truth within (% of frames)")
    axes.grid(color="0.9")
    axes.legend(fontsize=8, loc="upper left")


def plot_spread(path: str | Path, result: SplitResult) -> Path | None:
    """Standard deviation of the hypotheses per joint and axis, mean over frames; None for a single hypothesis."""
    if result.spread_mm is None or result.calibration is None:
        return None
    joints = result.calibration.joints  # without a root, which is zero by definition
    spread = np.array(result.spread_mm)[-len(joints) :]
    figure = new_figure(9, 3.6)
    axes = figure.subplots()
    places = np.arange(len(spread))
    for axis, label in enumerate(("x (right)", "y (up)", "z (depth)")):
        axes.bar(places + 0.27 * (axis - 1), spread[:, axis], width=0.27, color=AXIS_COLOURS[axis], label=label)
    axes.set_xticks(places, joints, rotation=45, ha="right")
    axes.set_ylabel("standard deviation (mm)")
    axes.set_title(f"spread of {result.num_hypotheses} hypotheses, split '{result.info.split}'", fontsize=9)
    axes.grid(axis="y", color="0.9")
    axes.set_axisbelow(True)
    axes.legend(fontsize=8)
    return save_figure(figure, path)

"""The most uncertain frames of a file or a run: ``python experiments/uncertain.py FILE --picture sheet.png``.

FILE is a data file, whose frames are ranked by the width of their heatmaps, or what ``eval.py --save_predictions``
wrote (or the folder it is in): then by the spread of the hypotheses, or with ``--by error`` by how far the consensus is
from the truth. Prints a table, the most uncertain first, and draws its frames in one contact sheet.
"""

import argparse
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np
import torch
from tqdm import tqdm

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # this project's modules before any others

from data.ambiguity import heatmap_spread
from data.hdf5.split_file import SplitFile
from data.pose_items import truth_mm
from data.preprocessing.validation.sample import file_facts
from data.schema import SPLITS, TRUTH_COLUMN
from utils.errors import DiffPoseError, run_script
from utils.evaluation.consensus import consensus_pose, joint_spread
from utils.evaluation.metrics import joint_distances
from utils.evaluation.plotting import PictureSample, plot_contact_sheet
from utils.evaluation.predictions import GROUP, PredictionFile
from utils.hdf5_files import reading
from utils.skeleton import MPII_JOINTS, skeleton_for

UNITS = {"width": "cells", "spread": "mm", "error": "mm"}
SEQUENCE = ("subject", "action", "subaction", "cam")
_ROWS_AT_ONCE = 64


@dataclass(frozen=True)
class Ranking:
    """``rows`` (N,) of the split and ``values`` (N, J) of their joints, in ``unit``, in the order of the file."""

    rows: np.ndarray
    values: np.ndarray
    joints: tuple[str, ...]
    unit: str

    @property
    def totals(self) -> np.ndarray:
        """(N,) what frames are ranked by: the mean over the joints."""
        return self.values.mean(axis=1)


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "file", type=Path, help="data file, file of predictions, or the folder with predictions_full.h5"
    )
    parser.add_argument("--by", choices=UNITS, help="default: width for a data file, spread for predictions")
    parser.add_argument("--data", type=Path, help="the data file of the predictions (default: the one they name)")
    parser.add_argument("--split", choices=SPLITS, default="test", help="of a data file")
    parser.add_argument("--stride", type=int, default=1, help="of a data file, look at every so many rows")
    parser.add_argument("--count", type=int, default=12, help="frames to list and to draw")
    parser.add_argument("--each_sequence_once", action="store_true", help="of each sequence the most uncertain frame")
    parser.add_argument("--picture", type=Path, help="the contact sheet, a PNG file")
    args = parser.parse_args()
    if args.count < 1 or args.stride < 1:
        raise DiffPoseError("--count and --stride must be at least 1")
    return args


def holds_predictions(path: Path) -> bool:
    """Whether a file is one of predictions. Raises DiffPoseError where it can't be read."""
    if not path.is_file():
        raise DiffPoseError(f"{path}: no such file: give a data file, or what eval.py --save_predictions wrote")
    with reading(path, "the file"), h5py.File(path, "r", locking=False) as file:
        return GROUP in file


def open_split(path: Path, split: str) -> SplitFile:
    """A split of a data file, whichever dataset it is of. Raises DiffPoseError."""
    return SplitFile(path, dataset=file_facts(path, None).dataset, split=split)


def rank_by_width(split: SplitFile, stride: int) -> Ranking:
    """Every ``stride``-th row by the width of the Gaussians fitted to its heatmaps, in cells."""
    rows = np.arange(0, split.num_rows, stride)
    parts = np.array_split(rows, max(1, -(-len(rows) // _ROWS_AT_ONCE)))
    widths = [heatmap_spread(split.read_heatmaps(part)) for part in tqdm(parts, unit="block", desc="heatmaps")]
    return Ranking(rows, np.concatenate(widths), MPII_JOINTS, UNITS["width"])


def rank_by_hypotheses(predictions: PredictionFile, split: SplitFile, rule: str) -> Ranking:
    """The frames of a file of predictions by ``spread`` of hypotheses or ``error`` of their consensus, in mm."""
    rows, values = [], []
    for batch in batches(predictions, split, predictions.rows):
        hypotheses = torch.from_numpy(batch["hypotheses_mm"])
        rows.append(batch["row"])
        if rule == "spread":
            values.append(joint_spread(hypotheses).numpy())
        else:
            values.append(joint_distances(consensus_pose(hypotheses), torch.from_numpy(batch["gt_mm"])).numpy())
    return Ranking(np.concatenate(rows), np.concatenate(values), skeleton_for(split.dataset).joints, UNITS[rule])


def batches(predictions: PredictionFile, split: SplitFile, rows: np.ndarray) -> Iterator[dict[str, np.ndarray]]:
    """Hypotheses and the data file's truth of some rows."""
    truth = truth_mm(split.read(TRUTH_COLUMN[split.dataset], rows), split.dataset)
    return predictions.batches(rows=rows, gt_mm=truth)


def most_uncertain(ranking: Ranking, split: SplitFile, count: int, *, each_sequence_once: bool = False) -> np.ndarray:
    """Places (count,) in the ranking, the most uncertain frame first; equal ones in the order of the file."""
    order = np.argsort(-ranking.totals, kind="stable")
    if each_sequence_once:
        names = list(zip(*(split.meta[name][ranking.rows[order]].tolist() for name in SEQUENCE), strict=True))
        first = dict(zip(reversed(names), reversed(order.tolist()), strict=True))
        order = order[np.isin(order, list(first.values()))]
    return order[:count]


def lines_of(ranking: Ranking, split: SplitFile, places: np.ndarray) -> list[str]:
    """A Markdown table of the frames."""
    head = [
        "row",
        "subject",
        "action",
        "take",
        "camera",
        "frame",
        f"mean over joints, {ranking.unit}",
        "least sure joint",
    ]
    table = [head, ["---"] * len(head)]
    for place in places:
        row, own = ranking.rows[place], ranking.values[place]
        names = [str(split.meta[name][row]) for name in (*SEQUENCE, "frame_orig")]
        worst = int(own.argmax())
        table.append([str(row), *names, f"{own.mean():.1f}", f"{ranking.joints[worst]} {own[worst]:.1f}"])
    return [f"| {' | '.join(cells)} |" for cells in table]


def samples_of(
    ranking: Ranking, split: SplitFile, places: np.ndarray, predictions: PredictionFile | None
) -> list[PictureSample]:
    """What the contact sheet shows of the frames."""
    rows = ranking.rows[places]
    heatmaps = split.read_heatmaps(rows)
    poses: dict[int, tuple[np.ndarray, np.ndarray]] = {}
    for batch in batches(predictions, split, rows) if predictions is not None else ():
        both = zip(batch["hypotheses_mm"], batch["gt_mm"], strict=True)
        poses |= dict(zip(batch["row"].tolist(), both, strict=True))
    samples = []
    for place, row, maps in zip(places, rows.tolist(), heatmaps, strict=True):
        own, (hypotheses, truth) = ranking.values[place], poses.get(row, (None, None))
        names = " ".join(str(split.meta[name][row]) for name in SEQUENCE[:3])
        frame, worst = split.meta["frame_orig"][row], ranking.joints[int(own.argmax())]
        unit = ranking.unit
        title = f"{names}\nframe {frame}: {own.mean():.1f} {unit}\n{worst} {own.max():.1f} {unit}"
        samples.append(PictureSample(title, hypotheses, truth, maps))
    return samples


def main() -> None:
    args = parse_arguments()
    path = args.file / "predictions_full.h5" if args.file.is_dir() else args.file
    predictions = None
    if holds_predictions(path):
        if args.by == "width":
            raise DiffPoseError(f"{path}: holds hypotheses: rank them by spread or error, and the data file by width")
        with h5py.File(path, "r", locking=False) as file:
            named = args.data or Path(np.bytes_(file[GROUP].attrs.get("dataset_file", b"")).decode() or "unknown")
        if not named.is_file():
            raise DiffPoseError(f"{path}: its data file {named} is not there: give it with --data")
        split = open_split(named, "test")
        predictions = PredictionFile(path, skeleton=skeleton_for(split.dataset), num_rows=split.num_rows)
        ranking = rank_by_hypotheses(predictions, split, args.by or "spread")
    elif args.by in (None, "width"):
        split = open_split(path, args.split)
        ranking = rank_by_width(split, args.stride)
    else:
        raise DiffPoseError(f"{path}: --by {args.by} needs predictions: eval.py --save_predictions writes them")
    places = most_uncertain(ranking, split, args.count, each_sequence_once=args.each_sequence_once)
    print("\n".join(lines_of(ranking, split, places)))
    print(f"{len(ranking.rows)} frames, median {np.median(ranking.totals):.1f} {ranking.unit}")
    if args.picture:
        samples = samples_of(ranking, split, places, predictions)
        print(plot_contact_sheet(args.picture, samples, skeleton_for(split.dataset)))


if __name__ == "__main__":
    run_script(main)

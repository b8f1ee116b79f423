"""What heatmaps say beyond their peaks: ``python experiments/keypoint_maps.py FILE.h5``.

Lifts each row three times: its heatmaps as they are, those that ``from_keypoints`` draws from their peaks and
confidences, and Gaussians of one width and height at their peaks. Poses are compared with the truth on the 13 joints
that all skeletons share, rooted at the middle of the hips. The parameters of ``data.keypoints.drawing.PeakModel`` were
chosen so on recorded motion to validate on (docs/demo.md).
"""

import argparse
import sys
from dataclasses import fields
from pathlib import Path

import h5py
import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # this project's modules before any others

from data.keypoints.drawing import PeakModel, draw_heatmaps
from data.pose_items import truth_mm
from demo.estimator import PoseEstimator
from demo.person import peak_cells
from models.run import add_sampling_flags, sampling_overrides
from utils.errors import DiffPoseError, run_script, seed_number
from utils.evaluation.calibration import CalibrationCounter
from utils.evaluation.metrics import energy_score, mpjpe, pa_mpjpe, truth_ranks
from utils.skeleton import COMMON13

HEAD = ("heatmaps", "MPJPE", "PA-MPJPE", "mean spread", "energy score", "calibration error", "80 % regions hold")


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("file", type=Path, help="HDF5 file with the columns heatmap and gt_3d of Human3.6M's joints")
    parser.add_argument("--split", default="testset", help="its split")
    parser.add_argument("--stride", type=int, default=6, help="every how many rows count")
    parser.add_argument("--config", help="config.yaml of a run folder (default: the weights that ship)")
    parser.add_argument("--checkpoint", help="another model-*.pt than the one beside the configuration")
    parser.add_argument("--num_hypotheses", type=int, default=50)
    parser.add_argument("--seed", type=seed_number, default=0, help="decides every draw")
    names = ", ".join(f"{field.name}={field.default}" for field in fields(PeakModel))
    parser.add_argument("--try_model", nargs="+", action="append", default=[], metavar="NAME=VALUE", help=names)
    parser.add_argument("--only_tries", action="store_true", help="leave out the first rows of the table")
    add_sampling_flags(parser)
    return parser.parse_args()


def read_rows(path: Path, split: str, stride: int) -> tuple[np.ndarray, np.ndarray]:
    """Heatmaps (N, 16, 64, 64) float32 and truth (N, 17, 3) mm of every ``stride``-th row. Raises DiffPoseError."""
    try:
        with h5py.File(path) as file:
            group = file[f"dataset/{split}"]
            return group["heatmap"][::stride].astype(np.float32), truth_mm(group["gt_3d"][::stride], "h36m")
    except OSError as error:
        raise DiffPoseError(f"{path}: can't be read as HDF5 ({error})") from None
    except KeyError as error:
        raise DiffPoseError(f"{path}: dataset/{split} has not all it needs ({error}): choose another --split") from None


def peaks(heatmaps: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What a detector that gives points would have said: cells (N, 16, 2) and confidences (N, 16)."""
    return np.stack([peak_cells(maps) for maps in heatmaps]), heatmaps.max(axis=(2, 3))


def peak_model(words: list[str]) -> PeakModel:
    """The model with these NAME=VALUE in place of what it has. Raises DiffPoseError."""
    known = {field.name for field in fields(PeakModel)}
    try:
        values = {name: float(value) for name, value in (word.split("=") for word in words)}
    except ValueError:
        raise DiffPoseError(f"--try_model {' '.join(words)}: expected NAME=VALUE, a number each") from None
    if set(values) - known:
        raise DiffPoseError(f"--try_model {' '.join(words)}: the names are {', '.join(sorted(known))}")
    return PeakModel(**values)


def score(estimator: PoseEstimator, heatmaps: np.ndarray, truth: np.ndarray) -> list[str]:
    """A line of the table, without its name."""
    parts = [
        estimator.from_heatmaps(heatmaps[first : first + 32], frames=range(first, min(first + 32, len(heatmaps))))
        for first in range(0, len(heatmaps), 32)
    ]
    hypotheses, consensus = (
        torch.from_numpy(np.concatenate([getattr(part, name) for part in parts]))
        for name in ("hypotheses_mm", "consensus_mm")
    )
    hypotheses, consensus = COMMON13.select(hypotheses), COMMON13.select(consensus)
    true = COMMON13.select(torch.from_numpy(truth).float())
    counter = CalibrationCounter(num_hypotheses=hypotheses.shape[1], joints=COMMON13.skeleton.joints, skip_root=False)
    counter.add(*(ranks.numpy() for ranks in truth_ranks(hypotheses, true)))
    found = counter.result()
    spread = hypotheses.std(dim=1).square().sum(-1).sqrt().mean()
    lengths = (mpjpe(consensus, true).mean(), pa_mpjpe(consensus, true).mean(), spread)
    return [
        *(f"{float(value):.1f}" for value in (*lengths, energy_score(hypotheses, true).mean())),
        f"{found.error:.3f}",
        f"{found.covered_80:.0%}",
    ]


def main() -> None:
    args = parse_arguments()
    heatmaps, truth = read_rows(args.file, args.split, args.stride)
    estimator = PoseEstimator.load(
        args.config,
        checkpoint=args.checkpoint,
        num_hypotheses=args.num_hypotheses,
        seed=args.seed,
        overrides=sampling_overrides(args),
    )
    cells, confidence = peaks(heatmaps)
    made: dict[str, np.ndarray] = {}
    if not args.only_tries:
        made["as they are"] = heatmaps
        made["drawn from peaks and confidences"] = draw_heatmaps(cells, confidence)
        made["drawn from peaks alone"] = draw_heatmaps(cells, np.ones_like(confidence))
    for words in args.try_model:
        made[" ".join(words)] = draw_heatmaps(cells, confidence, model=peak_model(words))
    print(f"{len(truth)} frames, {args.num_hypotheses} hypotheses each")
    for line in (HEAD, ["---"] * len(HEAD)):
        print(f"| {' | '.join(line)} |")
    for name, maps in made.items():
        print(f"| {' | '.join([name, *score(estimator, maps, truth)])} |", flush=True)


if __name__ == "__main__":
    run_script(main)

"""How wide skeletons are at hips and shoulders: ``python experiments/skeletons.py FILE.h5 OTHER.h5``.

Prints, for the test rows of each file, widths as shares of the leg's length. ``--predictions predictions_full.h5``
(what ``eval.py --save_predictions`` wrote) also tells how much of the consensus's error on the 13 shared joints is a
matter of these widths: by how much it falls when the consensus takes the truth's, legs and arms moved along.
"""

import argparse
import sys
from pathlib import Path

import torch
from torch import Tensor

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # this project's modules before any others

from data.pose_dataset import PoseDataset
from experiments.flags import read_poses, table
from utils.errors import DiffPoseError, run_script
from utils.evaluation.consensus import consensus_pose
from utils.evaluation.metrics import joint_distances, mpjpe
from utils.skeleton import COMMON13, H36M17

# Each pair of sides: the joints that move with the right one, the outermost first, and with the left one.
_HIPS = (("RHip", "RKnee", "RFoot"), ("LHip", "LKnee", "LFoot"))
_SHOULDERS = (("RShoulder", "RElbow", "RWrist"), ("LShoulder", "LElbow", "LWrist"))


def _joints(names: tuple[str, ...]) -> list[int]:
    return [H36M17.joints.index(name) for name in names]


def width(poses_mm: Tensor, sides: tuple[tuple[str, ...], tuple[str, ...]]) -> Tensor:
    """Distance of the first joints of both sides, (F,) mm, of poses (F, 17, 3)."""
    right, left = (_joints(side)[0] for side in sides)
    return joint_distances(poses_mm[:, right], poses_mm[:, left])


def with_widths_of(poses_mm: Tensor, truth_mm: Tensor) -> Tensor:
    """Poses (F, 17, 3) whose hips and shoulders are as far apart as the truth's, legs and arms moved along."""
    moved = poses_mm.clone()
    for sides in (_HIPS, _SHOULDERS):
        right, left = map(_joints, sides)
        across = poses_mm[:, right[0]] - poses_mm[:, left[0]]
        now = width(poses_mm, sides)[:, None]
        step = (across / now.clamp_min(1e-6) * (width(truth_mm, sides)[:, None] - now) / 2)[:, None]  # (F, 1, 3)
        moved[:, right] += step
        moved[:, left] -= step
    return moved


def shown_widths(poses_mm: Tensor) -> list[str]:
    """Hips and shoulders of poses (F, 17, 3): how far apart, and as a share of the leg, mean ± standard deviation."""
    hip, knee, foot = _joints(_HIPS[0])
    leg = joint_distances(poses_mm[:, hip], poses_mm[:, knee]) + joint_distances(poses_mm[:, knee], poses_mm[:, foot])
    cells = []
    for sides in (_HIPS, _SHOULDERS):
        apart = width(poses_mm, sides)
        share = apart / leg
        cells += [f"{float(apart.mean()):.0f}", f"{float(share.mean()):.2f} ± {float(share.std()):.2f}"]
    return cells


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("files", type=Path, nargs="+", help="HDF5 files of Human3.6M's form")
    parser.add_argument("--rows", type=int, default=400, help="test rows of each file, evenly spread")
    parser.add_argument("--predictions", type=Path, help="predictions_<split>.h5 with the truth")
    args = parser.parse_args()
    if args.rows < 2:
        raise DiffPoseError(f"--rows {args.rows}: it must be at least 2")
    rows = []
    for path in args.files:
        poses = PoseDataset(path, split="test", dataset="h36m").poses_mm(limit=args.rows)
        rows.append([str(path), *shown_widths(torch.from_numpy(poses))])
    if args.predictions:
        hypotheses, truth = read_poses(args.predictions)
        consensus = consensus_pose(hypotheses)
        rows.append([f"consensus of {args.predictions}", *shown_widths(consensus)])
    print(table(["people of", "hips apart, mm", "of the leg", "shoulders apart, mm", "of the leg"], rows))
    if args.predictions:
        before, after = (
            float(mpjpe(COMMON13.select(poses), COMMON13.select(truth)).mean())
            for poses in (consensus, with_widths_of(consensus, truth))
        )
        print(f"\nMPJPE of the consensus: {before:.1f} mm, {after:.1f} mm with the truth's widths")


if __name__ == "__main__":
    run_script(main)

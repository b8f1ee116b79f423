"""Which spread makes a joint a guess, which radius a mode: ``python experiments/flags.py RUN/predictions_full.h5``.

Reads what ``eval.py --save_predictions`` wrote and prints two tables, one line per limit. Poses are compared on the 13
joints that all skeletons share, rooted at the middle of the hips. The limits of the demo were chosen from the tables of
recorded motion to validate on (docs/demo.md).
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # this project's modules before any others

from utils.errors import finite, run_script
from utils.evaluation.consensus import consensus_pose, find_modes, joint_spread
from utils.evaluation.metrics import joint_distances, mpjpe, pa_mpjpe
from utils.evaluation.predictions import PredictionFile
from utils.skeleton import COMMON13

OFF_MM = 100.0
THRESHOLDS_MM = (60.0, 80.0, 100.0, 120.0, 140.0, 160.0, 180.0, 200.0)
RADII_MM = (60.0, 80.0, 100.0, 120.0, 140.0, 160.0, 200.0)
# Modes that hold fewer hypotheses are not counted in the table.
_SMALL = 0.05


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("predictions", type=Path, help="predictions_<split>.h5 with the truth")
    parser.add_argument("--off_mm", type=finite, default=OFF_MM, help="error from which a joint counts as off")
    parser.add_argument("--thresholds", type=finite, nargs="+", default=THRESHOLDS_MM, help="spreads of a guess, mm")
    parser.add_argument("--radii", type=finite, nargs="+", default=RADII_MM, help="radii of a mode, mm")
    return parser.parse_args()


def flag_rates(
    spread_mm: Tensor, errors_mm: Tensor, threshold_mm: float, *, off_mm: float = OFF_MM
) -> dict[str, float]:
    """How well ``spread > threshold`` tells which joints are off; both (F, J), mm.

    ``flagged``: share of all joints; ``right``: share of the flagged ones that are off; ``found``: share of those off
    that are flagged. A share of nothing is nan.
    """
    flagged, off = spread_mm > threshold_mm, errors_mm > off_mm
    both = float((flagged & off).sum())
    return {
        "flagged": float(flagged.float().mean()),
        "right": both / float(flagged.sum()) if flagged.any() else float("nan"),
        "found": both / float(off.sum()) if off.any() else float("nan"),
    }


def mode_scores(hypotheses_mm: Tensor, truth_mm: Tensor, radius_mm: float) -> dict[str, float]:
    """Modes of frames (F, H, J, 3) against the truth (F, J, 3), mean over frames, mm.

    ``modes``: those with at least 5 % of the hypotheses; ``first`` and ``best``: MPJPE and PA-MPJPE of the most
    frequent and of the nearest one.
    """
    rows = []
    for hypotheses, truth in zip(hypotheses_mm, truth_mm, strict=True):
        modes = find_modes(hypotheses, radius_mm=radius_mm)
        poses = modes.poses_mm[modes.weights >= min(_SMALL, float(modes.weights.max()))]
        errors = torch.stack([mpjpe(poses, truth.expand_as(poses)), pa_mpjpe(poses, truth.expand_as(poses))])
        rows.append(torch.cat([torch.tensor([float(len(poses))]), errors[:, 0], errors.min(dim=1).values]))
    names = ("modes", "first_mpjpe", "first_pa", "best_mpjpe", "best_pa")
    return dict(zip(names, torch.stack(rows).mean(0).tolist(), strict=True))


def read_poses(path: Path) -> tuple[Tensor, Tensor]:
    """Hypotheses (F, H, 17, 3) and truth (F, 17, 3) of a file of predictions, mm. Raises DiffPoseError."""
    batches = list(PredictionFile(path, skeleton=COMMON13.source).batches())
    hypotheses, truth = ([torch.from_numpy(batch[key]) for batch in batches] for key in ("hypotheses_mm", "gt_mm"))
    return torch.cat(hypotheses), torch.cat(truth)


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table."""
    return "\n".join(f"| {' | '.join(line)} |" for line in (head, ["---"] * len(head), *rows))


def main() -> None:
    args = parse_arguments()
    hypotheses, truth = read_poses(args.predictions)
    spread = joint_spread(hypotheses)[:, list(COMMON13.numbers)]  # of poses rooted at the hip, as in the demo
    consensus = COMMON13.select(consensus_pose(hypotheses))
    hypotheses, truth = COMMON13.select(hypotheses), COMMON13.select(truth)
    errors = joint_distances(consensus, truth)
    rows = []
    for threshold in args.thresholds:
        rates = flag_rates(spread, errors, threshold, off_mm=args.off_mm)
        rows.append([f"{threshold:.0f} mm", *(f"{rates[key]:.0%}" for key in ("flagged", "right", "found"))])
    off = float((errors > args.off_mm).float().mean())
    over = f"over {args.off_mm:.0f} mm off"
    print(f"{len(truth)} frames, {hypotheses.shape[1]} hypotheses each; {off:.0%} of the joints are {over}")
    print(table(["guessed: spread above", "flagged", f"of these {over}", "of those off, flagged"], rows))
    rows = []
    for radius in args.radii:
        score = mode_scores(hypotheses, truth, radius)
        first, best = (f"{score[f'{kind}_mpjpe']:.1f} / {score[f'{kind}_pa']:.1f}" for kind in ("first", "best"))
        rows.append([f"{radius:.0f} mm", f"{score['modes']:.1f}", first, best])
    one = f"{float(mpjpe(consensus, truth).mean()):.1f} / {float(pa_mpjpe(consensus, truth).mean()):.1f}"
    print(f"\nConsensus: {one} (MPJPE / PA-MPJPE)")
    print(table(["radius", "modes of at least 5 %", "first mode", "best mode (oracle)"], rows))


if __name__ == "__main__":
    run_script(main)

"""Measures of a benchmark file: calibration of its heatmaps, share of hard rows, difficulty without images."""

from pathlib import Path

import h5py
import numpy as np

from data.ambiguity import heatmap_spread
from data.synthetic.views import true_cells

LEVELS = (0.5, 0.8, 0.95)
_ROWS_AT_ONCE = 256


def mass_above_truth(heatmaps: np.ndarray, cells: np.ndarray) -> np.ndarray:
    """The share of each map's mass in cells denser than the true one: (N, J).

    heatmaps: (N, J, H, W), clamped at 0 from below; cells: (N, J, 2) true column and row. The true cell lies in the
    highest-density region of level p exactly when this share is below p.
    """
    height, width = heatmaps.shape[2:]
    density = np.maximum(heatmaps.astype(np.float32), 0).reshape(*heatmaps.shape[:2], -1)
    nearest = np.rint(cells).astype(np.int64).clip(0, (width - 1, height - 1))
    here = np.take_along_axis(density, (nearest[..., 1] * width + nearest[..., 0])[..., None], axis=-1)
    return np.where(density > here, density, 0).sum(axis=-1) / density.sum(axis=-1)


def coverage(mass_above: np.ndarray) -> list[float]:
    """How often the 50, 80 and 95 % regions hold the truth, from :func:`mass_above_truth` of any joints."""
    return [float((mass_above < level).mean()) for level in LEVELS]


def image_blind_errors(train_mm: np.ndarray, test_mm: np.ndarray, *, num_poses: int = 200, seed: int = 0):
    """MPJPE in mm on test poses of the training set's mean pose, and of the best of random training poses.

    train_mm, test_mm: (N, 3, 17), camera frame. Both are root-centred first.
    """
    train, test = (np.swapaxes(poses, 1, 2) - np.swapaxes(poses, 1, 2)[:, :1] for poses in (train_mm, test_mm))
    mean_error = float(np.linalg.norm(test - train.mean(axis=0), axis=-1).mean())
    poses = train[np.random.default_rng(seed).choice(len(train), min(num_poses, len(train)), replace=False)]
    best = [np.linalg.norm(poses - pose, axis=-1).mean(axis=1).min() for pose in test]
    return mean_error, float(np.mean(best))


def measure(path: str | Path) -> dict:
    """Read a benchmark file once and return its measures as numbers by name."""
    result: dict = {}
    poses = {}
    with h5py.File(path) as file:
        for split in ("trainset", "testset"):
            group = file["dataset"][split]
            poses[split] = group["gt_3d"][:]
            occluded = group["occluded"][:]
            masses, spreads = [], []
            for start in range(0, len(occluded), _ROWS_AT_ONCE):
                rows = slice(start, start + _ROWS_AT_ONCE)
                maps = group["heatmap"][rows]
                cells = true_cells({"gt_2d_image_coords": group["gt_2d_image_coords"][rows]})
                masses.append(mass_above_truth(maps, cells))
                spreads.append(heatmap_spread(maps))
            above, spread = np.concatenate(masses), np.concatenate(spreads)
            hidden = occluded > 0
            result[split] = {
                "rows": len(occluded),
                "hard_share": float(group["hardsubset"][:].mean()),
                "occluded_share": float(hidden.mean()),
                "occluded_by_cause": [float((occluded == cause).mean()) for cause in (1, 2, 3)],
                "coverage_visible": coverage(above[~hidden]),
                "coverage_occluded": coverage(above[hidden]),
                "spread_visible": float(np.median(spread[~hidden])),
                "spread_occluded": float(np.median(spread[hidden])),
            }
    mean_error, best_error = image_blind_errors(poses["trainset"], poses["testset"])
    result["mean_pose_mpjpe"], result["best_of_200_mpjpe"] = mean_error, best_error
    return result


def describe(path: str | Path) -> str:
    """The measures of a benchmark file as text."""
    found = measure(path)
    lines = [f"{path} (synthetic)"]
    for split in ("trainset", "testset"):
        part = found[split]
        body, thing, outside = part["occluded_by_cause"]
        lines += [
            f"{split}: {part['rows']} rows, {part['hard_share']:.1%} hard",
            f"  joints hidden {part['occluded_share']:.1%}: body {body:.1%}, object {thing:.1%}, outside {outside:.1%}",
        ]
        for kind in ("visible", "occluded"):
            shares = " ".join(f"{share:.3f}" for share in part[f"coverage_{kind}"])
            spread = part[f"spread_{kind}"]
            lines.append(f"  {kind}: truth in 50/80/95 % regions {shares}; median std {spread:.1f} cells")
    lines.append(
        f"without images: mean pose {found['mean_pose_mpjpe']:.0f} mm, "
        f"best of 200 training poses {found['best_of_200_mpjpe']:.0f} mm (MPJPE on the test rows)"
    )
    return "\n".join(lines)

"""How much the poses of a synthetic file differ, and what its cameras are on average.

A file whose rows have near neighbours in other motions only far away can't be learnt by heart.
"""

import json
from pathlib import Path

import numpy as np

from data.hdf5.access import open_hdf5, text_attribute
from data.schema import SPLITS
from data.synthetic.wide_cameras import camera_pitch, camera_roll
from utils.errors import DiffPoseError

COMMON_JOINTS = (1, 2, 3, 4, 5, 6, 8, 11, 12, 13, 14, 15, 16)
"""Hips, knees, ankles, the base of the neck, shoulders, elbows and wrists: what all skeletons have."""
_QUERIES_AT_ONCE = 256


def without_heading(world_mm: np.ndarray) -> np.ndarray:
    """Poses (F, 17, 3), z up -> (F, 51) float32, mm: rooted, and turned so that the hips lie along one direction."""
    centred = world_mm - world_mm[:, :1]
    across = (world_mm[:, 4] - world_mm[:, 1])[:, :2]
    across = across / np.maximum(np.linalg.norm(across, axis=-1, keepdims=True), 1e-6)
    x = centred[..., 0] * across[:, :1] + centred[..., 1] * across[:, 1:]
    y = centred[..., 1] * across[:, :1] - centred[..., 0] * across[:, 1:]
    return np.stack([x, y, centred[..., 2]], axis=-1).reshape(len(world_mm), -1).astype(np.float32)


def nearest_elsewhere(poses: np.ndarray, episodes: np.ndarray, queries: np.ndarray) -> np.ndarray:
    """Mean distance per joint, mm, of the poses ``queries`` (Q,) to the nearest of another episode: (Q,).

    poses: (N, 51), see :func:`without_heading`; episodes: (N,).
    """
    joints = poses.reshape(len(poses), -1, 3)
    square = (poses**2).sum(axis=1)
    result = np.empty(len(queries))
    for start in range(0, len(queries), _QUERIES_AT_ONCE):
        rows = queries[start : start + _QUERIES_AT_ONCE]
        apart = square[rows, None] + square - 2 * poses[rows] @ poses.T
        apart[episodes[rows, None] == episodes] = np.inf
        # The root-mean-square distance finds candidates, the mean over joints decides.
        best = np.argpartition(apart, 32, axis=1)[:, :32]
        distance = np.linalg.norm(joints[best] - joints[rows, None], axis=-1).mean(axis=-1)
        elsewhere = np.take_along_axis(apart, best, axis=1) < np.inf
        result[start : start + len(rows)] = np.where(elsewhere, distance, np.inf).min(axis=1)
    return result


class Poses:
    """Evenly spread rows of a split: ``world`` (N, 17, 3) mm, z up, ``episode`` (N,), ``family`` (N,) names,
    ``rotation`` (N, 3, 3) world to camera. Raises DiffPoseError for a file without cameras."""

    def __init__(self, path: Path, count: int, split: str = "trainset"):
        with open_hdf5(path, "h36m") as file:
            group = file["dataset"][split]
            rows = np.unique(np.linspace(0, len(group["gt_3d"]) - 1, count).astype(int))
            camera_mm = np.swapaxes(group["gt_3d"][:], 1, 2)[rows].astype(np.float64)
            text = {name: group[name][:].astype(str)[rows] for name in ("subject", "action", "subaction", "cam")}
            if "camera_r" in group:
                self.rotation = group["camera_r"][:][rows].astype(np.float64)
            elif "cameras" in file["dataset"]:
                names, place = np.unique(np.stack([text["subject"], text["cam"]]), axis=1, return_inverse=True)
                stored = [file["dataset/cameras"][subject][cam]["R"][:] for subject, cam in names.T]
                self.rotation = np.array(stored)[place.reshape(-1)]
            else:
                raise DiffPoseError(f"{path}: has no cameras, so headings can't be taken out: measure a synthetic file")
            if "episode" in group:
                self.episode = group["episode"][:][rows]
            elif "camera_r" in group:
                self.episode = rows
            else:  # the benchmark's first version: a take is one motion
                takes = [" ".join(key) for key in zip(text["subject"], text["action"], text["subaction"], strict=True)]
                self.episode = np.unique(takes, return_inverse=True)[1]
            families = text_attribute(file["dataset"], "families")
            self.family = np.array(json.loads(families))[group["family"][:][rows]] if families else text["action"]
        self.world = np.einsum("fij,fkj->fki", np.swapaxes(self.rotation, 1, 2), camera_mm)

    def keep(self, which: np.ndarray) -> None:
        """Keep the rows that ``which`` (N,) marks."""
        for name in ("world", "episode", "family", "rotation"):
            setattr(self, name, getattr(self, name)[which])


def measure_variety(path: str | Path, *, rows: int = 20_000, queries: int = 4_000, episodes: int = 0) -> dict:
    """Medians of the distance to the nearest pose of another episode, mm: ``all`` and by family; camera averages.

    The more episodes, the nearer the nearest: ``episodes`` compares no more than so many, evenly spread (0: all).
    """
    poses = Poses(Path(path), rows)
    numbers = np.unique(poses.episode)
    if 0 < episodes < len(numbers):
        poses.keep(np.isin(poses.episode, numbers[np.linspace(0, len(numbers) - 1, episodes).round().astype(int)]))
    if len(np.unique(poses.episode)) < 40:
        raise DiffPoseError(f"{path}: too few episodes to compare: at least 40 are needed")
    chosen = np.unique(np.linspace(0, len(poses.world) - 1, min(queries, len(poses.world))).astype(int))
    distance = nearest_elsewhere(without_heading(poses.world), poses.episode, chosen)
    pitch, roll = camera_pitch(poses.rotation), camera_roll(poses.rotation)
    family = poses.family[chosen]
    return {
        "rows": len(poses.world),
        "episodes": len(np.unique(poses.episode)),
        "all": float(np.median(distance)),
        "families": {str(name): float(np.median(distance[family == name])) for name in np.unique(family)},
        "pitch": (float(pitch.mean()), float(pitch.std()), float(pitch.min()), float(pitch.max())),
        "roll": (float(roll.mean()), float(roll.std()), float(roll.min()), float(roll.max())),
    }


def nearest_to(path: str | Path, other: str | Path, *, rows: int = 20_000, queries: int = 4_000) -> dict[str, float]:
    """How near a file's poses come to those of another, such as recorded ones: medians over its rows, mm, by action.

    Compared are the 13 joints that all skeletons have, rooted in the middle of the hips, headings removed.
    """
    poses = Poses(Path(path), rows)
    with open_hdf5(Path(other), "h36m") as file:
        splits = [split for split in SPLITS.values() if split in file["dataset"]]
    asked = [Poses(Path(other), queries, split) for split in splits]
    wanted = np.concatenate([_common(part.world) for part in asked])
    action = np.concatenate([part.family for part in asked])
    both = np.concatenate([_common(poses.world), wanted])
    episodes = np.repeat([0, 1], [len(poses.world), len(wanted)])
    distance = nearest_elsewhere(both, episodes, len(poses.world) + np.arange(len(wanted)))
    by_action = {str(name): float(np.median(distance[action == name])) for name in np.unique(action)}
    return {"all": float(np.median(distance)), **by_action}


def _common(world_mm: np.ndarray) -> np.ndarray:
    """(F, 39) of :data:`COMMON_JOINTS`, without heading, rooted in the middle of the hips."""
    poses = without_heading(world_mm).reshape(len(world_mm), -1, 3)
    return (poses[:, COMMON_JOINTS] - poses[:, (1, 4)].mean(axis=1, keepdims=True)).reshape(len(world_mm), -1)


def describe_variety(path: str | Path, *, rows: int = 20_000, queries: int = 4_000, episodes: int = 0) -> str:
    """The measures of :func:`measure_variety` as text."""
    found = measure_variety(path, rows=rows, queries=queries, episodes=episodes)
    lines = [
        f"{path} (synthetic): {found['rows']} rows of {found['episodes']} episodes",
        f"nearest pose of another episode, headings removed: {found['all']:.1f} mm (median over rows)",
    ]
    lines += [f"  {name:<16} {value:6.1f} mm" for name, value in found["families"].items()]
    for name, what in (("pitch", "down "), ("roll", "")):
        mean, spread, low, high = found[name]
        lines.append(f"cameras' {name}: {mean:.1f} +- {spread:.1f} degrees {what}({low:.0f} to {high:.0f})")
    return "\n".join(lines)


def describe_nearest(path: str | Path, other: str | Path, *, rows: int = 20_000, queries: int = 4_000) -> str:
    """The distances of :func:`nearest_to` as text."""
    found = nearest_to(path, other, rows=rows, queries=queries)
    lines = [
        f"poses of {other} to the nearest of {rows} rows of {path}, 13 joints, headings removed (median over rows)"
    ]
    return "\n".join(lines + [f"  {name:<16} {value:6.1f} mm" for name, value in found.items()])

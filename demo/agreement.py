"""How far poses agree with what the detector itself says: no truth, but two independent views of the same picture.

The embedded detector has its own guess in 3D, made by another network from other data. And a pose, projected back into
the picture, should land on the detector's 2D joints.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
import torch

from demo.estimator import PoseEstimator
from demo.landmarks import Landmarks
from demo.mpii_maps import LEFT_HIP, LEFT_SHOULDER, RIGHT_HIP, RIGHT_SHOULDER
from demo.person import Person
from utils.evaluation.consensus import project_to_cells
from utils.skeleton import HEATMAP_SIZE, MPII_TO_H36M

CONFIDENT = 0.5
_HIPS, _SHOULDERS = (1, 4), (14, 11)  # right, left
_ANKLES, _HEAD = (3, 6), 10
_YAWS = 72


def across_and_up(right_hip, left_hip, right_shoulder, left_shoulder) -> tuple[np.ndarray, np.ndarray]:
    """Directions (3,) from the body's right to its left, and from hips to shoulders."""
    across = (left_hip - right_hip) + (left_shoulder - right_shoulder)
    return across, (right_shoulder + left_shoulder) / 2 - (right_hip + left_hip) / 2


def body_axes(pose_mm: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(across, up) of a Human3.6M pose (17, 3)."""
    return across_and_up(pose_mm[_HIPS[0]], pose_mm[_HIPS[1]], pose_mm[_SHOULDERS[0]], pose_mm[_SHOULDERS[1]])


def landmark_axes(landmarks: Landmarks) -> tuple[np.ndarray, np.ndarray]:
    """(across, up) of the detector's own 3D points."""
    points = landmarks.world_mm
    return across_and_up(points[RIGHT_HIP], points[LEFT_HIP], points[RIGHT_SHOULDER], points[LEFT_SHOULDER])


def facing(across: np.ndarray, up: np.ndarray) -> np.ndarray:
    """Where the chest looks, x right, y up, z towards the camera: from right to left, times up."""
    return np.cross(across, up)


def cell_errors(poses_mm: np.ndarray, person: Person) -> np.ndarray:
    """Distance (P,) in cells, mean over joints seen, of poses (P, 17, 3) projected onto the detector's 2D joints."""
    target = (person.joints_px - person.corner) / person.side * HEATMAP_SIZE
    seen = np.isfinite(target).all(axis=-1)
    centres = torch.from_numpy(np.where(seen[:, None], target, 0)).float()[None]
    weights = torch.from_numpy(seen).float()[None]
    cells = project_to_cells(torch.from_numpy(np.asarray(poses_mm)).float()[None], centres, weights)
    return (cells[0] - centres)[:, seen].norm(dim=-1).mean(-1).numpy()


def at_all_yaws(pose_mm: np.ndarray) -> np.ndarray:
    """A pose (J, 3) turned about the vertical axis in steps of 5 degrees: (72, J, 3)."""
    angle = 2 * np.pi * np.arange(_YAWS) / _YAWS
    cos, sin, zero, one = np.cos(angle), np.sin(angle), np.zeros(_YAWS), np.ones(_YAWS)
    turn = np.stack(
        [np.stack([cos, zero, sin], -1), np.stack([zero, one, zero], -1), np.stack([-sin, zero, cos], -1)], 1
    )
    return np.einsum("yab,jb->yja", turn, pose_mm)


@dataclass
class Agreement:
    """Counts over frames; ``mean_pose_mm`` (17, 3) is the training set's, or None."""

    mean_pose_mm: np.ndarray | None = None
    compared: int = 0
    same_facing: int = 0
    same_sides: int = 0
    feet_down: int = 0
    errors: list[float] = field(default_factory=list)
    mean_pose_errors: list[float] = field(default_factory=list)

    def add(self, consensus_mm: np.ndarray, person: Person) -> None:
        """One person of one frame, with a pose of 17 joints (others are passed over)."""
        if len(consensus_mm) != max(MPII_TO_H36M) + 1:
            return
        self.errors.append(float(cell_errors(consensus_mm[None], person)[0]))
        if self.mean_pose_mm is not None:
            self.mean_pose_errors.append(float(cell_errors(at_all_yaws(self.mean_pose_mm), person).min()))
        landmarks = person.landmarks
        trunk = [LEFT_HIP, RIGHT_HIP, LEFT_SHOULDER, RIGHT_SHOULDER]
        if landmarks is None or landmarks.visibility[trunk].min() < CONFIDENT:
            return
        self.compared += 1
        across, up = body_axes(consensus_mm)
        their_across, their_up = landmark_axes(landmarks)
        self.same_facing += bool(facing(across, up) @ facing(their_across, their_up) > 0)
        self.same_sides += bool(across @ their_across > 0)
        self.feet_down += bool(max(consensus_mm[a, 1] for a in _ANKLES) < consensus_mm[_HEAD, 1])

    def lines(self) -> list[str]:
        """What to print; empty without any frame."""
        if not self.errors:
            return []
        text = f"reprojected consensus: {np.median(self.errors):.2f} heatmap cells from the detector's 2D joints"
        if self.mean_pose_errors:
            text += f"; the training set's mean pose at its best yaw: {np.median(self.mean_pose_errors):.2f}"
        lines = [f"{text} (medians of {len(self.errors)})"]
        if self.compared:
            share = [100 * n / self.compared for n in (self.same_facing, self.same_sides, self.feet_down)]
            lines.append(
                f"against the detector's own 3D points, {self.compared} confident poses: facing agrees in "
                f"{share[0]:.1f} %, left and right in {share[1]:.1f} %; feet are below the head in {share[2]:.1f} %"
            )
        return lines


def compare_keypoints(estimator: PoseEstimator, found: Iterable[tuple[int, list[Person]]]) -> dict[str, float]:
    """What the embedded detector's points and visibility alone give, against its heatmaps; ``found``: (frame, people).

    Returns ``people``; medians of ``consensus_mm``, how far the two poses are apart, and of the two poses' reprojection
    from the points, ``cells_maps`` and ``cells_points``; and ``spread_maps`` and ``spread_points`` (means, mm).
    """
    apart, cells, spreads = [], [], []
    for number, people in found:
        if not people:
            continue
        points, sure = (np.stack([getattr(one.landmarks, name) for one in people]) for name in ("points", "visibility"))
        frames = [64 * number + k for k in range(len(people))]
        both = [
            estimator.lift(people, frame=number),
            estimator.from_keypoints(points, sure, layout="blazepose33", frames=frames),
        ]
        apart += list(np.linalg.norm(both[0].consensus_mm - both[1].consensus_mm, axis=-1).mean(-1))
        for k, person in enumerate(people):
            cells.append([float(cell_errors(poses.consensus_mm[k][None], person)[0]) for poses in both])
        spreads.append([float(poses.spread_mm.mean()) for poses in both])
    middle, spread = np.median(cells, axis=0), np.mean(spreads, axis=0)
    return {
        "people": len(apart),
        "consensus_mm": float(np.median(apart)),
        "cells_maps": float(middle[0]),
        "cells_points": float(middle[1]),
        "spread_maps": float(spread[0]),
        "spread_points": float(spread[1]),
    }

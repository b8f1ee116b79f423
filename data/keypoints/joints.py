"""Keypoints of any layout -> the 16 joints whose heatmaps the lifter reads.

Twelve joints are points of every layout. Pelvis, spine, thorax and head top are defined as Human3.6M has them, and few
layouts do: where one has no such point, or it was not seen, they are weighted sums of points that were.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

from data.keypoints.layouts import LAYOUTS, Layout, layout_named, layout_of_size
from utils.crops import crop_square
from utils.errors import DiffPoseError
from utils.skeleton import HEATMAP_SIZE, MPII_JOINTS, NUM_HEATMAPS

_PARTS = {"Foot": "ankle", "Knee": "knee", "Hip": "hip", "Wrist": "wrist", "Elbow": "elbow", "Shoulder": "shoulder"}
POINTS: Mapping[str, str] = MappingProxyType(
    {f"{side[0].upper()}{part}": f"{side}_{place}" for side in ("right", "left") for part, place in _PARTS.items()}
)
"""Joint -> the keypoint that it is."""


@dataclass(frozen=True)
class Rule:
    """A joint as a weighted sum of keypoints; ``error``: how far it is off, as a share of the trunk's length."""

    weights: Mapping[str, float]
    error: float = 0.0


def _hips(share: float) -> dict[str, float]:
    return {"left_hip": share / 2, "right_hip": share / 2}


def _shoulders(share: float) -> dict[str, float]:
    return {"left_shoulder": share / 2, "right_shoulder": share / 2}


# Human3.6M's thorax lies a little above the line of the shoulders, its spine halfway down the trunk, its head top above
# the ears.
RULES: Mapping[str, tuple[Rule, ...]] = MappingProxyType(
    {
        "Hip": (Rule({"pelvis": 1.0}), Rule(_hips(1.0), 0.04)),
        "Spine": (
            Rule({"spine": 1.0}),
            Rule({**_hips(0.5), **_shoulders(0.5)}, 0.07),
            Rule({"pelvis": 0.5, "neck": 0.5}, 0.07),
        ),
        "Thorax": (
            Rule({"thorax": 1.0}),
            Rule({**_hips(-0.05), **_shoulders(1.05)}, 0.05),
            Rule({"neck": 1.0}, 0.07),
            Rule(_shoulders(1.0), 0.07),
        ),
        "Head": (
            Rule({"head_top": 1.0}),
            Rule({"left_ear": 0.65, "right_ear": 0.65, **_shoulders(-0.3)}, 0.09),
            Rule({"left_ear": 1.3, **_shoulders(-0.3)}, 0.12),
            Rule({"right_ear": 1.3, **_shoulders(-0.3)}, 0.12),
            Rule({"nose": 1.3, **_shoulders(-0.3)}, 0.15),
        ),
    }
)
"""Joint -> its rules: the first one counts whose keypoints the layout has and the detector saw."""

# Seen from above the trunk is short, and the rules' errors are not: cells.
_SHORTEST_TRUNK = 8.0
# Beyond is no picture, and drawing ends in an overflow.
_MAX_PX = 1e6
LEAST_SEEN = 4
"""Joints that have to be seen of a person, of the 16."""
# Crops of Human3.6M hold fingertips and toes. Where a layout has none, they are taken to lie in the direction of the
# forearm and of the shank, by these shares of their lengths: so the crops' sides are 2.6 % off on average, on recorded
# motion to validate on, and 6.0 % without.
_HAND, _FOOT = 0.6, 0.1
_LIMBS = {"has_hands": (("Elbow", "Wrist", _HAND),), "has_toes": (("Knee", "Foot", _FOOT),)}


@dataclass(frozen=True)
class Joints:
    """The 16 joints of N people, in the order of MPII_JOINTS.

    Attributes:
        points: (N, 16, 2) in the unit of the keypoints; NaN where a joint is not seen.
        confidence: (N, 16); of a sum the mean over its points, by weight; 0 where a joint is not seen.
        error: (N, 16) the rules' own errors, as shares of the trunk's length.
        trunk: (N,) distance between the middle of the hips and the middle of the shoulders; NaN if either is not seen.
        up: (N, 2) from that to this; NaN likewise.
    """

    points: np.ndarray
    confidence: np.ndarray
    error: np.ndarray
    up: np.ndarray

    @property
    def trunk(self) -> np.ndarray:
        return np.linalg.norm(self.up, axis=-1)

    def error_cells(self, side: np.ndarray | float) -> np.ndarray:
        """The rules' own errors (N, 16) in heatmap cells of crops with ``side`` (N,) or one for all."""
        trunk = np.nan_to_num(self.trunk) / side * HEATMAP_SIZE
        return self.error * np.maximum(trunk, _SHORTEST_TRUNK)[:, None]


def joints_of(layout: Layout, points: np.ndarray, confidence: np.ndarray) -> Joints:
    """The joints of keypoints (N, K, 2) with their confidence (N, K), where 0 stands for a point that is not seen."""
    count = len(points)
    result = np.full((count, NUM_HEATMAPS, 2), np.nan)
    found, error = np.zeros((count, NUM_HEATMAPS)), np.zeros((count, NUM_HEATMAPS))
    for m, name in enumerate(MPII_JOINTS):
        for rule in (Rule({POINTS[name]: 1.0}),) if name in POINTS else RULES[name]:
            where = np.flatnonzero(found[:, m] == 0)
            place, certain = _sum(layout, rule, points[where], confidence[where])
            result[where, m], found[where, m] = place, certain
            error[where, m] = np.where(certain > 0, rule.error, 0.0)
    up = _middle(layout, points, confidence, "shoulder", "neck") - _middle(layout, points, confidence, "hip", "pelvis")
    return Joints(points=result, confidence=found, error=error, up=up)


def crop_points(layout: Layout, points: np.ndarray, confidence: np.ndarray, joints: Joints) -> np.ndarray:
    """What a crop is made around: (N, P, 2), NaN where a point does not count.

    The keypoints (N, K, 2) that are seen, the joints made of them, fingertips and toes included.
    """
    own = list(layout.in_crop)
    parts = [np.where(confidence[:, own, None] > 0, points[:, own], np.nan), joints.points]
    for has, limbs in _LIMBS.items():
        for upper, lower, share in limbs if not getattr(layout, has) else ():
            for side in "RL":
                start, end = (joints.points[:, MPII_JOINTS.index(side + name)] for name in (upper, lower))
                parts.append((end + share * (end - start))[:, None])
    return np.concatenate(parts, axis=1)


def checked_keypoints(
    xy: np.ndarray, confidence: np.ndarray | None, layout: str | None, *, least: float, where: str = "keypoints"
) -> tuple[Layout, np.ndarray, np.ndarray]:
    """Layout, points (N, K, 2) and confidence (N, K) of what a user gives, 0 for points that are not seen.

    Not seen are points that are not finite, those with a confidence below ``least``, and without confidences those at
    exactly (0, 0). ``layout=None``: the one with that many points. ``where`` names the keypoints in errors.
    Raises DiffPoseError for shapes, layouts and units that do not fit.
    """
    points = _numbers(xy, where)
    if points.ndim != 3 or points.shape[2] != 2:
        raise DiffPoseError(f"{where} {points.shape}: expected (N, K, 2): people, keypoints, x and y in px")
    named = layout_of_size(points.shape[1], where) if layout is None else layout_named(layout)
    if len(named) != points.shape[1]:
        fits = [name for name, other in LAYOUTS.items() if len(other) == points.shape[1]]
        way_out = f"choose {' or '.join(fits)}" if fits else f"the layouts are {', '.join(LAYOUTS)}"
        raise DiffPoseError(f"{where}: {points.shape[1]} keypoints, {named.name} has {len(named)}: {way_out}")
    if confidence is None:
        sure = (points != 0).any(axis=2).astype(np.float64)
    else:
        sure = _numbers(confidence, f"confidence of {where}")
        if sure.shape != points.shape[:2]:
            raise DiffPoseError(f"confidence {sure.shape} of {where}: expected {points.shape[:2]}, one for each point")
    is_seen = np.isfinite(points).all(axis=2) & (sure >= least)
    seen = points[is_seen]
    if len(seen) and np.ptp(seen, axis=0).max() <= 2:
        raise DiffPoseError(f"{where}: all within 2 px: give px, not shares of the picture (multiply by its size)")
    if len(seen) and np.abs(seen).max() > _MAX_PX:
        row, number = np.argwhere(is_seen & (np.abs(points).max(axis=2) > _MAX_PX))[0]
        at = ", ".join(f"{value:.3g}" for value in points[row, number])
        raise DiffPoseError(
            f"{where}: keypoint {number} of row {row} is at ({at}), in no picture: give px, and points that were not "
            "found as NaN or with a confidence of 0"
        )
    return named, points, np.where(is_seen, np.minimum(sure, 1.0), 0.0)


def is_enough(joints: Joints) -> np.ndarray:
    """(N,) bool: whether a person is seen well enough to be lifted: four joints that are not in one place."""
    seen = joints.confidence > 0
    _, side = crop_square(joints.points, whole_pixels=False)
    return (seen.sum(axis=1) >= LEAST_SEEN) & (np.nan_to_num(side) > 0)


def _numbers(values: object, where: str) -> np.ndarray:
    """As float64. Raises DiffPoseError for what are no numbers."""
    try:
        return np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError):
        raise DiffPoseError(f"{where}: not an array of numbers of one shape: expected (N, K, 2)") from None


def _sum(layout: Layout, rule: Rule, points: np.ndarray, confidence: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Positions (N, 2), NaN, and confidence (N,), 0, where the rule has not all it needs."""
    if not set(rule.weights) <= set(layout.joints):
        return np.full((len(points), 2), np.nan), np.zeros(len(points))
    places = [layout.joints.index(name) for name in rule.weights]
    weights = np.array(list(rule.weights.values()))
    seen = (confidence[:, places] > 0).all(axis=1)
    place = np.where(seen[:, None], np.einsum("k,nkx->nx", weights, points[:, places]), np.nan)
    share = np.abs(weights) / np.abs(weights).sum()
    return place, np.where(seen, confidence[:, places] @ share, 0.0)


def _middle(layout: Layout, points: np.ndarray, confidence: np.ndarray, pair: str, single: str) -> np.ndarray:
    """The middle (N, 2) of a pair of points, else the point that stands for it, else NaN."""
    both, _ = _sum(layout, Rule({f"left_{pair}": 0.5, f"right_{pair}": 0.5}), points, confidence)
    alone, _ = _sum(layout, Rule({single: 1.0}), points, confidence)
    return np.where(np.isnan(both), alone, both)

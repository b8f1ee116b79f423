"""Heatmaps like those that the demo makes of its embedded detector's points (``demo/mpii_maps.py``).

Twelve joints are points of the detector; pelvis, spine, thorax and head top are weighted sums of points, whose maps are
plain Gaussians. A point's own map has a narrow peak when the detector is sure, else a lower and wider one with a halo.
Heights and widths follow what the detector gave for a video of people moving: peaks of 0.8 and 1.15 cells for points
that it is sure of, 0.3 to 0.5 and 3 to 6 cells for hidden ones.

Its errors grow with what hides a point and with how far the body is from upright. In a few of a hundred pictures legs
or arms change sides, or a whole limb is found elsewhere.
"""

from dataclasses import dataclass

import numpy as np

from data.synthetic.detector import PARTNER, Mixture
from data.synthetic.occlusion import BEHIND_BODY, BEHIND_OBJECT, OUTSIDE, VISIBLE, Visibility
from utils.skeleton import MPII_JOINTS, MPII_TO_H36M, NUM_HEATMAPS

PEAK_STD, NETWORK_STD, HIDDEN_STD = 2.0, 1.0, 1.5
"""Cells: width that maps are brought to, the network's own, and what a point thought hidden adds, as in the demo."""
_FULL_HEIGHT = 0.84
_SHORTEST_TRUNK = 8.0
# Rules of demo/mpii_maps.py: weights of hips, shoulders and ears, and the rule's own error as a share of the trunk.
_MADE = {"Hip": (1.0, 0.0, 0.0, 0.04), "Spine": (0.5, 0.5, 0.0, 0.07), "Thorax": (-0.05, 1.05, 0.0, 0.05)}
_MADE["Head"] = (0.0, -0.3, 1.3, 0.09)
_NAMES = list(MPII_JOINTS)
_HIPS, _SHOULDERS = [_NAMES.index("RHip"), _NAMES.index("LHip")], [_NAMES.index("RShoulder"), _NAMES.index("LShoulder")]
_LEGS = [_NAMES.index(name) for name in ("RHip", "RKnee", "RFoot", "LHip", "LKnee", "LFoot")]
_ARMS = [_NAMES.index(name) for name in ("RElbow", "RWrist", "LElbow", "LWrist")]
# Limbs that may be lost as a whole: middle joint, end joint.
_LIMBS = [(_NAMES.index(a), _NAMES.index(b)) for a, b in (("RKnee", "RFoot"), ("LKnee", "LFoot"), ("RElbow", "RWrist"))]
_LIMBS += [(_NAMES.index("LElbow"), _NAMES.index("LWrist"))]
_FAR_LIMB = (0.018, 0.018, 0.016, 0.016)
_SWAPPED_LEGS, _SWAPPED_ARMS, _SWAPPED_ALL = 0.022, 0.008, 0.006
# How much an error of each point grows when it is hidden, relative to wrists and ankles.
_EASE = {"Hip": 0.45, "Shoulder": 0.5, "Knee": 0.85, "Elbow": 0.85, "Foot": 1.0, "Wrist": 1.0}
_FRAILTY = np.array([_EASE.get(name[1:], 0.4) for name in _NAMES])


@dataclass(frozen=True)
class Detection:
    """What the detector found: cells (F, 16, 2), MPII order, and the mixture that its maps are drawn from."""

    points: np.ndarray
    error: np.ndarray
    visibility: np.ndarray


def posture_difficulty(joints_mm: np.ndarray) -> np.ndarray:
    """How much larger errors are than for somebody upright, (F,): 1 upright, about 1.9 head down.

    joints_mm: (F, 17, 3) in the world, z up.
    """
    trunk = joints_mm[:, 8] - joints_mm[:, 0]
    upright = trunk[:, 2] / np.maximum(np.linalg.norm(trunk, axis=-1), 1.0)
    return 1.0 + 0.45 * (1.0 - upright)


def find_points(
    cells: np.ndarray, ears: np.ndarray, seen: Visibility, difficulty: np.ndarray, rng: np.random.Generator
) -> Detection:
    """The detector's points for joints at ``cells`` (F, 17, 2), Human3.6M's order, and the ears' middle (F, 2).

    Cells are those of a crop around the joints. difficulty: (F,), see :func:`posture_difficulty`.
    """
    pick = list(MPII_TO_H36M)
    true, reason, depth = cells[:, pick], seen.reason[:, pick], seen.depth[:, pick]
    true[:, _NAMES.index("Head")] = ears  # where the sums below look for the ears
    shape = reason.shape
    spread = np.where(reason == VISIBLE, 0.75, 0.0)
    spread = spread + np.where(reason == BEHIND_BODY, 0.9 + (1.2 + 1.8 * depth) * _FRAILTY, 0.0)
    spread = spread + np.where(reason == BEHIND_OBJECT, 1.0 + 2.6 * _FRAILTY, 0.0)
    spread = spread + np.where(reason == OUTSIDE, 1.5 + 2.8 * _FRAILTY, 0.0)
    quality = np.exp(0.35 * rng.standard_normal(shape[0])) * difficulty
    spread = spread * quality[:, None] * np.exp(0.4 * rng.standard_normal(shape))
    error = spread[..., None] * rng.standard_normal((*shape, 2)) + 0.35 * rng.standard_normal((shape[0], 1, 2))
    for middle, end in _LIMBS:  # what moves the elbow moves the wrist
        error[:, end] += 0.5 * error[:, middle]
    visibility = np.where(reason == VISIBLE, 1.0 - 0.25 * rng.beta(0.6, 4.0, shape), rng.beta(1.6, 1.1, shape))
    for (middle, end), share in zip(_LIMBS, _FAR_LIMB, strict=True):
        far = rng.uniform(size=shape[0]) < share * difficulty * np.where(reason[:, end] == VISIBLE, 0.6, 2.0)
        away = rng.standard_normal((shape[0], 1, 2)) * np.array([5.5, 9.0])[:, None]
        error[:, [middle, end]] += np.where(far[:, None, None], away, 0.0)
        spread[:, [middle, end]] += np.where(far[:, None], rng.uniform(0.5, 5.0, (shape[0], 1)), 0.0)
        doubt = rng.uniform(0.1, 0.95, (shape[0], 1))
        visibility[:, [middle, end]] = np.where(far[:, None], doubt, visibility[:, [middle, end]])
    points = _swap_sides(true + error, quality, rng)
    return Detection(points=points, error=spread, visibility=visibility)


def _swap_sides(points: np.ndarray, quality: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The points (F, 16, 2) with legs, arms or everything on the wrong side in some rows."""
    count = len(points)
    swapped = np.zeros((count, NUM_HEATMAPS), bool)
    draw = rng.uniform(size=(count, 3)) / np.clip(quality, 0.6, 2.5)[:, None]
    swapped[:, _LEGS] |= draw[:, :1] < _SWAPPED_LEGS
    swapped[:, _ARMS] |= draw[:, 1:2] < _SWAPPED_ARMS
    swapped |= draw[:, 2:] < _SWAPPED_ALL
    return np.where(swapped[..., None], points[:, PARTNER], points)


def made_joints(points: np.ndarray) -> np.ndarray:
    """Points (F, 16, 2) whose head is the ears' middle -> MPII joints (F, 16, 2), made by the demo's rules."""
    joints = points.copy()
    sources = (points[:, _HIPS].mean(axis=1), points[:, _SHOULDERS].mean(axis=1), points[:, _NAMES.index("Head")])
    for name, (*weights, _) in _MADE.items():
        joints[:, _NAMES.index(name)] = sum(weight * place for weight, place in zip(weights, sources, strict=True))
    return joints


def draw_maps(found: Detection, cells: np.ndarray, rng: np.random.Generator) -> Mixture:
    """The mixture of each map; ``found`` in cells of the final crop, ``cells`` (F, 16, 2) the true joints in it."""
    shape = found.error.shape
    joints = made_joints(found.points)
    extra = np.maximum(found.error - 0.9, 0.0)
    own = np.exp(np.abs(0.18 * rng.standard_normal(shape))) + 0.62 * extra * rng.uniform(0.1, 1.4, shape)
    own = np.clip(own, 0.95, 6.0)  # the network's own width
    hidden = HIDDEN_STD * (1.0 - found.visibility)
    blur = PEAK_STD**2 - NETWORK_STD**2 + hidden**2
    # An unsure map is a narrower peak in a halo; the halo may lie where the joint really is.
    halo_share = np.clip((own - 1.3) / 4.0, 0.0, 0.65) * rng.uniform(0.6, 1.2, shape)
    core = np.clip(own * rng.uniform(0.55, 0.9, shape), 1.0, 4.0)
    core = np.where(halo_share > 0, core, own)
    honest = (rng.uniform(size=shape) < 0.4)[..., None]
    away = np.where(honest, cells - joints, 0.0) + own[..., None] * rng.standard_normal((*shape, 2))
    centre = np.stack([joints, joints + away, joints], axis=2)
    std = np.sqrt(np.stack([core**2, (1.2 * own) ** 2, core**2], axis=-1) + blur[..., None])
    weight = np.stack([1.0 - halo_share, halo_share, 0.0 * halo_share], axis=-1)
    peak = np.clip(0.88 * own**-0.55 * np.exp(0.13 * rng.standard_normal(shape)), 0.18, 0.94)
    height = peak * (np.sqrt(PEAK_STD**2 + hidden**2) / PEAK_STD) ** -0.9

    # Sums of points: one Gaussian, as wide as the points' maps together and the rule's error.
    variance = core**2 + halo_share * own**2
    trunk = np.linalg.norm(joints[:, _SHOULDERS].mean(axis=1) - joints[:, _HIPS].mean(axis=1), axis=-1)
    trunk = np.maximum(trunk, _SHORTEST_TRUNK)
    sources = (variance[:, _HIPS].mean(axis=1), variance[:, _SHOULDERS].mean(axis=1), np.full(shape[0], 1.05))
    for name, (*weights, error) in _MADE.items():
        place = _NAMES.index(name)
        share = np.abs(weights) / np.abs(weights).sum()
        spread = sum(part * source for part, source in zip(share, sources, strict=True))
        width = np.sqrt(spread + PEAK_STD**2 - NETWORK_STD**2 + (error * trunk) ** 2)
        std[:, place], weight[:, place] = width[:, None], np.array([1.0, 0.0, 0.0])
        height[:, place] = _FULL_HEIGHT * np.maximum(width / PEAK_STD, 1.0) ** -0.9
    return Mixture(centre=centre, std=std, weight=weight, height=height)

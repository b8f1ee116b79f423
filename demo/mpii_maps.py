"""BlazePose's 33 maps -> the 16 MPII heatmaps that the lifters are conditioned on.

Twelve MPII joints are among the 33. Pelvis, spine, thorax and head top are weighted sums of points, so their maps are
Gaussians with the weighted sum of the points' means and covariances, and what such a rule adds in uncertainty.
"""

import numpy as np

from data.keypoints.joints import POINTS, RULES
from data.keypoints.layouts import LAYOUTS
from demo.crops import Square, move_maps
from demo.landmarks import Landmarks
from utils.heatmaps import LOST_LEVEL, moments
from utils.skeleton import HEATMAP_SIZE, MPII_JOINTS, NUM_HEATMAPS

BLAZEPOSE = LAYOUTS["blazepose33"]
NOSE = BLAZEPOSE.joints.index("nose")
LEFT_EAR, RIGHT_EAR, LEFT_SHOULDER, RIGHT_SHOULDER, LEFT_HIP, RIGHT_HIP = (
    BLAZEPOSE.joints.index(f"{side}_{place}") for place in ("ear", "shoulder", "hip") for side in ("left", "right")
)
DIRECT = {joint: BLAZEPOSE.joints.index(point) for joint, point in POINTS.items()}
"""MPII joint -> BlazePose point."""


def _made(joint: str) -> tuple[dict[int, float], float]:
    rule = next(rule for rule in RULES[joint] if set(rule.weights) <= set(BLAZEPOSE.joints))
    return {BLAZEPOSE.joints.index(name): weight for name, weight in rule.weights.items()}, rule.error


MADE = {joint: _made(joint) for joint in RULES}
"""MPII joint -> weights of BlazePose points, and the rule's own error as a share of the trunk's length."""
# What the lifters' detectors give: peaks of about two cells. BlazePose's have about one.
PEAK_STD, NETWORK_STD = 2.0, 1.0
# A point that BlazePose thinks hidden is less certain than its map says: cells added to its width.
HIDDEN_STD = 1.5
_FULL_HEIGHT = 0.84


def made_points(points: np.ndarray) -> np.ndarray:
    """The 16 MPII joints (16, 2) from BlazePose's points (33, 2)."""
    joints = np.empty((NUM_HEATMAPS, 2))
    for m, name in enumerate(MPII_JOINTS):
        weights = {DIRECT[name]: 1.0} if name in DIRECT else MADE[name][0]
        joints[m] = sum(weight * points[k] for k, weight in weights.items())
    return joints


def crop_points(points: np.ndarray) -> np.ndarray:
    """The points (P, 2) that a crop is made around: what Human3.6M's recordings hold, toes and fingertips included."""
    return np.concatenate([points[list(BLAZEPOSE.in_crop)], made_points(points)])


def _gaussian_kernel(std: float) -> np.ndarray:
    """Matrix (64, 64) that blurs an axis of a map."""
    cells = np.arange(HEATMAP_SIZE)
    kernel = np.exp(-0.5 * ((cells[:, None] - cells) / max(std, 1e-3)) ** 2)
    return (kernel / kernel.sum(axis=1).max()).astype(np.float32)


def _moments(heatmap: np.ndarray, elsewhere: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean (2,) as (column, row) and covariance (2, 2) of a map's part above a tenth of its peak.

    ``elsewhere`` (2,): the mean of a map that holds nothing.
    """
    of = moments(heatmap[None].astype(np.float32))
    if not of.mass[0] > 0:  # outside the crop altogether, or nothing was found: then the network's point has to do
        return np.asarray(elsewhere, np.float64), np.eye(2)
    return of.mean[0], np.diag(of.variance[0]) + of.covariance[0] * np.array([[0, 1], [1, 0]])


def _gaussian(mean: np.ndarray, covariance: np.ndarray) -> np.ndarray:
    """A map (64, 64) of a Gaussian, lower the wider it is."""
    cells = np.arange(HEATMAP_SIZE)
    away = np.stack(np.meshgrid(cells, cells), axis=-1) - mean
    inverse = np.linalg.inv(covariance)
    exponent = np.einsum("yxi,ij,yxj->yx", away, inverse, away)
    width = np.linalg.det(covariance) ** 0.25 / PEAK_STD
    return (_FULL_HEIGHT * max(width, 1.0) ** -0.9 * np.exp(-0.5 * exponent)).astype(np.float32)


def _own_map(heatmap: np.ndarray, visibility: float, network_std: float) -> np.ndarray:
    """A point's map as wide as the lifters expect, wider for a hidden point; its height falls as its width grows."""
    hidden = HIDDEN_STD * (1.0 - visibility)
    std = np.sqrt(max(PEAK_STD**2 - network_std**2, 0) + hidden**2)
    kernel = _gaussian_kernel(std)
    blurred = kernel @ heatmap @ kernel.T
    wide = np.sqrt(PEAK_STD**2 + hidden**2) / PEAK_STD
    return blurred * (heatmap.max() * wide**-0.9 / max(float(blurred.max()), 1e-9))


def mpii_heatmaps(landmarks: Landmarks, crop: Square | None = None) -> np.ndarray:
    """Heatmaps (16, 64, 64) float32 over a crop; without one, over the region that the landmarks were found in."""
    own, crop = landmarks.maps, crop or landmarks.square
    if crop is not landmarks.square:
        own = move_maps(own, landmarks.square, crop)
    network_std = NETWORK_STD * landmarks.square.side / crop.side
    cells = crop.to_shares(landmarks.points) * HEATMAP_SIZE
    fitted = {k: _moments(own[k], cells[k]) for rule, _ in MADE.values() for k in rule}
    shoulders, hips = (
        (fitted[a][0] + fitted[b][0]) / 2 for a, b in ((LEFT_SHOULDER, RIGHT_SHOULDER), (LEFT_HIP, RIGHT_HIP))
    )
    # Seen from above the trunk is short, and the rules' errors are not.
    trunk = max(float(np.linalg.norm(shoulders - hips)), 8.0)
    maps = np.empty((NUM_HEATMAPS, HEATMAP_SIZE, HEATMAP_SIZE), np.float32)
    for m, name in enumerate(MPII_JOINTS):
        if name in DIRECT:
            k = DIRECT[name]
            maps[m] = _own_map(own[k], float(landmarks.visibility[k]), network_std)
            continue
        weights, error = MADE[name]
        mean = sum(weight * fitted[k][0] for k, weight in weights.items())
        # The same network finds both sides, so their errors don't average out: covariances of the maps add up whole.
        total = sum(abs(weight) for weight in weights.values())
        spread = sum(abs(weight) * fitted[k][1] for k, weight in weights.items()) / total
        wider = max(PEAK_STD**2 - network_std**2, 0) + (error * trunk) ** 2
        maps[m] = _gaussian(mean, spread + wider * np.eye(2))
    return np.maximum(maps, LOST_LEVEL * (maps.max(axis=(1, 2), keepdims=True) < LOST_LEVEL))

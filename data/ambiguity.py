"""Which frames are ambiguous: the spread of a 2D Gaussian fitted to each heatmap (Wehrbein et al., ICCV 2021).

A frame belongs to the hard subset when the Gaussian fitted to any joint's heatmap has a standard deviation above five
cells. The fit is by moments over the cells above a tenth of the map's maximum, so that a detector's faint floor does
not count, and is corrected for what the threshold cuts off a Gaussian.
"""

import numpy as np

from utils.heatmaps import COUNTED_SHARE, moments

AMBIGUOUS_STD = 5.0
HARD_SUBSET_RULE = "gaussian fit > 5 cells"
# Variance of an axis of a 2D Gaussian's part above a share T of its peak, relative to the whole:
# (1 - T (1 + ln 1/T)) / (1 - T).
_KEPT_VARIANCE = (1.0 - COUNTED_SHARE * (1.0 - np.log(COUNTED_SHARE))) / (1.0 - COUNTED_SHARE)
_ROWS_AT_ONCE = 32


def heatmap_spread(heatmaps: np.ndarray) -> np.ndarray:
    """Standard deviation, in cells, of the Gaussian fitted to each heatmap (N, J, H, W), along its widest axis: (N, J).

    Infinite for a map without a positive value.
    """
    num_rows, num_joints = heatmaps.shape[:2]
    spread = np.empty((num_rows, num_joints), dtype=np.float32)
    for start in range(0, num_rows, _ROWS_AT_ONCE):
        part = heatmaps[start : start + _ROWS_AT_ONCE].astype(np.float32)
        spread[start : start + _ROWS_AT_ONCE] = _fit(part.reshape(-1, *part.shape[2:])).reshape(-1, num_joints)
    return spread


def is_ambiguous(heatmaps: np.ndarray, *, limit: float = AMBIGUOUS_STD) -> np.ndarray:
    """Whether each row of heatmaps (N, J, H, W) belongs to the hard subset: (N,) bool."""
    return np.asarray((heatmap_spread(heatmaps) > limit).any(axis=1))


def _fit(maps: np.ndarray) -> np.ndarray:
    """The widest standard deviation of each float32 map (M, H, W): (M,)."""
    of = moments(maps)
    var_x, var_y = of.variance.T
    with np.errstate(invalid="ignore"):
        half = (var_x + var_y) / 2
        widest = half + np.sqrt(((var_x - var_y) / 2) ** 2 + of.covariance**2)
        std = np.sqrt(np.maximum(widest, 0) / _KEPT_VARIANCE)
    return np.where(of.mass > 0, std, np.inf)

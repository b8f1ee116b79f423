"""Which frames are ambiguous: the spread of a 2D Gaussian fitted to each heatmap (Wehrbein et al., ICCV 2021).

A frame belongs to the hard subset when the Gaussian fitted to any joint's heatmap has a standard deviation above five
cells. The fit is by moments over the cells above a tenth of the map's maximum, so that a detector's faint floor does
not count, and is corrected for what the threshold cuts off a Gaussian.
"""

import numpy as np

AMBIGUOUS_STD = 5.0
HARD_SUBSET_RULE = "gaussian fit > 5 cells"
_THRESHOLD = 0.1
# Variance of an axis of a 2D Gaussian's part above a share T of its peak, relative to the whole:
# (1 - T (1 + ln 1/T)) / (1 - T).
_KEPT_VARIANCE = (1.0 - _THRESHOLD * (1.0 - np.log(_THRESHOLD))) / (1.0 - _THRESHOLD)
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
    return (heatmap_spread(heatmaps) > limit).any(axis=1)


def _fit(maps: np.ndarray) -> np.ndarray:
    """The widest standard deviation of each float32 map (M, H, W): (M,)."""
    height, width = maps.shape[1:]
    peak = maps.max(axis=(1, 2), keepdims=True)
    maps = np.where(maps > _THRESHOLD * np.maximum(peak, 0), maps, 0)
    column = np.arange(width, dtype=np.float32) - width / 2
    row = np.arange(height, dtype=np.float64) - height / 2
    # Along each row: mass, first and second moment of the column.
    along = (maps @ np.stack([np.ones_like(column), column, column**2], axis=1)).astype(np.float64)  # (M, H, 3)
    mass = along[..., 0].sum(axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        mean_x, mean_y = along[..., 1].sum(axis=1) / mass, along[..., 0] @ row / mass
        var_x = along[..., 2].sum(axis=1) / mass - mean_x**2
        var_y = along[..., 0] @ row**2 / mass - mean_y**2
        cov = along[..., 1] @ row / mass - mean_x * mean_y
        half = (var_x + var_y) / 2
        widest = half + np.sqrt(((var_x - var_y) / 2) ** 2 + cov**2)
        std = np.sqrt(np.maximum(widest, 0) / _KEPT_VARIANCE)
    return np.where(mass > 0, std, np.inf)

"""The crop rule: a square with the middle of a person's 2D joints and 1.2 times their extent, in whole pixels.

The published models were trained on such crops, so whatever makes heatmaps, positions in a crop or a detector's
picture starts here.
"""

import numpy as np

CROP_MARGIN = 1.2
"""Side of the crop over the larger of the joints' width and height."""
SMALLEST_SIDE = 2
"""px; joints that coincide have a crop too."""
DETECTOR_SIZE = 255
"""px: a crop is scaled to this side for HRNet, which makes heatmaps of 64 x 64 cells of it."""


def crop_square(points: np.ndarray, *, whole_pixels: bool = True) -> tuple[np.ndarray, np.ndarray]:
    """Middle (..., 2) and side (...) in px of the crop around 2D points (..., P, 2); points that are NaN don't count.

    Both are rounded to whole numbers, half to even, as the published files have them; ``whole_pixels=False`` leaves
    them as they are, where files from elsewhere are only checked. NaN where no point counts.
    """
    high, low = np.fmax.reduce(points, axis=-2), np.fmin.reduce(points, axis=-2)
    middle, side = (high + low) / 2, CROP_MARGIN * (high - low).max(axis=-1)
    if not whole_pixels:
        return middle, side
    return np.round(middle), np.maximum(np.round(side), SMALLEST_SIDE)


def crop_box(points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Upper left corner (..., 2) and side (...), whole px, of the crop around 2D points (..., P, 2)."""
    middle, side = crop_square(points)
    return np.round(middle - side[..., None] / 2), side
